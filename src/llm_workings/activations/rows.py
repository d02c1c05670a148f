"""Rows of a heatmap of units: which are kept, in what order they stand, and which go up and down together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .units import DOUBLE, dead

SHUFFLES = 19  # so that one in twenty units that have nothing to do with the others reaches past them
SAME = 0.999  # correlation from which one unit is the other, up to its scale and a constant
FEWEST = 3  # inputs: over two, any two units are correlated at 1


@dataclass(frozen=True)
class Partner:
    """The unit that goes with another one most.

    Attributes:
        unit: which; None where nothing can be compared: too few inputs, a unit that never changes.
        correlation: Pearson's, with its sign; 0 where nothing can be compared.
        chance: the largest |correlation| with any other unit that the unit reaches where its values are
            shuffled over the inputs, in `SHUFFLES` shuffles. Over few inputs it is high.
        flag: `duplicate` where |correlation| is at least `SAME`, `correlated` where it is at least `DOUBLE`,
            and it is beyond chance either way; else empty.
    """

    unit: int | None
    correlation: float
    chance: float
    flag: Literal["", "duplicate", "correlated"]


def partners(
    values: NDArray[np.floating], units: NDArray[np.integer], *, shuffles: int = SHUFFLES, seed: int = 0
) -> list[Partner]:
    """Of each of `units`, the unit among all that goes with it most, either way.

    Args:
        values: `[n, unit]`, all units of the layer.
        units: those asked about, by number.
        shuffles: how many times each one's values are shuffled over the inputs.
        seed: of the shuffles.
    """
    scaled = _unit_length(values)
    alive = np.flatnonzero((scaled != 0).any(0) & ~dead(values))
    known = np.isin(units, alive)
    found = [Partner(None, 0.0, 0.0, "")] * len(units)
    if len(values) < FEWEST or len(alive) < 2 or not known.any():
        return found
    others, asked = scaled[:, alive], units[known]
    itself = (np.arange(len(asked)), np.searchsorted(alive, asked))
    alike = scaled[:, asked].T @ others
    alike[itself] = 0.0
    nearest = np.abs(alike).argmax(1)
    random = np.random.default_rng(seed)
    chance = np.zeros(len(asked))
    for _ in range(shuffles):
        shuffled = random.permuted(scaled[:, asked], axis=0)
        reached = np.abs(shuffled.T @ others)
        reached[itself] = 0.0
        chance = np.maximum(chance, reached.max(1))
    for row, (at, other) in enumerate(zip(np.flatnonzero(known), nearest, strict=True)):
        r, by_chance = float(np.clip(alike[row, other], -1, 1)), float(min(1.0, chance[row]))
        flag: Literal["", "duplicate", "correlated"] = ""
        if abs(r) >= DOUBLE and abs(r) > by_chance + 1e-9:
            flag = "duplicate" if abs(r) >= SAME else "correlated"
        found[int(at)] = Partner(int(alive[other]), r, by_chance, flag)
    return found


def most(
    values: NDArray[np.floating], count: int, by: Literal["variable", "strongest"] = "variable"
) -> NDArray[np.int64]:
    """The `count` units that come first: by their standard deviation, or by their largest |value|.

    Args:
        values: `[n, unit]`.
    """
    size = values.std(0) if by == "variable" else np.abs(values).max(0)
    return np.argsort(-size, kind="stable")[:count].astype(np.int64)


def together(rows: NDArray[np.floating]) -> NDArray[np.int64]:
    """An order of the rows in which those that go up and down together stand together; flat ones last.

    Average linkage of 1 − correlation, leaves ordered so that neighbours are alike (Bar-Joseph et al. 2001,
    "Fast optimal leaf ordering for hierarchical clustering").

    Args:
        rows: `[row, n]`.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist

    wide = rows.astype(np.float64)
    moving = np.flatnonzero(np.ptp(wide, axis=1) > 1e-12)
    flat = np.setdiff1d(np.arange(len(wide)), moving)
    if len(moving) < 3:
        return np.concatenate((moving, flat))
    apart = np.clip(pdist(wide[moving], "correlation"), 0, None)
    return np.concatenate((moving[leaves_list(linkage(apart, "average", optimal_ordering=True))], flat))


def by_peak(rows: NDArray[np.floating]) -> NDArray[np.int64]:
    """An order of the rows by where each is furthest from its own mean, in its own standard deviations.

    Of those that peak at one place the ones that rise come first, the furthest outermost; flat ones last.

    Args:
        rows: `[row, n]`.
    """
    scaled = _unit_length(rows.T).T
    at = np.abs(scaled).argmax(1)
    peak = scaled[np.arange(len(rows)), at]
    flat = ~(scaled != 0).any(1)
    return np.lexsort((-peak, at, flat)).astype(np.int64)


def _unit_length(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each column less its mean, at length 1; zeros where it never changes."""
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(0))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
