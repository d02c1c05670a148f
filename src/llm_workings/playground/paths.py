"""The ways from an input to an output along which a network's weights multiply to the most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_workings.core.errors import BadInput

from .record import Array, Parameters


@dataclass(frozen=True)
class Path:
    """A way through the network, and the product of the weights on it, with its sign.

    In a linear network the strengths of all paths from an input to an output add up to the slope of that
    output; elsewhere each is scaled by the slopes of the units on it.
    """

    units: tuple[int, ...]
    """One a layer of units, the inputs first."""
    strength: float


def strongest_paths(parameters: Parameters, most: int = 12) -> list[Path]:
    """The paths of the largest strength by size, strongest first; those of strength 0 are left out.

    What leads to the `most` strongest ways into a unit leads over one of the `most` strongest into each unit
    before it, so that many are kept a unit and the paths, whose number is the product of all layers' sizes,
    are never all listed.

    Raises `BadInput` for `most` below 1.
    """
    if most < 1:
        raise BadInput(f"{most} paths are asked for.", hint="Ask for at least one.", given={"most": most})
    into = parameters.weights[0].shape[0]
    # Of each unit the best ways to it so far: their strengths [unit, way], and the units on them.
    strengths: Array = np.ones((into, 1))
    ways: Array = np.arange(into)[:, None, None]  # [unit, way, layer]
    for weights in parameters.weights:
        reached = strengths[:, :, None] * weights[:, None, :]  # [from, way, to]
        count = reached.shape[0] * reached.shape[1]
        flat = reached.reshape(count, -1)
        kept = _largest(flat, min(most, count))  # [way, to]
        strengths = np.take_along_axis(flat, kept, axis=0).T
        before = ways.reshape(count, -1)[kept.T]  # [to, way, layer]
        here = np.broadcast_to(np.arange(weights.shape[1])[:, None, None], (*before.shape[:2], 1))
        ways = np.concatenate([before, here], axis=2)
    all_strengths, all_ways = strengths.reshape(-1), ways.reshape(-1, ways.shape[2])
    order = _largest(all_strengths[:, None], min(most, len(all_strengths)))[:, 0]
    return [
        Path(tuple(int(unit) for unit in all_ways[i]), float(all_strengths[i]))
        for i in order
        if all_strengths[i] != 0
    ]


def _largest(values: Array, n: int) -> Array:
    """The places of the `n` values of the largest size down each column, `[n, column]`, largest first."""
    return np.argsort(-np.abs(values), axis=0, kind="stable")[:n]
