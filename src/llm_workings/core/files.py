"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import BadInput


def write_whole(path: Path | str, data: bytes, *, example: str) -> Path:
    """Write `data` to `path`: what was there stays until all of it is written. Returns the path.

    Args:
        example: a file's name, for the hint where a folder is given.

    Raises `BadInput` for a folder that is not there, or a path that is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise BadInput(
            f"There is no folder {path.parent} to write {path.name} into.", given={"path": str(path)}
        )
    if path.is_dir():
        raise BadInput(f"{path} is a folder.", hint=f"Give a file in it, such as {path / example}.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())  # a temporary file is private, the file need not be
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
