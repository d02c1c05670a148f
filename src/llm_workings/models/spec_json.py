"""A `Spec` as plain JSON and back: each typed choice is an object that carries its class's name.

`{"is": "RotaryPositions", "base": 1000.0, "fraction": 0.5, "scaling": null}`
"""

from __future__ import annotations

import dataclasses
from typing import Any

from llm_workings.core.errors import BadFile

from . import spec as sp

_CHOICES = {name: kind for name, kind in vars(sp).items() if dataclasses.is_dataclass(kind)}


def to_json(spec: sp.Spec) -> dict[str, Any]:
    """The spec as JSON values."""
    return _plain(spec)


def from_json(values: Any) -> sp.Spec:
    """The spec that `to_json` wrote; `BadFile` for anything else."""
    try:
        spec = _rich(values)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"This is not a model's spec: {error}") from error
    if not isinstance(spec, sp.Spec):
        raise BadFile(f"This is a {type(spec).__name__}, not a model's spec.")
    return spec


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {"is": type(value).__name__, **fields}


def _rich(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {name: _rich(item) for name, item in value.items()}
    return _CHOICES[fields.pop("is")](**fields)  # type: ignore[operator]
