"""Single units over a set: how they spread, what sets them off, and which are dead, doubled or mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_workings.core.errors import BadInput

from .collect import Collected

BINS = 40
DEAD = 1e-6  # a unit whose largest value is at most this, in units of its layer's spread, never fires
DOUBLE = 0.95  # correlation from which two units are one twice
TOP_SHARE = 0.05  # of the set: what "excites a unit most" means where classes are counted
MIXED = 2.0  # classes, in effect, among what excites a unit most


@dataclass(frozen=True)
class Unit:
    """One unit of a layer over a set.

    Attributes:
        layer, unit: which.
        counts, edges: `[bin]` and `[bin + 1]`: how its values spread.
        mean, std, largest: of its values; `firing`: the share of them above 0.
        top, bottom, drawn: pictures by number: those that excite it most and least, best first, and some
            drawn at random, which say what "most" is to be compared with.
        by_class: `[class]`: its mean over the pictures of each class; NaN where there are none.
        selectivity: (best class's mean - mean of the others) / (their sum), 0 to 1 for a unit that is never
            negative (Morcos et al. 2018, "On the importance of single directions").
        favourite: the class of the highest mean; None where labels are not known.
        in_effect: how many classes its top twentieth holds in effect, exp of their entropy.
        neighbours: the units of the layer that go up and down with it most, with their correlations.
        flags: what is odd about it, each with its number, in words.
    """

    layer: str
    unit: int
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    mean: float
    std: float
    largest: float
    firing: float
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    drawn: NDArray[np.int64]
    by_class: NDArray[np.float64]
    selectivity: float | None
    favourite: int | None
    in_effect: float | None
    neighbours: tuple[tuple[int, float], ...]
    flags: tuple[str, ...]


def describe(found: Collected, layer: str, unit: int, *, most: int = 9, seed: int = 0) -> Unit:
    """What one unit does over the set.

    Args:
        most: pictures of each kind.
        seed: of those drawn.

    Raises:
        UnknownName, BadInput: a layer or unit that is not there.
    """
    values = found.at(layer)
    if not 0 <= unit < values.shape[1]:
        raise BadInput(
            f"The layer {layer!r} has no unit {unit}: it has {values.shape[1]}.",
            hint=f"Units go from 0 to {values.shape[1] - 1}.",
            given={"layer": layer, "unit": unit},
        )
    one = values[:, unit].astype(np.float64)
    counts, edges = np.histogram(one, BINS)
    order = np.argsort(-one, kind="stable")
    drawn = np.random.default_rng([seed, unit]).permutation(len(one))[:most]
    classes = len(found.classes)
    means = class_means(one[:, None], found.labels, classes)[:, 0]
    selectivity, favourite = _selectivity(means, found.labels)
    in_effect = None
    if favourite is not None:
        in_effect = _classes_in_effect(found.labels[order[: max(1, round(TOP_SHARE * len(one)))]], classes)
    alike = correlations(values, unit)
    near = [int(i) for i in np.argsort(-np.abs(alike), kind="stable") if i != unit][:5]
    neighbours = tuple((i, float(alike[i])) for i in near)
    return Unit(
        layer, unit, counts, edges, float(one.mean()), float(one.std()), float(one.max()),
        float((one > 0).mean()), order[:most], order[::-1][:most], drawn, means, selectivity, favourite,
        in_effect, neighbours, _flags(values, one, neighbours, in_effect, len(one)),
    )  # fmt: skip


def dead(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """`[unit]`: whose value is the same for every picture, or, after a ReLU, never above 0.

    Args:
        values: `[n, unit]`. "The same" is within `DEAD` of the layer's own spread.
    """
    spread = max(float(np.std(values)), 1e-30)
    still = values.max(0) - values.min(0) <= DEAD * spread
    rectified = bool((values >= 0).all())
    return still | (rectified & (values.max(0) <= DEAD * spread))


def duplicates(values: NDArray[np.floating], at_least: float = DOUBLE) -> list[tuple[int, int, float]]:
    """Pairs (i < j, correlation) of units that go up and down together, the closest first; no dead ones."""
    matrix = np.corrcoef(_alive(values).T)
    matrix = np.atleast_2d(matrix)
    kept = np.flatnonzero(~dead(values))
    rows, columns = np.triu_indices(len(kept), 1)
    close = [
        (int(kept[i]), int(kept[j]), float(matrix[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if matrix[i, j] >= at_least
    ]
    return sorted(close, key=lambda pair: -pair[2])


def class_means(
    values: NDArray[np.floating], labels: NDArray[np.integer], classes: int
) -> NDArray[np.float64]:
    """`[class, unit]`: the mean over the pictures of each class; NaN where there are none."""
    means = np.full((classes, values.shape[1]), np.nan)
    for index in range(classes):
        of_it = labels == index
        if of_it.any():
            means[index] = values[of_it].mean(0)
    return means


def correlations(values: NDArray[np.floating], unit: int) -> NDArray[np.float64]:
    """`[unit]`: Pearson's correlation of every unit with one of them; 0 with a unit that never changes."""
    centred = values.astype(np.float64) - values.mean(0)
    length = np.sqrt((centred**2).sum(0))
    product = centred.T @ centred[:, unit]
    whole = length * length[unit]
    return np.divide(product, whole, out=np.zeros_like(product), where=whole > 1e-12)


def _alive(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values[:, ~dead(values)]


def _selectivity(means: NDArray[np.float64], labels: NDArray[np.integer]) -> tuple[float | None, int | None]:
    if (labels < 0).any() or np.isfinite(means).sum() < 2:
        return None, None
    best = int(np.nanargmax(means))
    others = float(np.nanmean(np.delete(means, best)))
    total = abs(means[best]) + abs(others)
    return (float((means[best] - others) / total) if total > 0 else 0.0), best


def _classes_in_effect(labels: NDArray[np.integer], classes: int) -> float:
    share = np.bincount(labels, minlength=classes) / len(labels)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def _flags(
    values: NDArray[np.floating],
    one: NDArray[np.float64],
    neighbours: tuple[tuple[int, float], ...],
    in_effect: float | None,
    n: int,
) -> tuple[str, ...]:
    spread = max(float(np.std(values)), 1e-30)
    if one.max() - one.min() <= DEAD * spread:
        return (f"dead: it is {one[0]:.3g} for all {n} pictures",)
    flags = []
    if neighbours and neighbours[0][1] >= DOUBLE:
        flags.append(
            f"doubled: it goes with unit {neighbours[0][0]} at a correlation of {neighbours[0][1]:.3f}"
        )
    if in_effect is not None and in_effect >= MIXED:
        top = max(1, round(TOP_SHARE * n))
        flags.append(f"mixed: the {top} that excite it most are of {in_effect:.1f} classes, in effect")
    return tuple(flags)
