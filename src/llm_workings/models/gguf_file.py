"""Reading GGUF, the file format of llama.cpp: its header, and its tensors one at a time.

    "GGUF" | version | how many tensors | how many entries
    entries:  key, type, value             (what the model is, and its tokenizer)
    tensors:  name, sizes, type, offset    (innermost size first)
    padding, then the tensors' bytes

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every size in the header is
checked against the length of the file before anything is allocated for it. What the entries mean
is `gguf_model.py`'s business.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadFile, NotSupported

MAGIC = b"GGUF"
MOST_DIMENSIONS = 4
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9
ALIGNMENT = 32  # unless `general.alignment` says otherwise


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor stands in the file. `shape` is in PyTorch's order, outermost first."""

    name: str
    shape: tuple[int, ...]
    type: int  # ggml's number for how the values are packed
    start: int  # bytes from the beginning of the file
    size: int  # bytes


class GgufFile:
    """An open GGUF file: `metadata` read at once, tensors read when asked for.

    Raises `BadFile` for a file that is cut short or inconsistent, `NotSupported` for versions
    before 2 and for big-endian files.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with open(path, "rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file cannot be mapped
            raise BadFile(f"{path} is empty.") from error
        except OSError as error:
            raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        self._read_header()

    def read(self, name: str) -> Tensor:
        """The tensor called `name`: float32 if it was quantized, its stored precision otherwise."""
        info = self.tensors[name]
        # A copy of the packed bytes, so that what is unpacked from them is ours and not the file's.
        packed = np.frombuffer(self._bytes, np.uint8, info.size, info.start).copy()
        return _unpack(packed, info.type).view(info.shape)

    def precision(self) -> str:
        """The type that most of the weights are packed in, in ggml's words: `Q4_1`, `F16` ..."""
        values: dict[int, int] = {}
        for info in self.tensors.values():
            values[info.type] = values.get(info.type, 0) + math.prod(info.shape)
        return _type_name(max(values, key=lambda kind: values[kind])) if values else "nothing"

    # --- header ------------------------------------------------------------------------------
    def _read_header(self) -> None:
        if self._bytes[:4] != MAGIC:
            raise BadFile(
                f"{self.path} is not a GGUF file: it begins with {self._bytes[:4]!r}, not {MAGIC!r}."
            )
        header = _Header(self)
        version = header.number("<I")
        if not 2 <= version <= 3:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = "big-endian" if swapped in (2, 3) else f"of GGUF version {version}"
            raise NotSupported(f"{self.path} is {what}.", hint="Versions 2 and 3, little-endian, are read.")
        n_tensors, n_entries = header.number("<Q"), header.number("<Q")
        header.expect(n_tensors, 24, "tensors")  # each takes at least that many bytes
        header.expect(n_entries, 13, "entries")
        for _ in range(n_entries):
            key = header.string()
            if key in self.metadata:
                raise BadFile(f"{self.path} has the entry {key!r} twice.")
            self.metadata[key] = header.value(header.number("<I"))
        found = [self._read_tensor_info(header) for _ in range(n_tensors)]
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise BadFile(f"{self.path} aligns its tensors to {alignment!r} bytes, not a power of two.")
        data = -(-header.at // alignment) * alignment
        for info in found:
            self._place(info, data + info.start)

    def _read_tensor_info(self, header: _Header) -> TensorInfo:
        name = header.string()
        n_dimensions = header.number("<I")
        if n_dimensions > MOST_DIMENSIONS:
            raise BadFile(
                f"{self.path}: the tensor {name!r} has {n_dimensions} dimensions; "
                f"GGUF has at most {MOST_DIMENSIONS}."
            )
        shape = tuple(header.number("<Q") for _ in range(n_dimensions))[::-1]
        kind, offset = header.number("<I"), header.number("<Q")
        values, (block, size) = math.prod(shape), _block_size(self.path, name, kind)
        if not shape or values == 0 or shape[-1] % block:
            raise BadFile(
                f"{self.path}: the tensor {name!r} of shape {list(shape)} cannot be packed as "
                f"{_type_name(kind)}, which takes {block} values at a time."
            )
        return TensorInfo(name, shape, kind, offset, values // block * size)

    def _place(self, info: TensorInfo, start: int) -> None:
        if info.name in self.tensors:
            raise BadFile(f"{self.path} has the tensor {info.name!r} twice.")
        if start + info.size > len(self._bytes):
            raise BadFile(
                f"{self.path} is cut short: the tensor {info.name!r} should end at byte "
                f"{start + info.size}, the file ends at {len(self._bytes)}.",
                hint="Download it again.",
                given={"path": str(self.path), "bytes": len(self._bytes)},
            )
        self.tensors[info.name] = TensorInfo(info.name, info.shape, info.type, start, info.size)


class _Header:
    """A cursor over the header that never runs past the end of the file."""

    def __init__(self, file: GgufFile):
        self.path, self.bytes, self.at = file.path, file._bytes, len(MAGIC)

    def expect(self, count: int, size: int, what: str) -> None:
        left = len(self.bytes) - self.at
        if count * size > left:
            raise BadFile(
                f"{self.path} is cut short or damaged: at byte {self.at} it promises {count} {what} "
                f"({count * size} bytes or more), and {left} bytes are left.",
                hint="Download it again.",
                given={"path": str(self.path), "bytes": len(self.bytes)},
            )

    def number(self, format: str) -> Any:
        size = struct.calcsize(format)
        self.expect(1, size, "number")
        (value,) = struct.unpack_from(format, self.bytes, self.at)
        self.at += size
        return value

    def string(self) -> str:
        return self.strings(1)[0]

    def strings(self, count: int) -> list[str]:
        # A vocabulary is a hundred thousand of these, hence one loop without a call to `number`.
        length_at, data, at, end = struct.Struct("<Q").unpack_from, self.bytes, self.at, len(self.bytes)
        found = []
        try:
            for _ in range(count):
                (length,) = length_at(data, at)
                at += 8
                if length > end - at:
                    self.at = at
                    self.expect(length, 1, "bytes of text")
                found.append(data[at : at + length].decode())
                at += length
        except struct.error as error:
            raise BadFile(f"{self.path} is cut short: it ends within a text at byte {at}.") from error
        except UnicodeDecodeError as error:
            raise BadFile(f"{self.path} is damaged: the text at byte {at} is not UTF-8.") from error
        self.at = at
        return found

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY or depth > 1:
            raise BadFile(f"{self.path} is damaged: at byte {self.at} stands a value of unknown type {kind}.")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in SCALARS:
            size = struct.calcsize(SCALARS[inner])
            self.expect(count, size, "numbers")
            values = np.frombuffer(self.bytes, np.dtype(SCALARS[inner]), count, self.at).tolist()
            self.at += count * size
            return values
        self.expect(count, 8, "texts" if inner == STRING else "lists")
        if inner == STRING:
            return self.strings(count)
        return [self.value(inner, depth + 1) for _ in range(count)]


# --- how values are packed -----------------------------------------------------------------------
# A block is a scale d (and for the `_1` kinds a smallest value m) in float16, then whole numbers:
# the low halves of its bytes hold the first half of the values, the high halves the second.


def _halves(packed: Tensor) -> Tensor:
    return torch.cat((packed & 15, packed >> 4), dim=1)


def _number(packed: Tensor) -> Tensor:
    return packed.contiguous().view(torch.float16).float()


def _fifth_bits(packed: Tensor) -> Tensor:
    """`[blocks, 4]` bytes to `[blocks, 32]`, each 0 or 16: the high bit of every value."""
    shifts = torch.arange(8, dtype=torch.uint8)
    return (((packed.unsqueeze(-1) >> shifts) & 1) << 4).flatten(1)


def _q4_0(block: Tensor) -> Tensor:
    return (_halves(block[:, 2:]).to(torch.int8) - 8) * _number(block[:, :2])


def _q4_1(block: Tensor) -> Tensor:
    return _halves(block[:, 4:]) * _number(block[:, :2]) + _number(block[:, 2:4])


def _q5_0(block: Tensor) -> Tensor:
    whole = _halves(block[:, 6:]) | _fifth_bits(block[:, 2:6])
    return (whole.to(torch.int8) - 16) * _number(block[:, :2])


def _q5_1(block: Tensor) -> Tensor:
    whole = _halves(block[:, 8:]) | _fifth_bits(block[:, 4:8])
    return whole * _number(block[:, :2]) + _number(block[:, 2:4])


def _q8_0(block: Tensor) -> Tensor:
    return block[:, 2:].view(torch.int8) * _number(block[:, :2])


AS_STORED = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
VALUES = 32  # in a block of each of these kinds, which are written as their bytes and their unpacking
BLOCKS: dict[int, tuple[int, Callable[[Tensor], Tensor]]] = {
    2: (18, _q4_0),
    3: (20, _q4_1),
    6: (22, _q5_0),
    7: (24, _q5_1),
    8: (34, _q8_0),
}
# Blocks unpacked at a time: few enough to stay in the processor's cache, and for torch to keep to
# one thread (32768 values), for its threads wait for each other where the machine is busy.
AT_A_TIME = 1000


def _unpack(packed: np.ndarray, kind: int) -> Tensor:
    """All values of a tensor, flat."""
    if kind in AS_STORED:
        return torch.from_numpy(packed).view(AS_STORED[kind])
    if kind not in BLOCKS:
        return _unpack_with_gguf(packed, kind).flatten()
    size, unpack = BLOCKS[kind]
    blocks = torch.from_numpy(packed).view(-1, size)
    values = torch.empty(len(blocks), VALUES)
    for begin in range(0, len(blocks), AT_A_TIME):
        values[begin : begin + AT_A_TIME] = unpack(blocks[begin : begin + AT_A_TIME])
    return values.flatten()


def _unpack_with_gguf(packed: np.ndarray, kind: int) -> Tensor:
    """The kinds with a scale of scales (Q2_K to Q6_K, IQ ...), by ggml's own Python package."""
    from gguf import GGMLQuantizationType, quants

    try:
        return torch.from_numpy(quants.dequantize(packed, GGMLQuantizationType(kind)))
    except NotImplementedError as error:
        raise NotSupported(f"Tensors packed as {_type_name(kind)} cannot be unpacked here.") from error


def _block_size(path: Path, name: str, kind: int) -> tuple[int, int]:
    """How many values a block of this kind holds, and in how many bytes."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        return GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError) as error:
        raise NotSupported(f"{path}: the tensor {name!r} is packed as type {kind}, unknown here.") from error


def _type_name(kind: int) -> str:
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType(kind).name
