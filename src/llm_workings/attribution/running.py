"""How a network is run to be explained: unchanged, in evaluation mode, in batches that fit.

A network here is any `nn.Module` from `[row, ...]` to class scores. Nothing in it is rewritten: what differs
during an explanation (evaluation mode, weights that ask for no gradient, activations that do not write over
their input) is put back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import isfinite
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from llm_workings.core.devices import free_memory
from llm_workings.core.errors import BadInput, BadShape, NotSupported, unknown

from .targets import Target

CACHE = 16 * 2**20  # bytes of one batch's activations on a CPU: more falls out of its cache, and is slower
LARGEST = 256
KEPT = 30 * 2**20  # bytes; from 32 MiB on, glibc gives every block back


@cache
def keep_freed_memory() -> None:
    """Activations that are freed stay with the process, up to 60 MiB, rather than going back to the system.

    Each page that comes back has to be zeroed: a fifth of an occlusion's time. glibc keeps blocks as large as
    the largest one freed so far (mallopt(3), M_MMAP_THRESHOLD); one that is never written to costs nothing.
    """
    torch.empty(KEPT, dtype=torch.uint8)


@contextmanager
def explaining(module: nn.Module) -> Iterator[None]:
    """Inside: evaluation mode, no gradients of weights, no in-place activations (`nn.ReLU(inplace=True)`).

    An activation that writes over its input would change what a layer before it is remembered to have given.
    """
    keep_freed_memory()
    parts = list(module.modules())
    training = [part for part in parts if part.training]
    inplace: list[Any] = [part for part in parts if _writes_in_place(part)]
    weights = [weight for part in parts for weight in part._parameters.values() if weight is not None]
    asking = [weight for weight in weights if weight.requires_grad]
    if training:
        module.eval()
    for part in inplace:
        part.inplace = False
    for weight in asking:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for part in training:
            part.training = True
        for part in inplace:
            part.inplace = True
        for weight in asking:
            weight.requires_grad_(True)


def _writes_in_place(part: nn.Module) -> bool:
    """Whether it says so, itself or its class. To ask a module for what it has not takes long."""
    return vars(part).get("inplace", getattr(type(part), "inplace", False)) is True


def check_input(module: nn.Module, x: Tensor) -> Tensor:
    """The input, out of any graph. Raises `BadInput` for one that cannot be differentiated or is empty."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        shown = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise BadInput(f"The input is {shown}, not of floating-point numbers.", hint="Give x.float().")
    if x.dim() < 2 or not x.numel():
        raise BadInput(
            f"The input has the shape {list(x.shape)}.", hint="The first axis is the row: x[None] for one."
        )
    # A sum is quicker to see, and finite only of finite numbers.
    if not isfinite(x.sum()) and not bool(x.isfinite().all()):
        raise BadInput("The input holds a NaN or an infinity.")
    return x.detach()


def answer(module: nn.Module, x: Tensor) -> Tensor:
    """What the network answers. Raises `BadShape`, with both shapes, where the input does not fit."""
    try:
        return module(x)
    except RuntimeError as error:
        if any(word in str(error) for word in ("shape", "size", "channels", "dimension")):
            raise BadShape(
                f"The network cannot read an input of shape {list(x.shape)}: {str(error).splitlines()[0]}",
                hint="The first axis is the row, then channels, height and width.",
            ) from error
        raise


_LAYOUTS: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], torch.memory_format]] = WeakKeyDictionary()


def layout(module: nn.Module, x: Tensor) -> torch.memory_format:
    """How images lie in memory so that the network is fast: channels last, for float32 on a CPU.

    oneDNN's convolutions and torch's poolings take such images as they are: eight convolutions with four
    poolings needed 0.75 of the time, eight images at once, and a pooling alone a tenth. A network that
    depends on the order in memory (`x.view(n, -1)`) gets its images as they come: the first time, two images
    of zeros and of ones are run both ways.
    """
    if x.dim() != 4 or x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[1] == 1:
        return torch.preserve_format
    if not torch.backends.mkldnn.is_available():
        return torch.preserve_format
    known = _LAYOUTS.setdefault(module, {})
    shape = tuple(x.shape[1:])
    if shape not in known:
        known[shape] = torch.channels_last if _reads_any_layout(module, x) else torch.preserve_format
    return known[shape]


def _reads_any_layout(module: nn.Module, x: Tensor) -> bool:
    pair = torch.linspace(-1, 1, 2 * x[0].numel(), dtype=x.dtype).view(2, *x.shape[1:])
    with explaining(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            as_written = module(pair)
            found = module(pair.contiguous(memory_format=torch.channels_last))
        except RuntimeError:  # a view, or an input that does not fit: then the real run says so
            return False
    return isinstance(found, Tensor) and torch.allclose(found, as_written, 1e-3, 1e-4, equal_nan=True)


def scores_of(
    module: nn.Module, x: Tensor, target: Target, *, batch: int | None = None, rows: Tensor | None = None
) -> Tensor:
    """The target of many inputs, `[row]`, in batches."""
    size = batch or batch_size(module, x[:1], grad=False)
    found = []
    with torch.no_grad():
        for at in range(0, len(x), size):
            part = None if rows is None else rows[at : at + size]
            found.append(of_rows(target, answer(module, x[at : at + size]), part, at, len(x)))
    return torch.cat(found)


def of_rows(target: Target, scores: Tensor, rows: Tensor | None, at: int, total: int) -> Tensor:
    """The target's value of a batch that begins at row `at` of `total`."""
    if rows is None and len(scores) != total:
        rows = torch.arange(at, at + len(scores), device=scores.device)
    return target.of(scores, rows)


def gradient(
    module: nn.Module, x: Tensor, target: Target, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """d target / d input, in the input's shape, and the target, `[row]`; zeros where it does not depend."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        given = leaf.clone(memory_format=layout(module, x))  # a clone: a first layer may write in place
        value = target.of(answer(module, given), rows)
        if not value.requires_grad:
            return torch.zeros_like(x), value.detach()
        (slope,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope.contiguous(), value.detach()


_BYTES: WeakKeyDictionary[nn.Module, dict[tuple, int]] = WeakKeyDictionary()


def batch_size(module: nn.Module, row: Tensor, *, grad: bool = True) -> int:
    """How many rows to run at once: on a CPU what its cache holds, on a GPU what its memory does.

    Larger batches are no faster once a layer's own arithmetic, and not the calls, takes the time.
    """
    total = bytes_of_layers(module, row)
    if row.device.type == "cpu":
        return max(
            1, min(LARGEST, (CACHE if grad else 4 * CACHE) // total)
        )  # a forward holds no layer for long
    return max(1, min(16 * LARGEST, free_memory(row.device) // 4 // (total * (3 if grad else 1))))


def bytes_of_layers(module: nn.Module, row: Tensor) -> int:
    """What the answers of all layers to one row take; it is run, the first time."""
    known, key = _BYTES.setdefault(module, {}), (tuple(row.shape), row.dtype)
    if key in known:
        return known[key]
    total = 0

    def count(part: nn.Module, given: object, result: object) -> None:
        nonlocal total
        if isinstance(result, Tensor):
            total += result.numel() * result.element_size()

    leaves = [part for part in module.modules() if next(part.children(), None) is None]
    handles = [part.register_forward_hook(count) for part in leaves]
    try:
        with torch.no_grad():
            answer(module, row)
    finally:
        for handle in handles:
            handle.remove()
    known[key] = max(total, 8 * row.numel() * row.element_size())
    return known[key]


# --- layers ----------------------------------------------------------------------------------
def layer_named(module: nn.Module, name: str) -> nn.Module:
    """The part of a network called `name`. Raises `UnknownName`, suggesting the nearest ones."""
    try:
        return module.get_submodule(name) if name else _no_layer(module, name)
    except AttributeError:
        return _no_layer(module, name)


def _no_layer(module: nn.Module, name: str) -> nn.Module:
    raise unknown("layer", name, [known for known, _ in module.named_modules() if known])


@contextmanager
def watching(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the named layers give in the forward that is run inside, by name, within its graph.

    Each goes on as a copy, so that a later in-place operation (`out += x`) does not write over it.

    Raises `NotSupported` for a layer that runs more than once in one forward, or gives no tensor.
    """
    seen: dict[str, Tensor] = {}

    def watcher(name: str) -> Callable[[nn.Module, object, object], Tensor]:
        def watch(part: nn.Module, given: object, result: object) -> Tensor:
            if not isinstance(result, Tensor):
                raise NotSupported(f"The layer {name!r} gives {type(result).__name__}, not a tensor.")
            if name in seen:
                raise NotSupported(
                    f"The layer {name!r} runs more than once in one forward, so it has no one map.",
                    hint="Choose the layer before or after it, or give each use its own module.",
                )
            if not result.requires_grad and torch.is_grad_enabled():
                result = result.detach().requires_grad_()
            seen[name] = result
            return result.clone()

        return watch

    handles = [layer_named(module, name).register_forward_hook(watcher(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
