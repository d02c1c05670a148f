"""What the theatre climbs: names made into objectives, and their values on real pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from llm_workings.activations.collect import Collected, collect
from llm_workings.activations.units import class_means, dead
from llm_workings.attribution.visualize.climb import activations_of
from llm_workings.attribution.visualize.objectives import (
    LOGITS,
    Objective,
    channel,
    direction,
    logit,
    neuron,
)
from llm_workings.core.errors import BadInput
from llm_workings.models.vision_wrap import VisionModel

from .lab import Lab
from .vision_set import RealSet, check_unit, fitted, layer_of, peaks_of, units_of

BATCH = 64
Maps = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Goal:
    """What is climbed.

    Attributes:
        name: in words.
        layer: empty for a logit.
        unit, other: the channel (or class), and the second channel of a pair.
        units: of how many.
        maps: activations to `[n, row, column]`, what each place has of it; None: it has no places.
    """

    name: str
    objective: Objective
    layer: str
    unit: int
    other: int | None
    units: int
    maps: Maps | None


def goal_of(
    lab: Lab,
    model: VisionModel,
    real: RealSet,
    kind: str,
    layer: str,
    unit: int | None,
    other: int | None,
    picture: str,
) -> Goal:
    """The goal that a request means, what it leaves open filled in.

    Without a unit, a channel that tells one class from the others (Morcos et al. 2018), or, where no classes
    are known, the strongest on the first real picture; without a class, the answer to `picture`.

    Raises:
        UnknownName, BadInput: a layer, unit or class that is not there; a class's direction without a set.
    """
    if kind in ("logit", "direction"):
        if unit is None:
            image = torch.from_numpy(fitted(model, lab.picture(picture, model.name))).to(model.device)
            with torch.no_grad():
                unit = int(activations_of(model, image, ())[LOGITS][0].argmax())
        unit = model.class_of(unit)
        named = model.classes[unit]
        if kind == "logit":
            goal = logit(unit, f"logit of {named}")
            return Goal(f"the logit of {named}", goal, "", unit, None, len(model.classes), None)
        layer = layer_of(model, layer)
        vector = _apart(lab, model, real, layer, unit)
        along = torch.from_numpy(vector / max(float(np.linalg.norm(vector)), 1e-12))

        def dot(seen: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return torch.einsum("nchw,c->nhw", seen[layer], along.to(seen[layer]))

        name = f"the direction of {named} in {layer}"
        return Goal(name, direction(layer, along), layer, unit, None, len(model.classes), dot)
    layer = layer_of(model, layer)
    units = units_of(model, layer)
    flat = len(model.shapes[model.find(layer)[0]]) != 3
    if unit is None:
        unit = telling(lab, model, real, layer)[0]
    check_unit(model, layer, unit)
    if kind == "pair":
        if other is None:
            other = next((one for one in telling(lab, model, real, layer) if one != unit), unit)
        second = check_unit(model, layer, other)
        both = channel(layer, unit) + channel(layer, second)
        first = unit
        name = f"units {unit} and {second} of {layer}"
        maps: Maps = lambda seen: seen[layer][:, first] + seen[layer][:, second]  # noqa: E731
        return Goal(name, both, layer, unit, second, units, None if flat else maps)
    chosen = unit
    objective = neuron(layer, unit) if kind == "neuron" else channel(layer, unit)
    name = f"unit {unit} of {layer}" + (", at the middle" if kind == "neuron" else "")
    one: Maps = lambda seen: seen[layer][:, chosen]  # noqa: E731
    return Goal(name, objective, layer, unit, None, units, None if flat else one)


def values_of(model: VisionModel, goal: Goal, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The objective of pictures `[n, channel, h, w]` from 0 to 1, `[n]`; and where it peaks, `[n, 2]`."""
    layers = [layer for layer in goal.objective.layers if layer != LOGITS]
    values, peaks = [], []
    for begin in range(0, len(images), BATCH):
        part = torch.from_numpy(images[begin : begin + BATCH]).to(model.device, model.dtype)
        with torch.no_grad():
            seen = activations_of(model, part, layers)
            values.append(goal.objective.value(seen).float().cpu().numpy())
            if goal.maps is not None:
                peaks.append(peaks_of(goal.maps(seen).float().cpu().numpy()))
    return np.concatenate(values), np.concatenate(peaks) if peaks else None


def collected(lab: Lab, model: VisionModel, real: RealSet, layer: str) -> Collected:
    """What one layer answers to the real pictures, kept in the lab."""

    def run() -> Collected:
        labels = real.labels if real.whole else None
        return collect(model, real.images, labels, [layer], progress=lab.progress)

    return lab.found(model.name, ("collected", layer, real.names), run)


def telling(lab: Lab, model: VisionModel, real: RealSet, layer: str) -> list[int]:
    """The layer's units, those that tell most first: alive, and much stronger for one class than for others.

    Where no classes are known: the strongest first.
    """
    values = collected(lab, model, real, layer).at(layer)
    if not real.whole:
        return [int(unit) for unit in np.argsort(-values.max(0), kind="stable")]
    means = class_means(values, real.labels, len(model.classes))
    best = np.nanmax(means, 0)
    others = (np.nansum(means, 0) - best) / max(1, len(model.classes) - 1)
    score = (best - others) / (values.std(0) + 1e-6)
    score[dead(values)] = -np.inf
    return [int(unit) for unit in np.argsort(-score, kind="stable")]


def _apart(lab: Lab, model: VisionModel, real: RealSet, layer: str, label: int) -> np.ndarray:
    """The mean of a class's pictures less the mean of the others', `[unit]`."""
    if not real.whole:
        raise BadInput(
            f"No labelled pictures come with {model.name}, so no class's direction is known.",
            hint="Climb its logit, or a channel.",
            given={"kind": "direction"},
        )
    values = collected(lab, model, real, layer).at(layer)
    of_it = real.labels == label
    vector = values[of_it].mean(0) - values[~of_it].mean(0)
    return np.asarray(vector, np.float32)
