"""What a small network learns from: points, what they are, and which of them are held back.

The type only: `data/` makes such sets (XOR, spirals, digits, a user's CSV), `playground/` learns
from them, and neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Array = np.ndarray
Task = Literal["classes", "regression"]

# What a point of the plane (x, y) can be given to a network as. A name is what the page shows.
FEATURES: dict[str, Callable[[Array, Array], Array]] = {
    "x": lambda x, y: x,
    "y": lambda x, y: y,
    "x²": lambda x, y: x * x,
    "y²": lambda x, y: y * y,
    "xy": lambda x, y: x * y,
    "sin x": lambda x, y: np.sin(x),
    "sin y": lambda x, y: np.sin(y),
}


@dataclass(frozen=True)
class Dataset:
    """Points with their targets.

    Attributes:
        name: what it is called.
        points: `[sample, coordinate]` float64, as they lie in the plane (or the columns of a table).
        inputs: `[sample, feature]` float64, what the network reads of them.
        targets: `[sample]` int64, the class of each; or `[sample, output]` float64, its values.
        task: which of the two.
        classes: the classes' names; empty for values.
        train, test: `[n]` int64, indices of samples; together every sample once.
        coordinates: names of the columns of `points`.
        features: names of the columns of `inputs`.
        domain: the lowest and highest coordinate that a picture shows, or None where there is no
            plane or line to draw (more than two coordinates).
        formulas: what is computed of a plane's coordinates for each input, keys of `FEATURES`; empty
            where the features' names say it themselves, or the coordinates are read as they are.
        center, scale: one number a coordinate: what the network reads is made of
            (points - center) / scale. Empty: of the points themselves.
        outputs: names of the columns of value targets; empty where they have none.
    """

    name: str
    points: Array
    inputs: Array
    targets: Array
    task: Task
    classes: tuple[str, ...]
    train: Array
    test: Array
    coordinates: tuple[str, ...]
    features: tuple[str, ...]
    domain: tuple[float, float] | None
    formulas: tuple[str, ...] = ()
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for array in (self.points, self.inputs, self.targets, self.train, self.test):
            array.setflags(write=False)

    @property
    def dimensions(self) -> int:
        """Of the picture's ground: 2 a plane, 1 a line, 0 none."""
        return 0 if self.domain is None else self.points.shape[1]

    @property
    def n_outputs(self) -> int:
        """How many outputs a network for it has: one for two classes, else one a class or value."""
        if self.task == "regression":
            return int(self.targets.shape[1])
        return 1 if len(self.classes) <= 2 else len(self.classes)

    def expand(self, points: Array) -> Array:
        """What the network reads of any `[n, coordinate]` points: `[n, feature]`."""
        if self.center:
            points = (points - np.array(self.center)) / np.array(self.scale)
        formulas = self.formulas or self.features
        if self.points.shape[1] != 2 or not set(formulas) <= FEATURES.keys():
            return points
        x, y = points[:, 0], points[:, 1]
        return np.stack([FEATURES[formula](x, y) for formula in formulas], axis=1)
