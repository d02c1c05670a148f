"""The user's own pictures: kept under a name that is made of what they show, so that a run can name them."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np

from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.core.files import write_whole
from llm_workings.core.paths import data_folder

from .images import Image, read_image

LONGEST = 1024  # pixels of the longer side that are kept: models look at a few hundred
MOST = 200  # pictures; the oldest are let go of
NAME = re.compile(r"own:[0-9a-f]{16}")


def keep_picture(data: bytes, folder: Path | None = None) -> str:
    """Keep a picture file's picture; the name to have it by, `own:` and 16 hexadecimal digits.

    What is kept is a PNG of at most 1024 pixels a side, without anything else that the file said (where a
    photograph was taken, for one). The same picture has the same name.

    Raises `BadFile` and `TooLarge` as `read_image`.
    """
    from PIL import Image as Pillow

    pixels = (read_image(data).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    picture = Pillow.fromarray(pixels)
    picture.thumbnail((LONGEST, LONGEST))
    name = "own:" + hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()[:16]
    path = _path(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.touch()
        return name
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    write_whole(path, packed.getvalue(), example="cat.png")
    kept = sorted(path.parent.glob("*.png"), key=lambda one: one.stat().st_mtime)
    for old in kept[:-MOST]:
        old.unlink(missing_ok=True)
    return name


def own_picture(name: str, folder: Path | None = None) -> Image:
    """The picture kept under a name, `[3, h, w]` from 0 to 1. Raises `UnknownName` if it is not there."""
    if not NAME.fullmatch(name):
        raise BadInput(f"{name[:40]!r} is no name of a picture that was kept.", given={"picture": name[:40]})
    try:
        return read_image(_path(name, folder))
    except BadInput:
        raise UnknownName(
            f"There is no picture {name!r} here.",
            hint=f"The last {MOST} pictures are kept; give it again.",
            given={"picture": name},
        ) from None


def _path(name: str, folder: Path | None) -> Path:
    return (folder or data_folder() / "pictures") / f"{name.removeprefix('own:')}.png"
