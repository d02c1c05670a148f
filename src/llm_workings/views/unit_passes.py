"""What the card of a unit is made of: its maps, its kernels below and above, the net with it held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from llm_workings.models.vision_wrap import VisionModel

from .lab import Lab
from .unit import Excited, Kernels
from .vision_set import RealSet, examples_of, peaks_of

BATCH = 64
MOST = 12  # kernels of a kind


@dataclass(frozen=True)
class Held:
    """The net with a unit held at one value.

    Attributes:
        accuracy: on the set; None where its classes are not known.
        changed: pictures of the set with another answer than the whole net's.
        by_class: `[class]`: the mean change of its logit, over its own pictures where classes are known.
        logits: `[class]`, of one more picture.
    """

    how: str
    value: float
    accuracy: float | None
    changed: int
    by_class: np.ndarray
    logits: np.ndarray


@contextmanager
def holding(model: VisionModel, layer: str, unit: int, value: float) -> Iterator[None]:
    """Within it the unit has one value at every place of every picture."""
    name, call = model.find(layer)
    count = 0

    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        nonlocal count
        count += 1
        if count - 1 != call:
            return None
        output = output.clone()
        output[:, unit] = value
        return output

    def begin(module: nn.Module, inputs: object) -> None:
        nonlocal count
        count = 0

    handles = [
        model.module.register_forward_pre_hook(begin),
        model.module.get_submodule(name).register_forward_hook(hook),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def held(
    lab: Lab,
    model: VisionModel,
    real: RealSet,
    layer: str,
    unit: int,
    image: np.ndarray,
    values: Mapping[str, float],
) -> list[Held]:
    """The net on the set and on one more picture `[1, channel, h, w]`, with the unit held at each value."""

    def whole() -> np.ndarray:
        return _logits(lab, model, real.images, "running the set")

    before = lab.found(model.name, ("logits", real.names), whole)
    answered = []
    for how, value in values.items():

        def run(how: str = how, value: float = value) -> np.ndarray:
            with holding(model, layer, unit, value):
                return _logits(lab, model, real.images, f"without the unit ({how})")

        after = lab.found(model.name, ("held", layer, unit, how, real.names), run)
        with holding(model, layer, unit, value):
            alone = _logits(lab, model, image, "without the unit")[0]
        change = after - before
        right = float((after.argmax(1) == real.labels).mean()) if real.whole else None
        by_class = np.full(change.shape[1], np.nan)
        for index in range(change.shape[1]):
            chosen = real.labels == index if real.whole else np.ones(len(real), bool)
            if chosen.any():
                by_class[index] = change[chosen, index].mean()
        changed = int((after.argmax(1) != before.argmax(1)).sum())
        answered.append(Held(how, value, right, changed, by_class, alone))
    return answered


def excited(
    lab: Lab,
    model: VisionModel,
    real: RealSet,
    layer: str,
    unit: int,
    groups: Sequence[np.ndarray],
    values: np.ndarray,
) -> list[Excited]:
    """Groups of pictures of the set, by number, with the unit's maps over each."""
    chosen = sorted({int(at) for group in groups for at in group})
    parts = []
    for begin in range(0, len(chosen), BATCH):
        lab.progress.report("where it is strong", begin, len(chosen))
        x = torch.from_numpy(real.images[chosen[begin : begin + BATCH]]).to(model.device, model.dtype)
        kept = model.run((x - model.mean) / model.std, [layer])[layer][:, unit].float().cpu().numpy()
        parts.append(kept if kept.ndim == 3 else kept.reshape(len(kept), 1, 1))
    maps = np.concatenate(parts)
    peaks = np.full((len(real), 2), np.nan)
    if maps.shape[1:] != (1, 1):
        peaks[chosen] = peaks_of(maps)
    share = (np.clip(maps / max(float(maps.max()), 1e-12), 0, 1) * 255).round().astype(np.uint8)
    row = {at: number for number, at in enumerate(chosen)}
    return [
        Excited(
            examples=examples_of(real, group.tolist(), values, peaks, model.classes),
            maps=share[[row[int(at)] for at in group]],
        )
        for group in groups
    ]


def joined_below(model: VisionModel, layer: str, unit: int) -> Kernels | None:
    """The kernels by which the unit reads the channels below it, the longest first.

    They are those of the layer's last convolution with as many outputs as the layer; where it reads one
    channel only (a depthwise one), that kernel alone.
    """
    inside, _ = model.find(layer)
    running = [name for name in model.calls if name == inside or name.startswith(inside + ".")]
    units = model.shapes[inside][0]
    convs = [name for name in running if _is_conv(model, name) and _conv(model, name).out_channels == units]
    if not convs:
        return None
    conv = _conv(model, convs[-1])
    factor = _norm_factor(model, convs[-1], within=running)
    weight = conv.weight[unit].detach().float().cpu() * (1.0 if factor is None else float(factor[unit]))
    first = unit // (conv.out_channels // conv.groups) * weight.shape[0]
    colours = ("red", "green", "blue") if model.channels == 3 else ("grey",)
    of_pixels = convs[-1] == next(name for name in model.calls if _is_conv(model, name))
    names = list(colours) if of_pixels else [f"channel {first + at}" for at in range(len(weight))]
    return _strongest("the pixels" if of_pixels else f"the input of {convs[-1]}", weight, names, first)


def joined_above(model: VisionModel, layer: str, unit: int) -> Kernels | None:
    """The kernels by which the next layer that reads as many channels reads the unit; a class's weights."""
    inside, _ = model.find(layer)
    names = list(model.calls)
    units = model.shapes[inside][0]
    for name in names[names.index(inside) + 1 :]:
        part = model.module.get_submodule(name)
        if isinstance(part, nn.Linear) and part.in_features == units:
            weight = part.weight[:, unit].detach().float().cpu()[:, None, None]
            last = part.out_features == len(model.classes)
            said = list(model.classes) if last else [f"unit {at}" for at in range(len(weight))]
            return _strongest("the classes" if last else name, weight, said, 0, signed=True)
        if isinstance(part, nn.Conv2d) and part.in_channels == units:
            factor = _norm_factor(model, name, within=names)
            group = part.in_channels // part.groups
            outs = part.out_channels // part.groups
            start = unit // group * outs
            weight = part.weight[start : start + outs, unit % group].detach().float().cpu()
            if factor is not None:
                weight = weight * factor[start : start + outs, None, None]
            return _strongest(name, weight, [f"unit {start + at}" for at in range(len(weight))], start)
    return None


def _strongest(of: str, weight: Tensor, names: list[str], first: int, *, signed: bool = False) -> Kernels:
    """The longest of kernels `[unit, row, column]`; `signed`: by their own value, both ends."""
    lengths = weight.flatten(1).norm(dim=1)
    order = lengths.argsort(descending=True, stable=True)[:MOST].tolist()
    if signed:
        order.sort(key=lambda at: -float(weight[at, 0, 0]))
    return Kernels(
        of=of,
        names=[names[at] for at in order],
        units=[first + at for at in order],
        kernels=weight[order].numpy(),
        lengths=(weight[order, 0, 0] if signed else lengths[order]).numpy(),
        out_of=len(weight),
    )


def _norm_factor(model: VisionModel, conv: str, within: Sequence[str]) -> Tensor | None:
    """What the batch norm that runs right after a convolution multiplies each channel by, `[channel]`."""
    order = list(model.calls)
    after = order[order.index(conv) + 1 :]
    if not after or after[0] not in within:
        return None
    norm = model.module.get_submodule(after[0])
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None:
        return None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    return (scale * norm.weight if norm.weight is not None else scale).detach().float().cpu()


def _is_conv(model: VisionModel, name: str) -> bool:
    return isinstance(model.module.get_submodule(name), nn.Conv2d)


def _conv(model: VisionModel, name: str) -> nn.Conv2d:
    part = model.module.get_submodule(name)
    assert isinstance(part, nn.Conv2d)
    return part


def _logits(lab: Lab, model: VisionModel, images: np.ndarray, what: str) -> np.ndarray:
    parts = []
    for begin in range(0, len(images), BATCH):
        lab.progress.report(what, begin, len(images))
        x = torch.from_numpy(images[begin : begin + BATCH]).to(model.device, model.dtype)
        parts.append(model.run((x - model.mean) / model.std).logits.float().cpu().numpy())
    return np.concatenate(parts)
