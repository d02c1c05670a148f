"""How a set of points is asked for: its name, how many, how noisy, which are held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from llm_workings.core.errors import BadInput, nearest
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
TYPED: dict[str, str] = {  # how a keyboard without ² has them
    "x^2": "x²",
    "y^2": "y²",
    "x*y": "xy",
    "sin(x)": "sin x",
    "sin(y)": "sin y",
}


class DataSpec(BaseModel):
    """A data set, said in full: the same spec gives the same points."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: DataName = "xor_points"
    n: int = Field(default=200, ge=4, le=MOST_SAMPLES)
    """Samples to draw; xor_points, digits, csv and painted have their own number."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """0 draws the shape itself; 0.5 blurs it by about half its size."""
    classes: int = Field(default=3, ge=2, le=8)
    """Of blobs only."""
    test: float = Field(default=0.0, ge=0, le=0.9)
    """Share of the samples that is held back."""
    features: tuple[Feature, ...] = ("x", "y")
    """What of a point of the plane the network reads."""
    seed: int = Field(default=0, ge=0, le=LARGEST)
    csv: str = Field(default="", max_length=2_000_000)
    """The text of a CSV file, for the name csv."""
    target: str = Field(default="", max_length=200)
    """Its target column; empty: the last one."""
    painted: tuple[tuple[float, float, int], ...] = Field(default=(), max_length=MOST_SAMPLES)
    """Points set by hand, for the name painted: x, y, class (0 or 1 ...)."""

    @field_validator("features", mode="before")
    @classmethod
    def _as_typed(cls, value: Any) -> Any:
        """ "x, y, x^2" and ["x", "y", "x^2"] are understood too."""
        value = value.split(",") if isinstance(value, str) else value
        if not isinstance(value, list | tuple):
            return value
        names = [name.strip() if isinstance(name, str) else name for name in value]
        return tuple(TYPED.get(name, name) if isinstance(name, str) else name for name in names)

    @field_validator("features")
    @classmethod
    def _some_and_each_once(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if not value:
            raise ValueError("a network that reads nothing cannot learn")
        if len(set(value)) < len(value):
            twice = next(name for at, name in enumerate(value) if name in value[:at])
            raise ValueError(f"{twice!r} is there twice")
        return value

    @classmethod
    def of(cls, values: Mapping[str, Any] | None = None, **more: Any) -> DataSpec:
        """The spec with these fields, the others at their defaults.

        Raises:
            BadInput: a field or a name is unknown (the nearest is suggested), or a value cannot be.
        """
        given = {**(values or {}), **more}
        for name in given.keys() - cls.model_fields.keys():
            close = nearest(name, cls.model_fields)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(cls.model_fields)}."
            raise BadInput(f"Data have no setting {name!r}.", hint=hint, given={name: _short(given[name])})
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _said(error) from None


def _said(error: ValidationError) -> BadInput:
    """The first of pydantic's findings, in our words."""
    first = error.errors()[0]
    where, given = ".".join(str(part) for part in first["loc"]), first.get("input")
    top = str(first["loc"][0])
    what = first["msg"].removeprefix("Value error, ")
    hint = " ".join((DataSpec.model_fields[top].description or "").split())
    if first["type"] == "literal_error":
        choices = get_args(DataName if top == "name" else Feature)
        close = nearest(given, choices) if isinstance(given, str) else []
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(choices)}."
        what = "there is no such set" if top == "name" else "there is no such feature"
    return BadInput(
        f"Data cannot have {where} = {_short(given)}: {what[:1].lower()}{what[1:]}.",
        hint=hint,
        given={where: _short(given)},
    )


def _short(value: Any) -> str:
    """As Python writes it; of a long one, the beginning."""
    written = repr(value[:80] if isinstance(value, str) else value)
    return written if len(written) <= 80 else f"{written[:79]}…"
