"""The arithmetic of edits: one edit, one value at its site, the value that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape, EditNeverFired
from llm_workings.models.sites import Site

from . import edits as data

FINAL = ("ln_final_scale", "ln_final", "logits")  # their positions are those that meet the unembedding
UNITS = ("d_model", "d_head", "neuron", "vocabulary")


@dataclass(frozen=True)
class Frame:
    """Which tokens the values of a forward stand for.

    Args:
        lengths: real tokens of each row, counted from the text's start.
        computed: the positions that this forward computes (those before are in a cache).
        scored: those of them that meet the unembedding.
        growing: whether the text is still being written, so that a position may be yet to come.
    """

    lengths: tuple[int, ...]
    computed: range
    scored: Sequence[int]
    growing: bool = False

    def positions(self, place: Site) -> Sequence[int]:
        return self.scored if place.kind in FINAL else self.computed


def apply(edit: data.AnyEdit, value: Tensor, frame: Frame) -> Tensor | None:
    """The value with the edit made; None if no part of it stands here (in a growing text).

    Raises:
        BadInput: an index past an axis, or an axis that the site does not have, named.
        BadShape: the edit's own array does not fit, both shapes restated.
        EditNeverFired: a position that this forward does not compute.
    """
    if isinstance(edit, data.FunctionEdit):
        return _call(edit, value)
    index = _index(edit, value, frame)
    if index is None:
        return None
    part = value[index]
    masked = torch.isneginf(part) if edit.place.kind == "scores" else None
    if masked is not None:  # what the mask forbids stays forbidden; what it lets through is edited
        part = part.masked_fill(masked, 0)
    changed = _change(edit, value, part, index, frame)
    if masked is not None:
        changed = changed.masked_fill(masked, -torch.inf)
    if index is ...:
        return changed
    return value.index_put(index, changed.expand(part.shape))


def from_position(edit: data.AnyEdit, value: Tensor, position: int) -> data.AnyEdit:
    """The same edit for a forward that begins at `position`: of an array that says something of every
    position, only what it says from there on.

    `value` is the site's value in a whole forward of one text, `[1, ...]`.
    """
    given = None if isinstance(edit, data.FunctionEdit) else getattr(edit.how, "value", None)
    if given is None or position == 0 or edit.where.positions is not None:  # type: ignore[union-attr]
        return edit
    assert isinstance(edit, data.Edit)
    axis = _axis(edit.place.axes, "positions")
    if axis is None:
        return edit
    n = value.shape[axis]
    index = _index(edit, value, Frame((n,), range(n), range(n)))
    whole = _fitted(edit, given, value[index])
    rest = whole.narrow(axis, position, n - position)
    return data.Edit(edit.place, edit.where, edit.how.model_copy(update={"value": rest.cpu().numpy()}))


def _call(edit: data.FunctionEdit, value: Tensor) -> Tensor:
    changed = edit.function(value)
    if not isinstance(changed, Tensor):
        raise BadInput(
            f"The function at {edit.place} returned {type(changed).__name__}, not a tensor.",
            hint="Return the value that is to go on, changed or not.",
        )
    if changed.shape != value.shape:
        raise BadShape(
            f"The function at {edit.place} was given {_shape(value)} and returned {_shape(changed)}."
        )
    return changed.to(value.dtype)


# --- where -------------------------------------------------------------------------------------
def _index(edit: data.Edit, value: Tensor, frame: Frame) -> tuple[Tensor, ...] | None:
    """Index tensors that pick the edited part and broadcast to its shape; `...` if that is all of it."""
    where, axes = edit.where, edit.place.axes
    if where == data.EVERYWHERE:
        return ...  # type: ignore[return-value]
    for name in type(where).model_fields:
        if getattr(where, name) is not None and _axis(axes, name) is None:
            raise BadInput(
                f"The edit {str(edit)!r} picks {name}, but {edit.place} has the axes {', '.join(axes)}.",
                hint=f"Leave {name} out, or take a site that has them.",
                given={"edit": str(edit), "axes": list(axes)},
            )
    rows = _checked(edit, "batch", where.batch, value.shape[0])
    picked: list[Tensor] = []
    for axis, name in enumerate(axes):
        size = value.shape[axis]
        if name in ("position", "query", "key"):
            chosen = where.keys if name == "key" else where.positions
            here = range(size) if name == "key" else frame.positions(edit.place)
            table = _places(edit, "key" if name == "key" else "position", chosen, rows, here, frame)
            if table is None:
                return None
            shape = [len(rows), *[1] * (len(axes) - 1)]
            shape[axis] = len(table[0])
            picked.append(torch.tensor(table, device=value.device).view(shape))
            continue
        if name == "batch":
            numbers = rows
        else:
            chosen = where.heads if name in ("head", "key_value_head") else where.units
            numbers = _checked(edit, name, chosen, size)
        shape = [1] * len(axes)
        shape[axis] = len(numbers)
        picked.append(torch.tensor(numbers, device=value.device).view(shape))
    return tuple(picked)


def _axis(axes: tuple[str, ...], part: str) -> int | None:
    names = {
        "batch": ("batch",),
        "positions": ("position", "query"),
        "keys": ("key",),
        "heads": ("head", "key_value_head"),
        "units": UNITS,
    }[part]
    return next((i for i, axis in enumerate(axes) if axis in names), None)


_WORDS = {"batch": "row", "key_value_head": "key-value head", "vocabulary": "token"}


def _checked(edit: data.Edit, axis: str, chosen: tuple[int, ...] | None, size: int) -> list[int]:
    if chosen is None:
        return list(range(size))
    word = _WORDS.get(axis, "unit" if axis in UNITS else axis)
    found = []
    for number in chosen:
        if not -size <= number < size:
            raise BadInput(
                f"The edit {str(edit)!r} picks {word} {number}: {edit.place} has {word}s 0 to {size - 1}.",
                given={"edit": str(edit), axis: number, "size": size},
            )
        found.append(number % size)
    return _once(edit, word, found)


def _once(edit: data.Edit, word: str, found: list[int]) -> list[int]:
    if len(set(found)) < len(found):
        raise BadInput(f"The edit {str(edit)!r} picks the same {word} twice: {found}.")
    return found


def _places(
    edit: data.Edit,
    word: str,
    chosen: tuple[int, ...] | None,
    rows: list[int],
    here: Sequence[int],
    frame: Frame,
) -> list[list[int]] | None:
    """For each row, where along the axis the chosen positions stand; None if none does."""
    if chosen is None:
        return [list(range(len(here))) for _ in rows]
    column = {position: i for i, position in enumerate(here)}
    table = []
    for row in rows:
        length = frame.lengths[row]
        found = []
        for number in chosen:
            if number < -length or (number >= length and not frame.growing):
                raise BadInput(
                    f"The edit {str(edit)!r} picks {word} {number}: row {row} has {word}s 0 to {length - 1}.",
                    given={"edit": str(edit), word: number, "tokens": length},
                )
            found.append(number + length if number < 0 else number)
        _once(edit, word, found)
        missing = [number for number in found if number not in column]
        if missing and not frame.growing:
            raise EditNeverFired(
                f"The edit {str(edit)!r} never fires: this run does not compute {word} {missing[0]} there.",
                hint=f"It computes {_span(here)}.",
                given={"edit": str(edit), word: missing[0]},
            )
        table.append([column[number] for number in found if number in column])
    return table if table and table[0] else None


def _span(here: Sequence[int]) -> str:
    if len(here) > 2 and here[-1] - here[0] == len(here) - 1:
        return f"positions {here[0]} to {here[-1]}"
    return f"position {', '.join(map(str, here))}" if here else "none"


# --- how ---------------------------------------------------------------------------------------
def _change(edit: data.Edit, value: Tensor, part: Tensor, index: tuple[Tensor, ...], frame: Frame) -> Tensor:
    match edit.how:
        case data.Zero():
            return torch.zeros_like(part)
        case data.Mean(value=None):
            return _mean(edit, value, frame)[index]
        case data.Mean(value=given) | data.Replace(value=given):
            assert given is not None
            return _fitted(edit, given, part)
        case data.Add(value=given, scale=scale):
            return part + scale * _fitted(edit, given, part)
        case data.Scale(factor=factor):
            return factor * part
        case data.ProjectOut(direction=direction):
            basis = _orthonormal(edit, direction, part)
            return part - (part @ basis.T) @ basis
        case data.Rotate(first=first, second=second, degrees=degrees):
            u, w = _orthonormal(edit, np.stack((_vector(edit, first), _vector(edit, second))), part)
            along, across = part @ u, part @ w
            angle = np.deg2rad(degrees)
            cos, sin = float(np.cos(angle)) - 1, float(np.sin(angle))
            return (
                part
                + (cos * along - sin * across)[..., None] * u
                + (sin * along + cos * across)[..., None] * w
            )
        case data.Noise(std=std, seed=seed):
            return part + std * _draws(edit.place, value, seed, frame)[index]
    raise AssertionError(edit.how)


def _mean(edit: data.Edit, value: Tensor, frame: Frame) -> Tensor:
    """The mean of the real positions, in the shape of `value`; forbidden scores do not count."""
    assert isinstance(edit.how, data.Mean)
    over = edit.how.over
    if over != "batch" and (frame.growing or frame.computed.start):
        raise BadInput(
            f"The edit {str(edit)!r} means over positions, of which this run does not compute all.",
            hint="Give the mean: Mean(value=...), or run from position 0.",
        )
    axes = edit.place.axes
    position = _axis(axes, "positions")
    assert position is not None
    here = torch.tensor(list(frame.positions(edit.place)), device=value.device)
    lengths = torch.tensor(frame.lengths, device=value.device)
    shape = [1] * value.ndim
    shape[0], shape[position] = len(frame.lengths), len(here)
    counts = (here < lengths[:, None]).view(shape).expand_as(value)
    if edit.place.kind == "scores":
        counts = counts & ~torch.isneginf(value)
    along = {"positions": (position,), "batch": (0,), "both": (0, position)}[over]
    total = value.masked_fill(~counts, 0).sum(along, keepdim=True)
    return (total / counts.sum(along, keepdim=True).clamp(min=1)).to(value.dtype).expand_as(value)


def _fitted(edit: data.Edit, given: np.ndarray, part: Tensor) -> Tensor:
    """The edit's array, broadcast to the part; an axis picked by a single index may be left out."""
    array = torch.tensor(given, dtype=part.dtype, device=part.device)
    axes = edit.place.axes
    single = [
        axis
        for name in type(edit.where).model_fields
        if (chosen := getattr(edit.where, name)) is not None
        and len(chosen) == 1
        and (axis := _axis(axes, name)) is not None
    ]
    squeezed = [size for axis, size in enumerate(part.shape) if axis not in single]
    for shape in (list(part.shape), squeezed):
        try:
            fits = list(torch.broadcast_shapes(array.shape, shape)) == shape
        except RuntimeError:
            fits = False
        if fits:
            return array.expand(shape).reshape(part.shape)
    raise BadShape(
        f"The edit {str(edit)!r} brings a value of shape {list(given.shape)} to a part of shape "
        f"{_shape(part)} ({', '.join(axes)}).",
        hint="Give one that broadcasts to it.",
        given={"edit": str(edit), "value": list(given.shape), "part": list(part.shape)},
    )


def _vector(edit: data.Edit, given: np.ndarray) -> np.ndarray:
    if given.ndim != 1:
        raise BadShape(
            f"A direction is a vector; the edit at {edit.place} has one of shape {list(given.shape)}."
        )
    return given


def _orthonormal(edit: data.Edit, directions: np.ndarray, part: Tensor) -> Tensor:
    """Orthonormal rows that span the directions, the first along the first; `[k, units]`."""
    if edit.where.units is not None or edit.place.axes[-1] not in UNITS:
        raise BadInput(
            f"The edit {str(edit)!r} turns on a direction, which needs the whole last axis of {edit.place}.",
            hint="Leave units out, or take a site whose last axis is a space.",
        )
    rows = np.atleast_2d(directions).astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != part.shape[-1]:
        raise BadShape(
            f"The edit at {edit.place} has a direction of shape {list(directions.shape)}; "
            f"its last axis has {part.shape[-1]} units.",
            given={"direction": list(directions.shape), "part": list(part.shape)},
        )
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not norms.all():
        raise BadInput(f"The edit at {edit.place} has a direction of length zero.")
    q, r = np.linalg.qr((rows / norms).T)
    if len(rows) > rows.shape[1] or np.abs(np.diag(r)).min() < 1e-9:
        raise BadInput(
            f"The directions of the edit at {edit.place} depend on each other.", hint="Leave one out."
        )
    basis = (q * np.sign(np.diag(r))).T
    return torch.tensor(basis, dtype=part.dtype, device=part.device)


def _draws(place: Site, value: Tensor, seed: int, frame: Frame) -> Tensor:
    """Standard normal draws in the shape of `value`, that belong to the seed and each position.

    NumPy's draws come one after the other, so a longer key axis begins with the shorter one's.
    """
    axes = place.axes
    if "query" in axes:  # batch head query key
        head, key = value.shape[1], value.shape[3]
        rows = [
            np.random.default_rng([seed, p]).standard_normal((key, head)).T for p in frame.positions(place)
        ]
        draws = np.stack(rows, axis=1)
    else:
        rest = tuple(value.shape[2:])
        draws = np.stack(
            [np.random.default_rng([seed, p]).standard_normal(rest) for p in frame.positions(place)]
        )
    return torch.tensor(draws, dtype=value.dtype, device=value.device).expand_as(value)


def _shape(value: Tensor) -> list[int]:
    return list(value.shape)
