"""A model as a Hugging Face folder: `config.json`, `model.safetensors`, the tokenizer's files.

What was loaded is saved bit for bit, so that `transformers` opens the same model. The folder appears
when all of it is written, or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.progress import SILENT, Progress

from .folder import CONFIG, INDEX, WEIGHTS
from .load import Loaded
from .tokens import FILES

STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Beside the tokenizer's: what else a folder carries that is none of ours and belongs to the model.
COMPANIONS = ("tokenizer.model", "chat_template.jinja", "generation_config.json")


def save(
    model: Loaded,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Write `model` into `folder` in a form that `transformers` opens.

    Args:
        folder: made if it is not there; must otherwise be empty.
        dtype: the precision of the weights. None: the one that they were stored in where it holds
            all of them exactly (so that saving what was loaded changes no bit), and the one that
            they are computed in where it does not.
        overwrite: let the new folder take the place of a model's folder that is there, with all in it.

    Raises:
        NotSupported: the model is none that Hugging Face's classes can be (an attention-only toy).
        BadInput: something else is there, or it cannot be written.
        Cancelled: the progress said to stop; nothing is left behind.
    """
    folder = Path(folder).expanduser()
    _check_target(folder, overwrite)
    if model.family is None:
        raise NotSupported(f"{model.name} is a toy, and none of Hugging Face's classes can be it.")
    config = model.family.write_config(model.spec, model.config)
    weights = model.family.weights_of(model.transformer, model.carried)
    dtype = dtype or _exact_precision(
        weights, STORED.get(model.precision), model.transformer.embed.weight.dtype
    )
    words = str(dtype).removeprefix("torch.")
    config |= {"dtype": words, "torch_dtype": words}  # as transformers 5 and 4 call it
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            progress.report(f"saving {folder}", 0, len(weights))
            (new / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
            _save_tokenizer(model, new)
            there = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in weights.items()}
            save_file(there, new / WEIGHTS, metadata={"format": "pt"})
            progress.report(f"saving {folder}", len(weights), len(weights))
            _put_in_place(new, folder, Path(scratch) / "old")
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be written: {error.strerror or error}.", given={"path": str(folder)}
        ) from error
    return folder


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadInput(f"{folder} is a file, not a folder.", given={"path": str(folder)})
    files = sorted(entry.name for entry in folder.iterdir())
    if not files:
        return
    if CONFIG not in files or not {WEIGHTS, INDEX} & set(files):
        raise BadInput(
            f"{folder} holds something else than a model: {', '.join(files[:6])}.",
            hint="Save into a folder that is new or empty.",
            given={"path": str(folder)},
        )
    if not overwrite:
        raise BadInput(
            f"{folder} already holds a model.",
            hint="Save into another folder, or say overwrite=True.",
            given={"path": str(folder)},
        )


def _put_in_place(new: Path, folder: Path, aside: Path) -> None:
    if folder.exists():
        folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise


def _exact_precision(
    weights: dict[str, Tensor], stored: torch.dtype | None, computed: torch.dtype
) -> torch.dtype:
    """`stored` if each weight is the same number in it, `computed` if not."""
    if stored is None or stored == computed:
        return computed
    exact = all(torch.equal(tensor.to(stored).to(tensor.dtype), tensor) for tensor in weights.values())
    return stored if exact else computed


def _save_tokenizer(model: Loaded, folder: Path) -> None:
    """The files that the model came with, untouched; where it came as one file, the tokenizer's own."""
    source = model.folder
    files = [source / name for name in (*FILES, *COMPANIONS) if (source / name).is_file()] if source else []
    for file in files:
        shutil.copyfile(file, folder / file.name)
    if not files and model.tokenizer is not None:
        model.tokenizer.save(folder)
