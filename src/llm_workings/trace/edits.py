"""Edits as data: what to change, where, and how. The same object travels from a click, a notebook
and a saved run; it goes into JSON (`model_dump_json`), onto the wire (`core.wire.pack`) and, when
it carries no array, into a short text for a URL (`str(edit)`, `Edit.parse`).

    Edit("z.3", Where(heads=5), Zero())                    head 5 of layer 3 writes nothing
    Edit("resid_post.2", Where(positions=-1), Add(v, 4))   steer at the last position
    Edit("scores.7", Where(heads=1, positions=9, keys=4), Replace(-math.inf))   cut one edge

This file is data only; `apply.py` does the arithmetic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.wire import Payload
from llm_workings.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


MISSING: Any = object()  # a field not given: pydantic says so, in the same words for code and JSON


class _Data(Payload):
    """Frozen data that may hold arrays: equal when their JSON is.

    Raises `BadInput`, naming the field, for what cannot be read.
    """

    def __init__(self, **fields: Any):
        try:
            super().__init__(**{name: value for name, value in fields.items() if value is not MISSING})
        except ValidationError as error:
            raise _readable(error, type(self).__name__.lower()) from error

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.model_dump_json() == other.model_dump_json()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


# --- fields ------------------------------------------------------------------------------------
def _array(value: Any) -> np.ndarray:
    """Numbers, nested lists, NumPy arrays or tensors, as a float array that nobody can write to."""
    if hasattr(value, "detach"):  # a tensor, without importing torch to ask
        value = value.detach().cpu()
        value = (value.double() if value.element_size() == 8 else value.float()).numpy()
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a number")
    try:
        array = np.array(value, dtype=np.float32 if getattr(value, "dtype", None) == np.float32 else float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not an array of numbers: {error}") from error
    if np.isnan(array).any():
        raise ValueError("NaN is no value to put into a model")
    array.setflags(write=False)
    return array


def _plain(array: np.ndarray) -> Any:
    """Nested lists, with infinities as text, for JSON has no word for them."""

    def spell(value: Any) -> Any:
        if isinstance(value, list):
            return [spell(item) for item in value]
        return value if math.isfinite(value) else str(value)

    return spell(array.tolist())


Array = Annotated[np.ndarray, BeforeValidator(_array), PlainSerializer(_plain, return_type=Any)]


def _indices(value: Any) -> Any:
    """One index, several, a range, or text such as "5", "2-4" and "-1,3"."""
    if value is None:
        return value
    if isinstance(value, str):
        return _parse_indices(value)
    if isinstance(value, bool | slice):
        raise ValueError(f"{value!r} is no list of indices; write numbers, or range(a, b)")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int):
        return (value,)
    return tuple(value)


def _parse_indices(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part[1:].partition("-") if part.startswith("-") else part.partition("-")
        try:
            start = -int(first) if part.startswith("-") else int(first)
            found += range(start, int(last) + 1) if dash else (start,)
        except ValueError:
            raise ValueError(f"{text!r} is no list of indices; write for example 5 or 2-4 or -1,3") from None
    return tuple(found)


Picks = int | str | Iterable[int] | None
Indices = Annotated[tuple[int, ...] | None, BeforeValidator(_indices)]


class Where(_Data):
    """Which part of a site's value; None means all along that axis. Zero is the first of each.

    Args:
        batch: rows of the batch.
        positions: tokens (for scores and pattern: the queries), counted in the whole text;
            -1 is the last token of each row, whatever its length.
        keys: the tokens attended to, of scores and pattern.
        heads: attention heads; of k, rot_k and v: the key-value heads, each shared by several.
        units: along the last axis: neurons, dimensions of the stream or of a head, or tokens of
            the vocabulary.
    """

    batch: Indices = None
    positions: Indices = None
    keys: Indices = None
    heads: Indices = None
    units: Indices = None

    def __init__(
        self,
        batch: Picks = None,
        positions: Picks = None,
        keys: Picks = None,
        heads: Picks = None,
        units: Picks = None,
        **unknown: Any,
    ):
        super().__init__(batch=batch, positions=positions, keys=keys, heads=heads, units=units, **unknown)

    def __str__(self) -> str:
        chosen = ((name, getattr(self, name)) for name in type(self).model_fields)
        return " ".join(f"{name}={','.join(map(str, value))}" for name, value in chosen if value is not None)


EVERYWHERE = Where()


# --- how ---------------------------------------------------------------------------------------
class Zero(_Data):
    """0."""

    kind: Literal["zero"] = "zero"


class Mean(_Data):
    """The mean: a given one (of a reference data set), or that of this run's own values.

    `over` says along what the run's mean is taken: the real positions of each row, the rows of the
    batch (at each position, over those rows that reach it), or both.
    """

    kind: Literal["mean"] = "mean"
    value: Array | None = None
    over: Literal["positions", "batch", "both"] = "positions"


class Replace(_Data):
    """Another value, broadcast over the part that is edited."""

    kind: Literal["replace"] = "replace"
    value: Array

    def __init__(self, value: Any = MISSING, **kind: Any):
        super().__init__(value=value, **kind)


class Add(_Data):
    """x + scale * value, broadcast over the part that is edited."""

    kind: Literal["add"] = "add"
    value: Array
    scale: float = 1.0

    def __init__(self, value: Any = MISSING, scale: float = 1.0, **kind: Any):
        super().__init__(value=value, scale=scale, **kind)


class Scale(_Data):
    """factor * x."""

    kind: Literal["scale"] = "scale"
    factor: float

    def __init__(self, factor: float = MISSING, **kind: Any):
        super().__init__(factor=factor, **kind)


class ProjectOut(_Data):
    """x without its part along a direction, or in the span of several (the rows of `direction`).

    x - (x . u) u for a unit vector u (directional ablation, Arditi et al. 2024, eq. 4).
    """

    kind: Literal["project_out"] = "project_out"
    direction: Array

    def __init__(self, direction: Any = MISSING, **kind: Any):
        super().__init__(direction=direction, **kind)


class Rotate(_Data):
    """x turned by an angle within the plane of two directions, from the first towards the second."""

    kind: Literal["rotate"] = "rotate"
    first: Array
    second: Array
    degrees: float

    def __init__(self, first: Any = MISSING, second: Any = MISSING, degrees: float = MISSING, **kind: Any):
        super().__init__(first=first, second=second, degrees=degrees, **kind)


class Noise(_Data):
    """x + std * a standard normal draw.

    The draw belongs to the seed and the token's position alone: the rows of a batch share it, and a
    resumed run or a generation meets the same one. Give each row its own edit for draws of its own.
    """

    kind: Literal["noise"] = "noise"
    std: float = Field(ge=0)
    seed: int = 0

    def __init__(self, std: float = MISSING, seed: int = 0, **kind: Any):
        super().__init__(std=std, seed=seed, **kind)


How = Annotated[
    Zero | Mean | Replace | Add | Scale | ProjectOut | Rotate | Noise,
    Field(discriminator="kind"),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]
HOWS: dict[str, type[_Data]] = {
    "zero": Zero,
    "mean": Mean,
    "replace": Replace,
    "add": Add,
    "scale": Scale,
    "project_out": ProjectOut,
    "rotate": Rotate,
    "noise": Noise,
}


# --- edits -------------------------------------------------------------------------------------
def _site_name(value: Any) -> str:
    return str(value if isinstance(value, Site) else Site.parse(str(value)))


class Edit(_Data):
    """A change to a model's own value at a site, made while it runs.

    Args:
        site: a `Site` or its name, ours or TransformerLens's; held as our name.
        where: which part of the value; all of it by default.
        how: what becomes of that part.

    Raises:
        UnknownName: no such site, with the nearest.
        BadInput: a part that cannot be read, restated.
    """

    site: Annotated[str, BeforeValidator(_site_name)]
    where: Where = EVERYWHERE
    how: How = Zero()

    def __init__(self, site: Any = MISSING, where: Any = MISSING, how: Any = MISSING, **unknown: Any):
        super().__init__(site=site, where=where, how=how, **unknown)

    @property
    def place(self) -> Site:
        """Where in the model it acts."""
        return Site.parse(self.site)

    def __str__(self) -> str:
        """A line to read: "zero z.3 heads=5"; `parse` is its inverse where `how` holds no array."""
        return f"{_spell_how(self.how)} {self.site} {self.where}".rstrip()

    @staticmethod
    def parse(text: str) -> Edit:
        """The edit that a line such as "zero z.3 heads=5" or "scale:0.5 mlp_out.2" says.

        After the name of the change stand its numbers, each after a colon: `mean:batch`,
        `replace:0.5`, `add:2`, `scale:0`, `noise:0.1:7` (standard deviation, seed).
        """
        words = text.split()
        if len(words) < 2:
            raise BadInput(f"{text!r} is not an edit.", hint="For example: zero z.3 heads=5")
        name, *numbers = words[0].split(":")
        if name not in HOWS:
            raise unknown("way to edit", name, HOWS)
        where: dict[str, str] = {}
        for word in words[2:]:
            axis, equals, indices = word.partition("=")
            if axis not in Where.model_fields:
                raise unknown("part to edit", axis, Where.model_fields)
            if not equals or axis in where:
                raise BadInput(f"{word!r} in {text!r} is not read.", hint=f"Write {axis}=2-4, once.")
            where[axis] = indices
        try:
            if name == "mean":
                how: Any = {"kind": name, **({"over": numbers.pop(0)} if numbers else {})}
            else:
                how = {"kind": name}
                fields = [field for field in HOWS[name].model_fields if field != "kind"]
                how.update(zip(fields, numbers, strict=False))
                numbers = numbers[len(fields) :]
            if numbers:
                raise BadInput(f"{words[0]!r} says more numbers than {name} takes.", given={"edit": text})
            return Edit(words[1], where, how)
        except BadInput as error:
            raise BadInput(f"The edit {text!r} is not read: {error.message}", hint=error.hint) from error


def _spell_how(how: Any) -> str:
    match how:
        case Mean(value=None):
            return "mean" if how.over == "positions" else f"mean:{how.over}"
        case Zero():
            return "zero"
    values = [getattr(how, name) for name in type(how).model_fields if name not in ("kind", "over")]
    spelled = (f"{list(v.shape)}" if isinstance(v, np.ndarray) and v.ndim else f"{v}" for v in values)
    return ":".join([how.kind, *(word.replace(" ", "") for word in spelled)])


def _readable(error: ValidationError, what: str) -> BadInput:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return BadInput(
        f"The {what}'s {path} is not usable: {first['msg'].removeprefix('Value error, ')}.",
        given={"field": path},
    )


@dataclass(frozen=True)
class FunctionEdit:
    """A change that no data says: `function(value) -> value`, of the same shape.

    It cannot be saved, sent or put into a URL; take an `Edit` where one does.
    """

    site: Site
    function: Callable[[Tensor], Tensor]

    def __init__(self, site: Site | str, function: Callable[[Tensor], Tensor]):
        object.__setattr__(self, "site", site if isinstance(site, Site) else Site.parse(site))
        object.__setattr__(self, "function", function)

    @property
    def place(self) -> Site:
        """Where in the model it acts."""
        return self.site

    def __str__(self) -> str:
        return f"{getattr(self.function, '__name__', 'function')} {self.site}"


AnyEdit = Edit | FunctionEdit


def ablate_head(
    layer: int, head: int, how: Literal["zero", "mean"] = "zero", *, reference: Any = None
) -> Edit:
    """Silence one head: at `z`, before W_O, so what it writes becomes zero or its mean.

    The mean is the head's own over the positions of the run, or `reference` (`[d_head]`, a mean z
    over a data set). As W_O is linear, the mean z writes the mean write.
    """
    if how not in ("zero", "mean"):
        raise unknown("way to ablate", str(how), ("zero", "mean"))
    change = Zero() if how == "zero" else Mean(value=reference)
    return Edit(Site("z", layer), Where(heads=head), change)


def edits_to_json(edits: Iterable[Edit]) -> str:
    """Edits as one line of JSON, for a URL or a file."""
    return json.dumps([edit.model_dump(mode="json") for edit in edits], separators=(",", ":"))


def edits_from_json(text: str) -> list[Edit]:
    """Inverse of `edits_to_json`; `BadInput` for anything else."""
    try:
        data = json.loads(text)
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise ValueError("not a list of objects")
        return [Edit(**item) for item in data]
    except (ValueError, TypeError) as error:
        shown = text if len(text) <= 80 else text[:79] + "…"
        raise BadInput(f"{shown!r} is not a list of edits: {error}") from error
