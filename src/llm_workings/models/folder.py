"""The files of a model's folder: config, weights, and what is refused.

Nothing here imports torch, so that a folder can be listed and judged at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_workings.core.errors import BadFile

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# How a pickle begins: torch's own zip archive, or a bare pickle of protocol 2 to 5.
PICKLE_STARTS = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
LONGEST_HEADER = 100_000_000  # bytes, safetensors' own bound


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        files = sorted(entry.name for entry in folder.iterdir())
        gguf = [name for name in files if name.endswith(".gguf")]
        raise BadFile(
            f"{folder} has no {CONFIG}. It has: {', '.join(files[:12]) or 'nothing'}.",
            hint=f"Load {folder / gguf[0]}." if gguf else "A model's folder holds config.json and weights.",
            given={"path": str(folder)},
        )
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise BadFile(f"{path} does not say its model_type.", given={"path": str(path)})
    return config


def weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The safetensors files of a folder, by its index if it has one."""
    if (index := folder / INDEX).is_file():
        where = read_json(index).get("weight_map")
        if not isinstance(where, dict) or not where or not all(isinstance(n, str) for n in where.values()):
            raise BadFile(f"{index} has no weight_map from names to files.")
        files: dict[Path, set[str] | None] = {}
        for name, shard in where.items():
            if Path(shard).name != shard:
                raise BadFile(f"{index} points outside its folder: {shard!r}.")
            promised = files.setdefault(folder / shard, set())
            assert promised is not None
            promised.add(name)
        if missing := [path.name for path in files if not path.is_file()]:
            raise BadFile(
                f"{folder} lacks {', '.join(missing)}: {index.name} names {len(files)} files.",
                hint="Download the missing files into the folder.",
                given={"path": str(folder), "missing": missing},
            )
        return files
    if (path := folder / WEIGHTS).is_file():
        return {path: None}
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return {others[0]: None}
    if others:
        raise BadFile(
            f"{folder} has {len(others)} safetensors files and no {INDEX} that says what is where: "
            f"{', '.join(path.name for path in others[:6])}."
        )
    if pickles := sorted(path for path in folder.iterdir() if path.suffix in PICKLES):
        raise pickle_refused(str(pickles[0]))
    raise BadFile(f"{folder} has no weights: neither {WEIGHTS} nor {INDEX}.", given={"path": str(folder)})


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: tensor names to `dtype`, `shape` and `data_offsets`.

    Raises `BadFile`, with the sizes, for a file that is cut short or no safetensors file.
    """
    refuse_pickle(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > LONGEST_HEADER:
            raise _no_safetensors(path, size, f"its header would take {length} bytes")
        text = file.read(length)
    should = 8 + length
    if len(text) == length:
        try:
            header = json.loads(text)
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            should += max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise _no_safetensors(path, size, f"its header cannot be read ({error!r})") from error
    if size < should:
        raise BadFile(
            f"{path} is cut short: it has {size} bytes and should have {should} or more.",
            hint="Download it again.",
            given={"path": str(path), "bytes": size, "should": should},
        )
    return tensors


def count_parameters(files: Iterable[Path]) -> int:
    """How many numbers the safetensors files hold."""
    return sum(math.prod(entry["shape"]) for path in files for entry in read_header(path).values())


def _no_safetensors(path: Path, size: int, why: str) -> BadFile:
    return BadFile(
        f"{path} ({size} bytes) is not a safetensors file: {why}.",
        hint="Download it again.",
        given={"path": str(path), "bytes": size},
    )


def refuse_pickle(path: Path) -> None:
    """Raise `BadFile` if `path` is a pickle, whatever it is called: opening one runs its code."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    # A safetensors file begins with its header's length, whose low bytes may look like anything.
    safetensors = start[4:] == b"\0\0\0\0{"
    if path.suffix in PICKLES or (start.startswith(PICKLE_STARTS) and not safetensors):
        raise pickle_refused(str(path))


def pickle_refused(what: str) -> BadFile:
    """The refusal of the pickle that `what` names, with the way to convert it."""
    return BadFile(
        f"{what} is a pickle. Opening a pickle runs whatever code is in it, so it is refused.",
        hint=(
            "If you trust where it comes from, convert it once to safetensors:\n"
            "    from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "    AutoModelForCausalLM.from_pretrained(SOURCE).save_pretrained(FOLDER)\n"
            "    AutoTokenizer.from_pretrained(SOURCE).save_pretrained(FOLDER)\n"
            "and load FOLDER."
        ),
        given={"path": what},
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty if there is no such file; `BadFile` if it holds anything else."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadFile(f"{path} holds a {type(value).__name__}, where a JSON object should stand.")
    return value
