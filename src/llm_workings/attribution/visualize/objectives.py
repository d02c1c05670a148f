"""What is climbed: a channel, one neuron of it, a direction, a logit, or several of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape

LOGITS = "logits"  # what the answer is called among the activations


@dataclass(frozen=True)
class Objective:
    """A number of each picture, to be made large. `a + b`, `2 * a` and `-a` make others.

    Attributes:
        name: what it is called.
        layers: whose activations it reads, by their names in the module; `logits` for the answer.
        value: activations by layer to one number a picture, `[n]`.
    """

    name: str
    layers: tuple[str, ...]
    value: Callable[[Mapping[str, Tensor]], Tensor]

    def __add__(self, other: Objective) -> Objective:
        layers = tuple(dict.fromkeys((*self.layers, *other.layers)))
        return Objective(
            f"{self.name} + {other.name}", layers, lambda seen: self.value(seen) + other.value(seen)
        )

    def __mul__(self, weight: float) -> Objective:
        return Objective(f"{weight:g} * ({self.name})", self.layers, lambda seen: weight * self.value(seen))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return Objective(f"-({self.name})", self.layers, lambda seen: -self.value(seen))


def channel(layer: str, unit: int) -> Objective:
    """The mean of a channel over all places (of a layer without places, the unit itself)."""

    def value(seen: Mapping[str, Tensor]) -> Tensor:
        return _unit(seen[layer], layer, unit).flatten(1).mean(1)

    return Objective(f"{layer} channel {unit}", (layer,), value)


def neuron(layer: str, unit: int, place: tuple[int, int] | None = None) -> Objective:
    """A channel at one place, (row, column); None: at the middle."""

    def value(seen: Mapping[str, Tensor]) -> Tensor:
        map = _unit(seen[layer], layer, unit)
        if map.dim() != 3:
            raise BadShape(
                f"The layer {layer!r} answers with {list(seen[layer].shape)}: it has no places.",
                hint="Take channel(layer, unit).",
            )
        row, column = place if place is not None else (map.shape[1] // 2, map.shape[2] // 2)
        if not (0 <= row < map.shape[1] and 0 <= column < map.shape[2]):
            raise BadInput(
                f"The layer {layer!r} has {map.shape[1]} x {map.shape[2]} places: {row}, {column} is none.",
                given={"place": [row, column]},
            )
        return map[:, row, column]

    return Objective(f"{layer} neuron {unit}", (layer,), value)


def direction(layer: str, vector: Tensor, cosine: float = 1.0) -> Objective:
    """The mean over places of (a · v) max(cos(a, v), 0.1)^p, with v of length 1.

    With p = 0 it is the plain dot product, which any large activation pleases; the cosine asks that the
    activation point the same way (Carter et al. 2019, "Activation Atlas").
    """

    def value(seen: Mapping[str, Tensor]) -> Tensor:
        a = seen[layer]
        unit = (vector / vector.norm()).to(a)
        if unit.shape != a.shape[1:2]:
            raise BadShape(
                f"The direction has {vector.numel()} numbers, and the layer {layer!r} {a.shape[1]} channels."
            )
        along = torch.einsum("nc...,c->n...", a, unit)
        turned = along / a.norm(dim=1).clamp(min=1e-8)
        return (along * turned.clamp(min=0.1) ** cosine).reshape(len(a), -1).mean(1)

    return Objective(f"a direction of {layer}", (layer,), value)


def logit(index: int, name: str | None = None) -> Objective:
    """A class's logit, before any softmax: a probability can be raised by lowering the other classes."""

    def value(seen: Mapping[str, Tensor]) -> Tensor:
        return _unit(seen[LOGITS], LOGITS, index)

    return Objective(name or f"logit {index}", (LOGITS,), value)


def variety(maps: Tensor) -> Tensor:
    """How alike the pictures are: the mean cosine of their layer's Gram matrices, over pairs.

    The Gram matrix says which channels go together, wherever in the picture (Olah et al. 2017, after Gatys et
    al. 2015). Subtracted from the objective it makes pictures of one unit differ.

    Args:
        maps: `[n, channel, h, w]`, n at least 2.
    """
    flat = maps.flatten(2)
    grams = (flat @ flat.mT).flatten(1)
    grams = grams / grams.norm(dim=1, keepdim=True).clamp(min=1e-8)
    alike = grams @ grams.T
    n = len(maps)
    return (alike.sum() - alike.diagonal().sum()) / (n * (n - 1))


def _unit(a: Tensor, layer: str, unit: int) -> Tensor:
    if not 0 <= unit < a.shape[1]:
        raise BadInput(
            f"The layer {layer!r} has no unit {unit}: it has {a.shape[1]}.",
            hint=f"Units go from 0 to {a.shape[1] - 1}.",
            given={"layer": layer, "unit": unit},
        )
    return a[:, unit]
