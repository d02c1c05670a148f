"""Sets of points for a small network, made from their spec: the same spec gives the same points."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np

from llm_workings.core.dataset import FEATURES, Array, Dataset
from llm_workings.core.errors import BadInput

from .csv_file import Table, read_csv
from .kinds import DATA, Kind, check_uses, trimmed
from .shapes import HALF, SHAPES, Drawn
from .spec import DataName, DataSpec
from .split import hold_back

__all__ = ["DATA", "DataName", "DataSpec", "Kind", "make", "trimmed"]

SIDE = 8  # pixels of a digit's side
MOST_PAINTED = 8  # classes, as many as blobs has
LEAST_SHARE = 0.25  # of the picture, that each of a table's two columns fills at least
DRAWING, SPLITTING = 0, 1  # what a seed is drawn from for: neither changes what the other yields


def make(spec: DataSpec) -> Dataset:
    """The data set that `spec` says.

    Raises:
        BadInput: a setting is given that this set does not have; a CSV that cannot be read (`read_csv`
            says which ways there are); points painted by hand that leave nothing to learn; more
            classes than samples; a test set that would take a class's only sample.
    """
    check_uses(spec)
    if spec.name == "csv":
        return _of_table(spec, read_csv(spec.csv, spec.target))
    if spec.name == "digits":
        points, labels = _digits()
        pixels = tuple(f"pixel {row},{column}" for row in range(SIDE) for column in range(SIDE))
        train, test = _split(spec, labels)
        classes = tuple(str(digit) for digit in range(10))
        return Dataset(
            spec.name, points, points, labels, "classes", classes, train, test, pixels, pixels, None
        )
    if spec.name == "xor_points":
        corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], dtype=float)
        return _drawn(spec, (corners, np.array([0, 1, 1, 0])), (-0.5, 1.5))
    drawn = _painted(spec) if spec.name == "painted" else _from_formula(spec)
    return _drawn(spec, drawn, (-HALF, HALF))


def _drawn(spec: DataSpec, drawn: Drawn, domain: tuple[float, float]) -> Dataset:
    """Points of the plane or the line, read through the features asked for."""
    points, targets = drawn
    plane = points.shape[1] == 2
    features: tuple[str, ...] = spec.features if plane else ("x",)
    inputs = np.stack([FEATURES[name](*points.T) for name in features], axis=1) if plane else points
    values = DATA[spec.name].task == "regression"
    classes = () if values else tuple(str(label) for label in range(int(targets.max()) + 1))
    train, test = _split(spec, targets)
    return Dataset(
        name=spec.name,
        points=points,
        inputs=inputs,
        targets=targets,
        task="regression" if values else "classes",
        classes=classes,
        train=train,
        test=test,
        coordinates=("x", "y") if plane else ("x",),
        features=features,
        domain=domain,
    )


def _from_formula(spec: DataSpec) -> Drawn:
    classes = spec.classes if spec.name == "blobs" else 2
    if spec.n < classes and DATA[spec.name].task == "classes":
        raise BadInput(
            f"{spec.n} samples are too few for {classes} classes.",
            hint=f"Take n = {classes} or more.",
            given={"n": spec.n, "classes": classes},
        )
    rng = np.random.default_rng([spec.seed, DRAWING])
    while True:
        points, targets = SHAPES[spec.name](rng, spec)
        # Of a few points with much noise all may get one class; drawing again soon gives both.
        if DATA[spec.name].task == "regression" or len(np.unique(targets)) == classes:
            return points, targets


def _painted(spec: DataSpec) -> Drawn:
    for at, (x, y, label) in enumerate(spec.painted):
        if not (abs(x) <= HALF and abs(y) <= HALF):
            raise BadInput(
                f"The painted point {at} lies at ({x:g}, {y:g}), outside the picture.",
                hint=f"Both coordinates go from {-HALF:g} to {HALF:g}.",
                given={"point": at, "x": x, "y": y},
            )
        if not 0 <= label < MOST_PAINTED:
            raise BadInput(
                f"The painted point {at} is of class {label}.",
                hint=f"Classes are 0 to {MOST_PAINTED - 1}.",
                given={"point": at, "class": label},
            )
    found = sorted({label for _, _, label in spec.painted})
    if len(found) < 2:
        one = f"only class {found[0]} has points" if found else "no points are painted"
        raise BadInput(
            f"A network needs points of at least two classes to tell apart, and {one}.",
            hint="Paint at least one point of another class." if found else "Paint points of two classes.",
            given={"points": len(spec.painted), "classes": found},
        )
    points = np.array([point[:2] for point in spec.painted], dtype=float)
    return points, np.array([label for _, _, label in spec.painted])


def _of_table(spec: DataSpec, table: Table) -> Dataset:
    """A table's rows: the network reads each column standardized by the training rows' mean and
    deviation, and learns values likewise."""
    raw = table.points
    plane = raw.shape[1] == 2
    asked = DataSpec.model_fields["features"].default
    if not plane and spec.features != asked:
        raise BadInput(
            f"The features {', '.join(spec.features)} are made of two columns, and the table has "
            f"{raw.shape[1]} besides {table.target!r}.",
            hint=f"Leave the features at {', '.join(asked)}: the network then reads every column.",
            given={"features": list(spec.features), "columns": list(table.coordinates)},
        )
    train, test = _split(spec, table.targets)
    center, scale = _mean_and_deviation(raw[train])
    inputs = (raw - center) / scale
    names = tuple(f"{name} (standardized)" for name in table.coordinates)
    formulas: tuple[str, ...] = ()
    points, coordinates = raw, table.coordinates
    reading = {"center": tuple(center.tolist()), "scale": tuple(scale.tolist())}
    if plane:
        # One square shows both columns. Where their own units do not fit it together, the picture
        # is drawn in standardized ones, and the names of its axes say so.
        if np.ptp(raw, axis=0).min() < LEAST_SHARE * np.ptp(raw):
            points, coordinates, reading = inputs, names, {}
        formulas = spec.features
        inputs = np.stack([FEATURES[name](*inputs.T) for name in formulas], axis=1)
        names = tuple(f"{_written(name, *table.coordinates)} (standardized)" for name in formulas)
    targets, outputs = table.targets, tuple[str, ...]()
    if not table.classes:
        mean, deviation = _mean_and_deviation(targets[train])
        targets, outputs = (targets - mean) / deviation, (f"{table.target} (standardized)",)
    return Dataset(
        name=spec.name,
        points=points,
        inputs=inputs,
        targets=targets,
        task="classes" if table.classes else "regression",
        classes=table.classes,
        train=train,
        test=test,
        coordinates=coordinates,
        features=names,
        domain=_around(points) if raw.shape[1] <= 2 else None,
        formulas=formulas,
        outputs=outputs,
        **reading,
    )


def _split(spec: DataSpec, targets: Array) -> tuple[Array, Array]:
    labels = targets if targets.ndim == 1 else np.zeros(len(targets), dtype=np.int64)
    return hold_back(labels, spec.test, np.random.default_rng([spec.seed, SPLITTING]))


def _mean_and_deviation(columns: Array) -> tuple[Array, Array]:
    """Of each column; a column that is the same everywhere is left at its size."""
    deviation = columns.std(axis=0)
    return columns.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _around(points: Array) -> tuple[float, float]:
    """The lowest and highest coordinate with a tenth of their distance around."""
    low, high = float(points.min()), float(points.max())
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _written(feature: str, x: str, y: str) -> str:
    """A feature's name with the columns' names in it: x² of a height is height²."""
    if feature == "xy":
        return f"{x} · {y}"
    return "".join({"x": x, "y": y}.get(letter, letter) for letter in feature)


@cache
def _digits() -> tuple[Array, Array]:
    """`[1797, 64]` pixels from 0 to 1, and the digits (Alpaydin and Kaynak 1998, in scikit-learn)."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return pixels / 16, digits.astype(np.int64)


assert DATA.keys() == set(get_args(DataName))
