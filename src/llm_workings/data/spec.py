"""How a set of points is asked for: its name, how many, how noisy, which are held back."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from llm_workings.core.seeds import LARGEST

DataName = Literal[
    "xor_points",
    "xor",
    "circles",
    "moons",
    "spiral",
    "gaussians",
    "blobs",
    "checkerboard",
    "plane",
    "wave",
    "bump",
    "curve",
    "digits",
    "csv",
    "painted",
]
Feature = Literal["x", "y", "x²", "y²", "xy", "sin x", "sin y"]
MOST_SAMPLES = 5000


class DataSpec(BaseModel):
    """A data set, said in full: the same spec gives the same points."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: DataName = "xor_points"
    n: int = Field(200, ge=4, le=MOST_SAMPLES)
    """Samples to draw; xor_points, digits, csv and painted have their own number."""
    noise: float = Field(0.0, ge=0, le=1)
    """0 draws the shape itself; 0.5 blurs it by about half its size."""
    classes: int = Field(3, ge=2, le=8)
    """Of blobs only."""
    test: float = Field(0.0, ge=0, le=0.9)
    """Share of the samples that is held back."""
    features: tuple[Feature, ...] = ("x", "y")
    """What of a point of the plane the network reads."""
    seed: int = Field(0, ge=0, le=LARGEST)
    csv: str = Field("", max_length=2_000_000)
    """The text of a CSV file, for the name csv."""
    target: str = Field("", max_length=200)
    """Its target column; empty: the last one."""
    painted: tuple[tuple[float, float, int], ...] = Field((), max_length=MOST_SAMPLES)
    """Points set by hand, for the name painted: x, y, class (0 or 1 ...)."""
