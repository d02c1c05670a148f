"""The wire: one format for payloads, saved runs, exports and toy weights.

A message is a safetensors file. Its arrays are tensors, named by where they stand in the message
(`atlas.thumbnails`); everything else is JSON in the file's metadata, where each array is replaced
by `{"$tensor": name}` and each float that JSON cannot say by `{"$float": "nan"}`; what only looks
like such a mark is wrapped in `{"$plain": ...}`. Nothing in it can be executed, and reading it
takes about twenty lines in any language (`web/hosts/wire.ts` is the TypeScript half).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import core_schema
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from .errors import BadFile

VERSION = "1"
MARKS = {"$tensor", "$float", "$plain"}
Message = TypeVar("Message", bound="Payload")


@dataclass(frozen=True)
class Tensor:
    """Marks a payload field as an array: `Annotated[np.ndarray, Tensor("float32", "layer head")]`.

    `dtype` is the precision on the wire; `axes` names the dimensions, and so counts them. A value
    of another precision is converted; one that the precision cannot hold is an error.
    """

    dtype: str
    axes: str

    def convert(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.ndim != len(self.axes.split()):
            raise ValueError(f"expected axes [{self.axes}], got shape {array.shape}")
        if array.dtype != self.dtype:
            wanted = np.dtype(self.dtype)
            if array.dtype.kind not in "biuf":  # texts, objects, integers past 64 bits, complex numbers
                raise ValueError(f"values are not all {self.dtype}")
            with np.errstate(over="ignore", invalid="ignore"):
                cast = array.astype(wanted)
            if wanted.kind == "f" and np.isinf(cast).any() and not np.isinf(array).any():
                raise ValueError(f"a value of magnitude {np.abs(array).max():g} overflows {self.dtype}")
            if wanted.kind in "biu" and not np.array_equal(cast, array):
                raise ValueError(f"values are not all {self.dtype}")
            array = cast
        return np.asarray(array, order="C")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.convert)


class Payload(BaseModel):
    """Base of everything that crosses the wire: frozen, and with no field it did not declare."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


def pack(message: Payload) -> bytes:
    """The message as safetensors bytes; equal messages give equal bytes."""
    tensors: dict[str, np.ndarray] = {}

    def plain(value: Any, path: str) -> Any:
        if isinstance(value, np.ndarray):
            while path in tensors:  # a name with a dot in it may lead to another's path
                path += "_"
            tensors[path] = value
            return {"$tensor": path}
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            return {name: plain(getattr(value, name), f"{path}.{name}".strip(".")) for name in fields}
        if isinstance(value, dict):
            said = {str(k): plain(v, f"{path}.{k}".strip(".")) for k, v in value.items()}
            return {"$plain": said} if len(said) == 1 and said.keys() <= MARKS else said
        if isinstance(value, list | tuple):
            return [plain(item, f"{path}.{i}".strip(".")) for i, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            return {"$float": repr(value)}
        return value

    text = json.dumps(plain(message, ""), ensure_ascii=False, allow_nan=False)
    metadata = {"kind": type(message).__name__, "version": VERSION, "json": text}
    return _ordered(save_tensors(tensors, metadata=metadata))


def _ordered(data: bytes) -> bytes:
    """The same file with its header's keys in order: equal messages are then equal bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the format begins its data at a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[end:]


def unpack(data: bytes, kind: type[Message]) -> Message:
    """The message of type `kind` that `data` holds; `BadFile` if it holds anything else."""
    header = read_header(data)
    if header.get("kind") != kind.__name__ or header.get("version") != VERSION:
        raise BadFile(
            f"Expected a {kind.__name__} message (version {VERSION}), "
            f"got {header.get('kind')!r} (version {header.get('version')!r}).",
            hint="It was probably written by another version of llm-workings.",
        )
    try:
        tensors = load_tensors(data)

        def rich(value: Any) -> Any:
            if isinstance(value, dict):
                if value.keys() == {"$tensor"}:
                    return tensors[value["$tensor"]]
                if value.keys() == {"$float"}:
                    return float(value["$float"])
                if value.keys() == {"$plain"}:
                    value = value["$plain"]
                return {k: rich(v) for k, v in value.items()}
            return [rich(item) for item in value] if isinstance(value, list) else value

        return kind.model_validate(rich(json.loads(header["json"])))
    except Exception as error:  # whatever these bytes broke on the way, they are at fault
        raise BadFile(f"This is not a readable {kind.__name__} message: {error}") from error


def read_header(data: bytes) -> dict[str, str]:
    """The metadata of a message, without its arrays; `BadFile` if there is none."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise BadFile(f"The message is cut short: {len(data)} bytes, of which the header should take {size}.")
    try:
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFile("The message has no readable header.") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("json"), str):
        raise BadFile("The message has no JSON part.")
    return metadata


def tensor_of(annotation: Any) -> Tensor | None:
    """The `Tensor` mark of an annotated type, if it has one."""
    return next((mark for mark in get_args(annotation)[1:] if isinstance(mark, Tensor)), None)
