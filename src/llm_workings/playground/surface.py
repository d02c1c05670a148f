"""A network's function drawn over the ground its data lies on: the surface, and each unit's own map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_workings.core.dataset import Dataset

from .config import Config
from .kernel import Reader
from .losses import decide

Array = np.ndarray
SIDES = (100, 50, 25)  # points of a surface's side: fewer for a network that is slow to ask
WORK = 60_000_000  # multiplications that a surface may take
MAP = 25  # points of a map's side, at the most
MAP_POINTS = 60_000  # of all maps together
LINE = 200  # points of a line


@dataclass(frozen=True)
class Surface:
    """What is drawn.

    Attributes:
        value: `[row, column]` the first output, lowest y first; of several classes the winner's value. One
            row on a line; empty without a ground.
        winner: `[row, column]` int, the class decided for; empty for values.
        maps: `[unit, row, column]` int8, every unit of every layer: value = maps / 127 * scale.
        scale: `[unit]` the largest size of a unit's activation on the ground.
    """

    value: Array
    winner: Array
    maps: Array
    scale: Array


class Ground:
    """The points that a network is asked at, for one data set and architecture.

    Args:
        side: points of the surface's side; by default as many as the network answers quickly.
    """

    def __init__(self, config: Config, data: Dataset, side: int | None = None):
        self.config, self.task = config, data.task
        self.rows = self.columns = self.stride = 0
        self._units = sum(config.layers)
        if data.dimensions == 0 or data.domain is None:
            return
        low, high = data.domain
        if data.dimensions == 1:
            self.rows, self.columns, self.stride = 1, LINE, LINE // 50
            points = np.linspace(low, high, LINE)[:, None]
        else:
            side = side or next(
                (side for side in SIDES if side * side * config.n_parameters <= WORK), SIDES[-1]
            )
            self.rows = self.columns = side
            self.stride = max(1, side // MAP)
            while (side // self.stride) ** 2 * self._units > MAP_POINTS and self.stride < side:
                self.stride += 1
            along = np.linspace(low, high, side)
            y, x = np.meshgrid(along, along, indexing="ij")
            points = np.stack([x.ravel(), y.ravel()], axis=1)
        self._reader = Reader(config, data.expand(points))

    def draw(self, parameters: Array) -> Surface:
        """The surface of a network with these flat parameters."""
        if not self.rows:
            nothing = np.empty((0, 0))
            empty = np.empty((self._units, 0, 0), np.int8)
            return Surface(nothing, nothing.astype(np.uint8), empty, np.zeros(self._units))
        layers = self._reader.read(parameters)
        outputs, shape = layers[-1], (self.rows, self.columns)
        winner = np.empty((0, 0), np.uint8)
        if self.task == "classes":
            winner = decide(self.config, outputs).astype(np.uint8).reshape(shape)
        several = self.task == "classes" and len(outputs) > 1
        value = (outputs.max(axis=0) if several else outputs[0]).reshape(shape)
        maps, scale = self._maps(layers)
        return Surface(value.copy(), winner, maps, scale)

    def _maps(self, layers: list[Array]) -> tuple[Array, Array]:
        rows = 1 if self.rows == 1 else self.stride
        found, scales = [], []
        for activations in layers:
            seen = activations.reshape(-1, self.rows, self.columns)[:, ::rows, :: self.stride]
            size = np.abs(seen).max(axis=(1, 2))
            with np.errstate(all="ignore"):
                scaled = seen * (127.0 / np.where(size > 0, size, 1.0))[:, None, None]
            found.append(np.nan_to_num(np.rint(scaled), nan=0.0, posinf=127.0, neginf=-127.0).astype(np.int8))
            scales.append(size)
        return np.concatenate(found), np.concatenate(scales)
