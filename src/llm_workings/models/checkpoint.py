"""A model as it lies on the disk: its config, its weights by name, its tokenizer.

Everything is in Hugging Face's terms, whatever it was stored as, so that a family needs to know one
vocabulary only. Weights are read one tensor at a time, when asked for. Nothing that could run code
is ever opened: pickles are refused, with the way to convert them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from llm_workings.core.errors import BadFile, BadInput, LabError

from . import tokens
from .folder import read_config, read_header, weight_files
from .gguf_file import GgufFile
from .gguf_model import GgufWeights, config_of
from .gguf_tokens import tokenizer_of
from .tokens import Tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """What `load` makes a model from.

    Args:
        config: as in Hugging Face's `config.json`.
        weights: Hugging Face's parameter names to tensors; each is read when it is looked up.
        tokenizer: None if there is none, or none that could be read; `why_no_tokenizer` then says so.
        origin: where it comes from, in words for a person.
        precision: what most of the weights are stored as: `F32`, `BF16`, `Q4_1` ...
        folder: where it lies, if it is a folder: its tokenizer files can be taken from there as they are.
    """

    config: dict[str, Any]
    weights: Mapping[str, Tensor] = field(repr=False)
    tokenizer: Tokenizer | None
    origin: str
    precision: str
    why_no_tokenizer: LabError | None = None
    folder: Path | None = None

    def named(self, origin: str) -> Checkpoint:
        """The same, from a place that is better called `origin`."""
        return replace(self, origin=origin)


def open_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder of `config.json`, safetensors weights and tokenizer files.

    Raises `BadInput` if there is no such folder, and `BadFile`, naming the file, for a missing or
    unreadable config, missing or truncated weights, and weights that exist only as a pickle.
    A tokenizer that is missing or unreadable is kept as an error for whoever needs it.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.", given={"path": str(folder)})
    config = read_config(folder)
    weights = SafetensorsWeights(weight_files(folder))
    tokenizer, why = _tokenizer_or_why(folder)
    return Checkpoint(config, weights, tokenizer, f"folder {folder}", weights.precision(), why, folder)


def open_gguf(path: Path) -> Checkpoint:
    """The checkpoint in a GGUF file. Raises `BadFile` and `NotSupported` as `gguf_file.py` says."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", given={"path": str(path)})
    file = GgufFile(path)
    config = config_of(file)
    tokenizer: Tokenizer | None = None
    why: LabError | None = None
    try:
        tokenizer = tokenizer_of(path, file.metadata)
        if tokenizer is None:
            why = BadFile(f"{path} carries no tokenizer.", hint="Give tokens as numbers.")
    except LabError as error:
        why = error
    origin = f"GGUF file {path} ({file.precision()})"
    return Checkpoint(config, GgufWeights(file, config), tokenizer, origin, file.precision(), why)


class SafetensorsWeights(Mapping[str, Tensor]):
    """The tensors of one or more safetensors files; a file is mapped, not read, when it is opened.

    Args:
        files: each file with the names that an index promises to be in it, or None for all it has.
    """

    def __init__(self, files: Mapping[Path, set[str] | None]):
        self._stack = ExitStack()
        self._file_of: dict[str, tuple[Path, Any]] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        for path, promised in files.items():
            header = read_header(path)  # says how a file is cut short better than the library does
            try:
                file = self._stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise BadFile(f"{path} is not a readable safetensors file: {error}.") from error
            if missing := sorted((promised or set()) - header.keys()):
                raise BadFile(
                    f"{path} lacks {len(missing)} of the weights that the index promises in it: "
                    f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}.",
                    given={"path": str(path), "missing": missing[:20]},
                )
            for name in header if promised is None else promised:
                self._file_of[name], self._entries[name] = (path, file), header[name]

    def __getitem__(self, name: str) -> Tensor:
        path, file = self._file_of[name]
        try:
            return file.get_tensor(name)
        except SafetensorError as error:
            raise BadFile(f"{path} is not a readable safetensors file: {error}.") from error

    def precision(self) -> str:
        """What the biggest of the tensors is stored as, in safetensors' words: `F32`, `BF16` ..."""
        biggest = max(self._entries.values(), key=lambda entry: math.prod(entry["shape"]), default=None)
        return str(biggest["dtype"]) if biggest else "nothing"

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def _tokenizer_or_why(folder: Path) -> tuple[Tokenizer | None, LabError | None]:
    try:
        tokenizer = tokens.from_folder(folder)
    except LabError as error:
        return None, error
    if tokenizer is None:
        return None, BadFile(
            f"{folder} has no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, "
            "nor vocab.txt.",
            hint="Put the tokenizer's files into the folder, or give tokens as numbers.",
            given={"path": str(folder)},
        )
    return tokenizer, None
