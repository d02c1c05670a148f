"""The door for a person with a Python prompt: `dataset("spiral", noise=0.1)`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput, TooLarge

from .csv_file import csv_text
from .points import make
from .spec import DataSpec

LARGEST = 8 * 2**20  # bytes of a CSV file


@dataclass(frozen=True)
class Spelled(Dataset):
    """A data set that knows how it was asked for.

    Attributes:
        spec: what it was made from.
    """

    spec: DataSpec = field(default_factory=DataSpec)


def dataset(name: str = "xor_points", *, file: str | Path | None = None, **settings: Any) -> Spelled:
    """What a small network learns from.

        dataset("xor_points")
        dataset("spiral", n=300, noise=0.1, test=0.3, features="x, y, sin x")
        dataset("csv", file="flowers.csv", target="species")

    Args:
        name: xor_points, xor, circles, moons, spiral, gaussians, blobs, checkerboard, plane, wave, bump,
            curve, digits, csv or painted.
        file: the table, for csv; `csv=` takes its text instead.
        **settings: the other fields of `DataSpec`: n, noise, classes, test, features, seed, target, painted.

    Raises `BadInput` for a name or setting that there is not, with the nearest, and what `make` raises.
    """
    return spelled(spec_of(name, file=file, **settings))


def spelled(spec: DataSpec) -> Spelled:
    """`make(spec)`, with the spec kept."""
    made = make(spec)
    return Spelled(**{part.name: getattr(made, part.name) for part in fields(made)}, spec=spec)


def spec_of(name: str = "xor_points", *, file: str | Path | None = None, **settings: Any) -> DataSpec:
    """The same as a spec; arguments and errors as `dataset`."""
    if file is not None:
        if "csv" in settings:
            raise BadInput("Both a file and the text of a CSV are given.", hint="Give one of them.")
        settings["csv"] = read_text(Path(file))
    return DataSpec.of(name=name, **settings)


def read_text(path: Path) -> str:
    """The text of a CSV file. Raises `BadInput` and `TooLarge`, with the file's name."""
    given = {"file": str(path)}
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise BadInput(f"The CSV file {str(path)!r} {what}.", hint="Give the path of a file.", given=given)
    size = path.stat().st_size
    if size > LARGEST:
        raise TooLarge(
            f"The CSV file {path.name} has {size:,} bytes; the limit is {LARGEST:,}.",
            hint="Give fewer rows.",
            given={**given, "bytes": size, "limit": LARGEST},
        )
    return csv_text(path.read_bytes())
