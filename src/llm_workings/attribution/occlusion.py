"""Occlusion: cover a window of the input and see what the score loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress

from .gradients import Baseline, baseline_of
from .patches.batch import Patched, Unchanged
from .patches.rules import covered, position
from .result import Attribution, warnings_of
from .running import answer, batch_size, check_input, explaining, of_rows
from .targets import AnyTarget, Target, as_target

Window = int | Sequence[int]
WINDOWS_A_ROW = 4  # crops are a part of their plane: so many take no more room than one whole row


def occlusion(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    *,
    window: Window = 8,
    stride: Window | None = None,
    baseline: Baseline = None,
    batch: int | None = None,
    progress: Progress = SILENT,
) -> Attribution:
    """score(x) − score(x with a window covered); a place gets the mean over the windows that cover it.

    Zeiler and Fergus 2014 (arXiv 1311.2901). What the score really loses, of inputs that look like none of
    the training set. It promises no sum.

    Args:
        window: the window's size along each of the last axes (a number: height and width alike); axes before
            them, such as the channels, are covered whole.
        stride: how far it moves each time, at most its size, so that no place is left
            out; by default its size.
        baseline: what covers: a number (0 by default), one input, or one a row.
        batch: covered inputs run at once; by default as many as are fast.

    Raises `BadInput` for a window larger than the input or a stride larger than the window.
    """
    x, target = check_input(module, x), as_target(target)
    base = baseline_of(x, baseline)
    sizes = _per_axis(window, x, "window", 2)
    strides = sizes if stride is None else _per_axis(stride, x, "stride", len(sizes))
    windows = _windows(x.shape[1:], sizes, strides)
    score, lost = _losses(module, x, base, target, windows, batch, progress)
    values, times = torch.zeros_like(x), torch.zeros_like(x[0])
    rest = [1] * (x.dim() - 1)
    for index, where in enumerate(windows):
        values[(slice(None), *where)] += lost[:, index].view(-1, *rest)
        times[where] += 1
    notes = warnings_of(x)
    if not bool(lost.any()):
        notes = (*notes, "No window changes the score at all.")
    return Attribution(values / times, score, "occlusion", notes=notes)


def _losses(
    module: nn.Module,
    x: Tensor,
    base: Tensor,
    target: Target,
    windows: list[tuple[slice, ...]],
    batch: int | None,
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """The score, `[row]`, and what each window's covering takes from it, `[row, window]`."""
    count = len(windows)
    total = len(x) * count
    with explaining(module), torch.no_grad():
        whole = target.of(answer(module, x))
        size = batch or batch_size(module, x[:1], grad=False) * (WINDOWS_A_ROW if x.dim() == 4 else 1)
        size = math.ceil(count / math.ceil(count / size))
        lost = torch.empty_like(whole)[:, None].repeat(1, count)
        bounds = np.array(
            [[w.indices(n)[:2] for w, n in zip(where, x.shape[1:], strict=True)] for where in windows]
        )
        low, high = bounds.astype(np.int32).transpose(2, 1, 0)
        order = np.arange(count)
        if x.dim() == 4:
            order = np.argsort(position(low, high, (x.shape[2], x.shape[3])), kind="stable")
        for row in range(len(x)):
            same = (
                Unchanged(x[row : row + 1].contiguous(memory_format=torch.channels_last))
                if x.dim() == 4
                else None
            )
            for begin in range(0, count, size):
                progress.report("covering windows", row * count + begin, total)
                which = order[begin : begin + size]
                if same is not None and len(which) > 1:
                    inputs: Tensor = covered(same, base[row], low[:, which], high[:, which])
                else:
                    inputs = x[row].repeat(len(which), *[1] * (x.dim() - 1))
                    for copy, number in zip(inputs, which.tolist(), strict=True):
                        copy[windows[number]] = base[row][windows[number]]
                scores = answer(module, inputs)
                scores = scores.tensor() if isinstance(scores, Patched) else scores
                rows = torch.full((len(which),), row, device=x.device)
                lost[row, torch.from_numpy(which).to(x.device)] = whole[row] - of_rows(
                    target, scores, rows, row * count + begin, total
                )
    return whole, lost


def _per_axis(given: Window, x: Tensor, what: str, axes: int) -> tuple[int, ...]:
    sizes = (given,) * min(axes, x.dim() - 1) if isinstance(given, int) else tuple(given)
    if not 1 <= len(sizes) < x.dim() or any(size < 1 for size in sizes):
        raise BadInput(
            f"The {what} {given!r} does not fit inputs of shape {list(x.shape[1:])}.",
            hint=f"Give one number of at least 1 for each of the last axes, at most {x.dim() - 1}.",
        )
    return sizes


def _windows(
    shape: Sequence[int], sizes: tuple[int, ...], strides: tuple[int, ...]
) -> list[tuple[slice, ...]]:
    """Where the windows lie; the last along an axis is cut off by the input's end."""
    last = shape[len(shape) - len(sizes) :]
    if len(strides) != len(sizes):
        raise BadInput(f"The window has {len(sizes)} axes, the stride {len(strides)}.")
    for length, size, step in zip(last, sizes, strides, strict=True):
        if size > length:
            raise BadInput(f"A window of {size} is larger than the input, {length}.", hint="Make it smaller.")
        if step > size:
            raise BadInput(
                f"A stride of {step} skips places that a window of {size} does not cover.",
                hint="The stride is at most the window.",
            )
    starts = [
        [step * index for index in range(1 + math.ceil((length - size) / step))]
        for length, size, step in zip(last, sizes, strides, strict=True)
    ]
    whole = (slice(None),) * (len(shape) - len(sizes))
    return [
        (*whole, *(slice(at, min(at + size, n)) for at, size, n in zip(place, sizes, last, strict=True)))
        for place in product(*starts)
    ]
