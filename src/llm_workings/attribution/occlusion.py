"""Occlusion: cover a window of the input and see what the score loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress

from .gradients import Baseline, baseline_of
from .patches.batch import OtherCalls, Patched, Unchanged
from .patches.boxes import Boxes, Ints
from .patches.rules import covered
from .result import Attribution, warnings_of
from .running import answer, batch_size, bytes_of_layers, check_input, explaining, layout
from .targets import AnyTarget, Target, as_target

Window = int | Sequence[int]
WINDOWS_A_ROW = 6  # crops are a part of their plane: so many take no more room than one whole row
FEWEST = 16  # torch gives smaller batches to a slower convolution, on one thread
LITTLE = 8 * 2**20  # bytes of all activations: below it, whole inputs are quicker run than crops looked for


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
    with explaining(module), torch.no_grad():
        large = windows.count * bytes_of_layers(module, x[:1]) > LITTLE
        try:
            score, lost = _losses(module, x, base, target, windows, batch, progress, large and x.dim() == 4)
        except OtherCalls:
            score, lost = _losses(module, x, base, target, windows, batch, progress, in_crops=False)
    notes = warnings_of(x)
    if not bool(lost.any()):
        notes = (*notes, "No window changes the score at all.")
    return Attribution(windows.means(lost), score, "occlusion", notes=notes)


def _losses(
    module: nn.Module,
    x: Tensor,
    base: Tensor,
    target: Target,
    windows: Windows,
    batch: int | None,
    progress: Progress,
    in_crops: bool,
) -> tuple[Tensor, Tensor]:
    """The score, `[row]`, and what each window's covering takes from it, `[row, window]`.

    Args:
        in_crops: whether only what a window reaches is computed.
    """
    low, high = windows.bounds
    count = windows.count
    whole, lost = x.new_empty(len(x)), x.new_empty(len(x), count)
    target.check(len(x))
    size = batch or batch_size(module, x[:1], grad=False)
    if in_crops and batch is None:
        size = max(FEWEST, size * WINDOWS_A_ROW)
        size = math.ceil(count / max(1, round(count / size)))

    def score(inputs: Tensor, row: int) -> Tensor:
        scores = answer(module, inputs)
        scores = scores.tensor() if isinstance(scores, Patched) else scores
        return target.of(scores, torch.full((len(scores),), row, device=x.device))

    for row in range(len(x)):
        same = None
        if in_crops:
            values = x[row : row + 1].contiguous(memory_format=torch.channels_last)
            same = Unchanged(values, Boxes(low[1:], high[1:]))
        whole[row] = score(x[row : row + 1] if same is None else Patched.alone(same), row)[0]
        order = np.arange(count) if same is None else same.alike()
        for begin in range(0, count, size):
            progress.report("covering windows", row * count + begin, len(x) * count)
            which = order[begin : begin + size]
            if same is not None and len(which) > 1:
                inputs: Tensor = covered(same, base[row], low[:, which], high[:, which], which)
            else:
                inputs = _covered(x[row], base[row], low[:, which], high[:, which])
                inputs = inputs.contiguous(memory_format=layout(module, x))
            lost[row, torch.from_numpy(which).to(x.device)] = whole[row] - score(inputs, row)
    return whole, lost


def _covered(x: Tensor, baseline: Tensor, low: Ints, high: Ints) -> Tensor:
    """`[window, ...]`: copies of one input, each covered in a box."""
    inside = torch.ones(low.shape[1], *[1] * x.dim(), dtype=torch.bool)
    for axis, length in enumerate(x.shape):
        place = np.arange(length)
        within = (place >= low[axis][:, None]) & (place < high[axis][:, None])
        inside = inside & torch.from_numpy(within).view(-1, *[1] * axis, length, *[1] * (x.dim() - axis - 1))
    return torch.where(inside.to(x.device), baseline, x)


def _per_axis(given: Window, x: Tensor, what: str, axes: int) -> tuple[int, ...]:
    sizes = (given,) * min(axes, x.dim() - 1) if isinstance(given, int) else tuple(given)
    if not 1 <= len(sizes) < x.dim() or any(size < 1 for size in sizes):
        raise BadInput(
            f"The {what} {given!r} does not fit inputs of shape {list(x.shape[1:])}.",
            hint=f"Give one number of at least 1 for each of the last axes, at most {x.dim() - 1}.",
        )
    return sizes


@dataclass(frozen=True)
class Windows:
    """Every combination of the windows along each axis, the last axis fastest.

    Attributes:
        shape: of one input.
        ends: along each axis, where the windows begin and the place after their last, `[2, window]`.
    """

    shape: Sequence[int]
    ends: list[Ints]

    @property
    def count(self) -> int:
        return math.prod(ends.shape[1] for ends in self.ends)

    @property
    def bounds(self) -> tuple[Ints, Ints]:
        """Where each window begins and ends, int32 `[axis, window]`."""
        low, high = (
            np.stack(
                [axis.ravel() for axis in np.meshgrid(*(ends[side] for ends in self.ends), indexing="ij")]
            )
            for side in (0, 1)
        )
        return low, high

    def means(self, lost: Tensor) -> Tensor:
        """`[row, ...]`: a place's mean over the windows that cover it, of a number a window, `[row, window]`.

        Where windows are all combinations, a place's windows are too, and the mean is taken axis by axis.
        """
        values = lost.view(len(lost), *(ends.shape[1] for ends in self.ends))
        for length, (low, high) in zip(self.shape, self.ends, strict=True):
            place = np.arange(length)
            covers = (place >= low[:, None]) & (place < high[:, None])
            share = torch.from_numpy(covers / covers.sum(0)).to(values)
            values = torch.tensordot(values, share, dims=([1], [0]))
        return values


def _windows(shape: Sequence[int], sizes: tuple[int, ...], strides: tuple[int, ...]) -> Windows:
    """Where the windows lie; the last along an axis is cut off by the input's end."""
    whole = len(shape) - len(sizes)
    if len(strides) != len(sizes):
        raise BadInput(f"The window has {len(sizes)} axes, the stride {len(strides)}.")
    ends = [np.array([[0], [length]], np.int32) for length in shape[:whole]]
    for length, size, step in zip(shape[whole:], sizes, strides, strict=True):
        if size > length:
            raise BadInput(f"A window of {size} is larger than the input, {length}.", hint="Make it smaller.")
        if step > size:
            raise BadInput(
                f"A stride of {step} skips places that a window of {size} does not cover.",
                hint="The stride is at most the window.",
            )
        low = step * np.arange(1 + math.ceil((length - size) / step), dtype=np.int32)
        ends.append(np.stack([low, np.minimum(low + size, length)]))
    return Windows(shape, ends)
