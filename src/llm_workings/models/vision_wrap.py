"""`wrap(module)`: a convolutional net of anybody's, made ready to be looked into.

What is wrapped is a deep copy, in eval mode (a batch norm that still learns would make every answer
depend on its neighbours in the batch), with in-place activations switched to out-of-place ones (an
in-place ReLU overwrites the activation that somebody wants to see). A test picture goes through it once,
to find which modules run, in which order, how often, and what comes out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm_workings.core.errors import BadInput, BadShape, NotSupported, unknown
from llm_workings.data.images import Image, fit, read_image

INPUT = "input"  # what the pixels are called among the activations
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
Scale = float | Sequence[float]


@dataclass(frozen=True)
class Kept:
    """One call of a model: its answer and the activations that were kept.

    Attributes:
        logits: `[b, classes]`.
        activations: by the name they were asked for, `[b, c, h, w]` (or as the module gives them).
    """

    logits: Tensor
    activations: dict[str, Tensor] = field(repr=False)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.activations:
            raise unknown("kept activation", name, self.activations)
        return self.activations[name]

    def gradients(self, score: Tensor) -> dict[str, Tensor]:
        """d score / d activation for each that was kept, by its name; the graph stays for another score.

        Args:
            score: one number made of this run's logits; for several pictures, their sum, since no
                picture's score depends on another's activations.

        Raises:
            BadInput: nothing was kept, `score` is no single number, or it came from no kept activation.
        """
        if not self.activations:
            raise BadInput("No activation was kept.", hint="Run with keep=[...]: layers, or 'input'.")
        if score.numel() != 1:
            raise BadInput(
                f"A gradient is of one number, and the score has the shape {list(score.shape)}.",
                hint="Take one logit, or the sum over the pictures.",
            )
        names, values = list(self.activations), list(self.activations.values())
        if not score.requires_grad:
            raise BadInput("The score was computed without a graph.", hint="Run with gradients=True.")
        found = torch.autograd.grad(score.reshape(()), values, retain_graph=True, allow_unused=True)
        return {
            name: torch.zeros_like(value) if gradient is None else gradient
            for name, value, gradient in zip(names, values, found, strict=True)
        }


class VisionModel:
    """A convolutional classifier that can be looked into.

    Attributes:
        name: what to call it.
        module: the net itself: eval mode, nothing in place; `[b, channels, h, w]` to `[b, classes]`.
        layers: the modules worth looking at, by their names, in the order in which they run.
        classes: a name for each logit.
        channels: of its input: 3, or 1 for grey.
        size: (height, width) of its input, in pixels.
        mean, std: `[channels, 1, 1]`; the net reads (pixel - mean) / std of pixels from 0 to 1.
        origin: where it is from, in words.
        calls: how often each module runs in one forward, by its name, in the order in which they end.
        shapes: what each module puts out for one picture, without the batch.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        layers: list[str],
        classes: list[str],
        size: tuple[int, int],
        mean: Tensor,
        std: Tensor,
        seen: _Seen,
        origin: str,
    ):
        self.name, self.module, self.layers, self.classes = name, module, layers, classes
        self.size, self.mean, self.std, self.origin = size, mean, std, origin
        self.channels = len(mean)
        self.calls, self.shapes, self._changed = seen.calls, seen.shapes, seen.changed

    def __repr__(self) -> str:
        height, width = self.size
        return (
            f"<VisionModel {self.name}: {self.channels}x{height}x{width}, {len(self.classes)} classes, "
            f"{len(self.layers)} layers>"
        )

    @property
    def parameters(self) -> int:
        """How many numbers it has learned."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def device(self) -> torch.device:
        """Where its weights lie, and pictures must."""
        return _first(self.module).device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return _first(self.module).dtype

    def prepare(self, image: Image | np.ndarray | Tensor | bytes | str | Path) -> Tensor:
        """A picture as the net reads it, `[1, channels, h, w]`: fitted to its size, then scaled.

        Args:
            image: `[3, h, w]` (or `[1, h, w]`) from 0 to 1 as `read_image` gives it, a file, or a file's
                bytes. The shorter side is brought to the model's size and the middle is cut out; a
                picture that has the size already is left as it is.

        Raises:
            BadFile, BadInput, TooLarge: as `read_image` says.
            BadShape: an array that is no picture.
        """
        if isinstance(image, bytes | str | Path):
            image = read_image(image)
        pixels = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
        if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
            raise BadShape(
                f"A picture has the shape [3, height, width], and this has {list(pixels.shape)}.",
                hint="Pixels go from 0 to 1; a grey picture may have one channel.",
                given={"shape": list(pixels.shape)},
            )
        if pixels.dtype.kind not in "fiub" or not np.isfinite(pixels).all():
            raise BadInput("The picture's pixels are not all finite numbers.")
        if pixels.min() < 0 or pixels.max() > 1:
            raise BadInput(
                f"The picture's pixels go from {pixels.min():g} to {pixels.max():g}, not from 0 to 1.",
                hint="Divide bytes by 255.",
            )
        pixels = fit(pixels.astype(np.float32), self.size, self.channels)
        x = torch.from_numpy(pixels).to(self.device, self.dtype)
        return ((x - self.mean) / self.std)[None]

    def pixels(self, x: Tensor) -> Tensor:
        """`prepare` undone: what the net reads, `[..., channels, h, w]`, as pixels from 0 to 1."""
        return (x * self.std + self.mean).clamp(0, 1)

    def run(self, x: Tensor, keep: Iterable[str] = (), *, gradients: bool = False) -> Kept:
        """The answer to prepared pictures `[b, channels, h, w]`, with the activations in `keep`.

        Args:
            keep: names of modules, and "input". A module that runs several times is named with the call:
                "relu:1" is its second.
            gradients: build the graph, so that the result's `gradients(score)` can be asked for.

        Raises:
            UnknownName: no such module; suggests the nearest.
            BadInput: a module that never runs, or runs several times where no call is said; no such call.
            BadShape: `x` is not of that shape.
        """
        self._check_input(x)
        wanted = {name: self.find(name) for name in keep if name != INPUT}
        kept: dict[str, Tensor] = {}
        with torch.set_grad_enabled(gradients), _watching(self.module, wanted, kept, self._changed):
            if gradients:
                x = x.detach().requires_grad_(True)
            # A first layer that works in place would overwrite the pixels: it gets a copy of them.
            logits = self.module(x.clone() if INPUT in self._changed else x)
        if missing := wanted.keys() - kept.keys():
            raise BadInput(
                f"{', '.join(sorted(missing))} did not run on these pictures, though on a black one it did.",
                hint="What this net computes depends on what it sees.",
            )
        return Kept(logits, {name: x if name == INPUT else kept[name] for name in dict.fromkeys(keep)})

    def find(self, name: str) -> tuple[str, int]:
        """The module and which of its calls `name` means: ("layer1", 0), or ("relu", 1) for "relu:1".

        Errors as `run`.
        """
        module, sign, number = name.rpartition(":")
        if not sign or not number.isdigit():
            module, number = name, ""
        if module not in dict(self.module.named_modules()) or not module:
            raise unknown(
                "layer", name, [*self.layers, *(key for key in self.calls if key not in self.layers)]
            )
        calls = self.calls.get(module, 0)
        if calls == 0:
            raise BadInput(
                f"The layer {module!r} never runs when {self.name} answers.",
                hint="Its output cannot be looked at. Functional code may use its weights directly.",
                given={"layer": name},
            )
        if module not in self.shapes:
            raise BadInput(
                f"The layer {module!r} puts out no tensor.",
                hint="Look at a module inside or after it.",
                given={"layer": name},
            )
        if not number and calls > 1:
            raise BadInput(
                f"The layer {module!r} is used {calls} times in one forward: its name alone says too little.",
                hint=f"Say which call: {module}:0 to {module}:{calls - 1}.",
                given={"layer": name, "calls": calls},
            )
        call = int(number or 0)
        if call >= calls:
            raise BadInput(
                f"The layer {module!r} runs {calls} times, so there is no call {call}.",
                hint=f"Calls count from 0: {module}:{calls - 1} is the last.",
                given={"layer": name, "calls": calls},
            )
        return module, call

    def class_of(self, name: str | int) -> int:
        """The index of a class, by its name or its number.

        Raises `UnknownName` with the nearest, or `BadInput` for a number out of range.
        """
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        try:
            index = int(name)
        except ValueError:
            raise unknown("class", str(name), self.classes) from None
        if not 0 <= index < len(self.classes):
            raise BadInput(
                f"{self.name} has no class {index}.",
                hint=f"Its classes are 0 to {len(self.classes) - 1}.",
                given={"class": index},
            )
        return index

    def top(self, x: Tensor, n: int = 5) -> list[tuple[str, float]]:
        """The `n` likeliest classes of one prepared picture and their probabilities, best first."""
        best = self.run(x).logits[0].softmax(-1).topk(min(n, len(self.classes)))
        return [
            (self.classes[at], value) for value, at in zip(best.values.tolist(), best.indices, strict=True)
        ]

    def _check_input(self, x: Tensor) -> None:
        wanted = (self.channels, *self.size)
        if x.ndim != 4 or tuple(x.shape[1:]) != wanted or not len(x):
            raise BadShape(
                f"{self.name} reads [pictures, {', '.join(map(str, wanted))}], and this is {list(x.shape)}.",
                hint="model.prepare(image) makes it.",
                given={"shape": list(x.shape)},
            )


def wrap(
    module: nn.Module,
    layers: Sequence[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    mean: Scale = 0.0,
    std: Scale = 1.0,
    size: int | tuple[int, int] = 224,
    name: str | None = None,
    origin: str = "given in Python",
) -> VisionModel:
    """A `VisionModel` of a copy of `module`, a net from `[b, channels, h, w]` to `[b, classes]`.

    Args:
        layers: which modules to list, by the names of `module.named_modules()`; by default each
            convolution, and each block that has one in it, whose output is a picture.
        classes: a name for each logit; by default "class 0", "class 1" ...
        mean, std: the net reads (pixel - mean) / std of pixels from 0 to 1; one number, or one a channel.
        size: height and width of its input, in pixels; one number for a square.
        name: what to call it; by default its class's name.

    Raises:
        NotSupported: what comes out is not one `[b, classes]` tensor, or the module cannot be copied.
        UnknownName: `layers` names a module that there is not; suggests the nearest.
        BadInput: it has no convolution, does not run on pictures of that size, a layer of `layers` never
            runs or runs several times, or classes, mean, std or size do not fit.
    """
    if not isinstance(module, nn.Module):
        raise BadInput(
            f"A {type(module).__name__} is no torch.nn.Module.", given={"given": repr(module)[:80]}
        )
    name = name or type(module).__name__
    copied = _copied(module, name)
    channels = _channels(copied, name)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise BadInput(f"A picture cannot have {height} by {width} pixels.", given={"size": [height, width]})
    like = _first(copied)
    seen = _try(copied, torch.zeros(1, channels, height, width, device=like.device, dtype=like.dtype), name)
    if classes is None:
        classes = [f"class {at}" for at in range(seen.classes)]
    if len(classes) != seen.classes:
        raise BadInput(
            f"{name} answers with {seen.classes} numbers, and {len(classes)} classes are named.",
            given={"logits": seen.classes, "classes": len(classes)},
        )
    model = VisionModel(
        name=name,
        module=copied,
        layers=_worth_looking_at(copied, seen),
        classes=list(classes),
        size=(height, width),
        mean=_per_channel("mean", mean, channels, like),
        std=_per_channel("std", std, channels, like),
        seen=seen,
        origin=origin,
    )
    if (model.std <= 0).any():
        raise BadInput("A std of 0 or less cannot be divided by.", given={"std": str(std)})
    if layers is not None:
        for layer in layers:
            model.find(layer)
        model.layers = list(layers)
    return model


# --- what wrapping looks at ------------------------------------------------------------------------
def _copied(module: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode with nothing in place."""
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise NotSupported(
            f"{name} cannot be copied: {error}",
            hint="The copy keeps your own module as it is. Give a module of parameters and submodules only.",
        ) from error
    inplace: list[Any] = [part for part in copied.modules() if getattr(part, "inplace", None) is True]
    for part in inplace:
        part.inplace = False
    if isinstance(copied, torch.jit.ScriptModule):
        raise NotSupported(
            f"{name} is compiled by TorchScript, which runs no hooks.", hint="Give the module itself."
        )
    return copied.eval()


def _first(module: nn.Module) -> Tensor:
    return next(module.parameters())


def _channels(module: nn.Module, name: str) -> int:
    for part in module.modules():
        if isinstance(part, CONVOLUTIONS):
            if part.in_channels not in (1, 3):
                raise NotSupported(
                    f"The first convolution of {name} reads {part.in_channels} channels.",
                    hint="Pictures have 3, or 1 if they are grey.",
                )
            return part.in_channels
    raise BadInput(f"{name} has no convolution (torch.nn.Conv2d).", hint="Wrap a convolutional net.")


def _per_channel(what: str, value: Scale, channels: int, like: Tensor) -> Tensor:
    numbers = [float(value)] * channels if isinstance(value, int | float) else [float(part) for part in value]
    if len(numbers) != channels or not all(map(np.isfinite, numbers)):
        raise BadInput(
            f"{what} = {value!r} does not fit a net that reads {channels} channels.",
            hint="Give one number, or one a channel.",
        )
    return torch.tensor(numbers, device=like.device, dtype=like.dtype)[:, None, None]


@dataclass
class _Seen:
    """What one forward showed. `changed`: what later code overwrote in place, by name."""

    classes: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)


@torch.no_grad()
def _try(module: nn.Module, x: Tensor, name: str) -> _Seen:
    """Send a black picture through and look what happens."""
    seen, outputs = _Seen(), []

    def look(layer: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            seen.calls[layer] = seen.calls.pop(layer, 0) + 1  # taken out and put last: the order of ending
            if isinstance(output, Tensor):
                seen.shapes[layer] = tuple(output.shape[1:])
                outputs.append((layer, output, output._version))

        return hook

    handles = [part.register_forward_hook(look(layer)) for layer, part in module.named_modules() if layer]
    version = x._version
    try:
        answer = module(x)
    except Exception as error:
        raise BadInput(
            f"{name} does not run on a picture of {' x '.join(map(str, x.shape[1:]))}: {error}",
            hint="Say its size: wrap(module, size=...).",
            given={"shape": list(x.shape)},
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(answer, Tensor):
        count = f"{len(answer)} outputs" if isinstance(answer, tuple | list | dict) else "its output"
        raise NotSupported(
            f"{name} answers with {count} in a {type(answer).__name__}, and one tensor of logits is needed.",
            hint="Wrap it in a small module that returns the one to look at.",
        )
    if answer.ndim != 2 or len(answer) != 1:
        raise NotSupported(
            f"{name} answers one picture with the shape {list(answer.shape)}, and [1, classes] is needed.",
            hint="A classifier can be looked at: pool and flatten what comes out.",
        )
    seen.classes = answer.shape[1]
    seen.changed = {layer for layer, output, before in outputs if output._version != before}
    if x._version != version:
        seen.changed.add(INPUT)
    return seen


def _worth_looking_at(module: nn.Module, seen: _Seen) -> list[str]:
    """Convolutions, and blocks with one in them, that run once and put out a picture."""
    parts = dict(module.named_modules())
    return [
        layer
        for layer, calls in seen.calls.items()
        if calls == 1
        and any(isinstance(part, CONVOLUTIONS) for part in parts[layer].modules())
        and len(seen.shapes.get(layer, ())) == 3
    ]


@contextmanager
def _watching(
    module: nn.Module, wanted: dict[str, tuple[str, int]], kept: dict[str, Tensor], changed: set[str]
) -> Iterator[None]:
    """Put the outputs that are `wanted` (name to module and call) into `kept` while the module runs."""
    by_module: dict[str, dict[int, list[str]]] = {}
    for name, (layer, call) in wanted.items():
        by_module.setdefault(layer, {}).setdefault(call, []).append(name)

    def keeper(layer: str, calls: dict[int, list[str]]) -> Callable[..., Tensor | None]:
        count = 0

        def hook(part: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            nonlocal count
            for name in calls.get(count, ()):
                kept[name] = output
            count += 1
            # What later code overwrites is a copy; what is kept stays as it was, and in the graph.
            return output.clone() if layer in changed else None

        return hook

    handles = [
        module.get_submodule(layer).register_forward_hook(keeper(layer, calls))
        for layer, calls in by_module.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
