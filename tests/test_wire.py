"""The wire: what is packed comes back exactly, and bytes that are wrong give `BadFile`, nothing else."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError
from safetensors.numpy import load, save

from llm_workings.core.errors import BadFile
from llm_workings.core.wire import Payload, Tensor, pack, read_header, tensor_of, unpack


class Part(Payload):
    name: str
    weights: Annotated[np.ndarray, Tensor("float32", "row column")]
    small: Annotated[np.ndarray, Tensor("uint8", "cell")] | None = None


class Whole(Payload):
    title: str
    count: int
    loss: float
    note: str | None
    flags: list[bool]
    exact: Annotated[np.ndarray, Tensor("float64", "")]
    half: Annotated[np.ndarray, Tensor("float16", "entry")]
    ids: Annotated[np.ndarray, Tensor("int32", "position")]
    parts: list[Part]
    by_name: dict[str, Part]


def whole(**changes: Any) -> Whole:
    part = Part(name="one", weights=np.arange(6, dtype="float32").reshape(2, 3))
    fields: dict[str, Any] = {
        "title": "Who looks at whom: “é 🙂”",
        "count": -(2**53) - 1,
        "loss": 2.5,
        "note": None,
        "flags": [True, False],
        "exact": np.float64(math.pi),
        "half": np.array([0.5, np.inf, -0.0], dtype="float16"),
        "ids": np.array([0, -1, 2**31 - 1]),
        "parts": [part, Part(name="", weights=np.zeros((0, 3)), small=np.array([0, 255]))],
        "by_name": {"a.b": part},
    }
    return Whole(**fields | changes)


def same(left: Any, right: Any) -> bool:
    """Equal to the bit, NaN included."""
    if isinstance(left, np.ndarray):
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    if isinstance(left, Payload):
        return type(left) is type(right) and all(
            same(getattr(left, field), getattr(right, field)) for field in type(left).model_fields
        )
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


# ---- round trips ---------------------------------------------------------------------------------


def test_a_message_comes_back_exactly() -> None:
    message = whole()
    back = unpack(pack(message), Whole)
    assert same(message, back)
    assert pack(back) == pack(message)


floats = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(
    title=st.text(),
    count=st.integers(),
    loss=floats,
    note=st.none() | st.text(max_size=5),
    flags=st.lists(st.booleans(), max_size=4),
    exact=floats,
    half=arrays.arrays("float16", st.integers(0, 5)),
    ids=arrays.arrays("int32", st.integers(0, 5)),
    parts=st.lists(
        st.builds(
            Part,
            name=st.text(max_size=5),
            weights=arrays.arrays("float32", st.tuples(st.integers(0, 3), st.integers(0, 3))),
            small=st.none() | arrays.arrays("uint8", st.integers(0, 3)),
        ),
        max_size=3,
    ),
    names=st.lists(st.text(max_size=3), max_size=2, unique=True),
)
def test_any_message_comes_back_exactly(names: list[str], parts: list[Part], **fields: Any) -> None:
    message = whole(**fields, parts=parts, by_name=dict(zip(names, parts, strict=False)))
    assert same(message, unpack(pack(message), Whole))


def test_the_bytes_are_plain_safetensors_that_any_reader_opens() -> None:
    tensors = load(pack(whole()))
    assert set(tensors) == {"exact", "half", "ids", "parts.0.weights", "parts.1.weights", "parts.1.small"} | {
        "by_name.a.b.weights"
    }
    assert tensors["ids"].dtype == np.int32
    header = read_header(pack(whole()))
    assert (header["kind"], header["version"]) == ("Whole", "1")
    assert json.loads(header["json"])["parts"][0]["weights"] == {"$tensor": "parts.0.weights"}


def test_arrays_of_another_layout_or_precision_arrive_as_declared() -> None:
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    back = unpack(pack(Part(name="", weights=fortran[:, ::-1])), Part)
    assert back.weights.dtype == np.float32
    assert back.weights.tolist() == [[2, 1, 0], [5, 4, 3]]


def test_names_that_meet_in_the_path_do_not_mix_their_arrays() -> None:
    one, two = (Part(name="", weights=np.full((1, 1), value)) for value in (1.0, 2.0))

    class Nested(Payload):
        a: dict[str, dict[str, Part]]

    message = Nested(a={"x.y": {"z": one}, "x": {"y.z": two}})
    assert same(message, unpack(pack(message), Nested))


def test_a_text_that_looks_like_a_mark_is_still_a_text() -> None:
    class Free(Payload):
        notes: dict[str, str]

    for notes in ({"$tensor": "x"}, {"$float": "NaN"}, {"$plain": "x"}, {"$tensor": "x", "more": ""}):
        assert unpack(pack(Free(notes=notes)), Free).notes == notes


# ---- what cannot be packed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("half", [1e6], "overflows float16"),
        ("ids", [0.5], "not all int32"),
        ("ids", [2**31], "not all int32"),
        ("ids", [2**70], "not all int32"),
        ("ids", [math.nan], "not all int32"),
        ("ids", [[1]], "expected axes"),
        ("exact", [1.0], "expected axes"),
        ("ids", ["1"], "not all int32"),
        ("ids", [None], "not all int32"),
        ("half", [1 + 2j], "not all float16"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_value_that_does_not_fit_its_field_is_refused(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        whole(**{field: value})


def test_payloads_are_frozen_and_take_no_other_field() -> None:
    with pytest.raises(ValidationError, match="extra"):
        Part(name="", weights=np.zeros((1, 1)), wieghts=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        whole().title = "another"


def test_the_mark_of_a_field_can_be_read() -> None:
    mark = tensor_of(Annotated[np.ndarray, Tensor("float32", "layer head")])
    assert mark == Tensor("float32", "layer head")
    assert tensor_of(int) is None


# ---- bytes that are wrong -------------------------------------------------------------------------------


GOOD = pack(whole())


def must_be_refused_or_read(data: bytes) -> None:
    """Damage may go unnoticed inside an array's numbers; what may not happen is another error."""
    with contextlib.suppress(BadFile):
        assert isinstance(unpack(data, Whole), Whole)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, len(GOOD) // 2, len(GOOD) - 1])
def test_a_message_cut_short_is_named(length: int) -> None:
    with pytest.raises(BadFile):
        unpack(GOOD[:length], Whole)


def test_another_kind_or_version_is_named() -> None:
    with pytest.raises(BadFile, match=r"Expected a Part message.*got 'Whole'"):
        unpack(GOOD, Part)
    for metadata in ({"kind": "Part", "version": "2", "json": "{}"}, {"json": "{}"}):
        with pytest.raises(BadFile, match=r"another version"):
            unpack(save({}, metadata=metadata), Part)


def test_safetensors_of_somebody_else_is_named() -> None:
    with pytest.raises(BadFile, match="header"):
        unpack(save({"w": np.zeros(2)}), Part)
    with pytest.raises(BadFile, match="no JSON part"):
        unpack(save({"w": np.zeros(2)}, metadata={"format": "pt"}), Part)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff" * 8)
@example((2**63).to_bytes(8, "little") + b"{}")
@example(b"\x80\x04\x95" + b"c" * 40)  # the start of a pickle
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadFile):
        unpack(data, Whole)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 8), st.binary(max_size=8)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_message_is_refused_or_read(damage: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(GOOD)
    for start, removed, inserted in damage:
        data[start : start + removed] = inserted
    must_be_refused_or_read(bytes(data))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["exact", "ids", "missing", "NaN", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(lambda value: {"$tensor": value}, inner)
        | st.builds(lambda value: {"$float": value}, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(list(Whole.model_fields)), value=json_values)
@example(field="ids", value=[2**70])
@example(field="ids", value={"$tensor": []})
@example(field="half", value=[10**400])
@example(field="loss", value={"$float": {}})
@example(field="parts", value=[{"name": "", "weights": {"a": 1}}])
def test_a_message_with_a_wrong_value_is_refused_or_read(field: str, value: Any) -> None:
    said = json.loads(read_header(GOOD)["json"]) | {field: value}
    metadata = read_header(GOOD) | {"json": json.dumps(said)}
    must_be_refused_or_read(save(load(GOOD), metadata=metadata))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", "[" * 100_000, '{"a":' * 50_000, "\\ud800"])
def test_a_message_whose_json_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(BadFile):
        unpack(save({}, metadata=read_header(GOOD) | {"json": text}), Whole)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "NONSENSE", "F64", "I64", "BOOL", "U16"])
def test_a_tensor_of_an_unexpected_precision_is_refused_or_converted(dtype: str) -> None:
    size = {"BF16": 2, "F64": 8, "I64": 8, "U16": 2}.get(dtype, 1)
    said = json.loads(read_header(GOOD)["json"]) | {"ids": {"$tensor": "ids"}}
    header = {
        "__metadata__": read_header(GOOD) | {"json": json.dumps(said)},
        "ids": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]},
    }
    text = json.dumps(header).encode()
    must_be_refused_or_read(len(text).to_bytes(8, "little") + text + bytes(2 * size))
