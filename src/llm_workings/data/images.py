"""Pictures from files: what is read, what is refused, and fitting them to a model's input."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_workings.core.errors import BadFile, BadInput, TooLarge

Image = NDArray[np.float32]  # [3, h, w], 0 to 1
FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 32_000_000  # of a file
MOST_PIXELS = 40_000_000  # 480 MB as float32
CAT = Path(__file__).parent / "photographs" / "cat.png"  # by Stéfan van der Walt, CC0; scikit-image's
SHOWN_BYTES = 8  # of what is no picture, in the error


def read_image(source: bytes | str | Path) -> Image:
    """A PNG, JPEG or WebP picture, `[3, h, w]` float32 from 0 to 1, as its camera held it (EXIF turns).

    Grey becomes three equal channels, 16 bits a channel keep their precision where Pillow does (grey),
    CMYK and palettes become RGB, and what is transparent is laid on white. Of an animation, the first
    picture. Colour profiles are not applied.

    Args:
        source: a file, or a file's bytes.

    Raises:
        BadInput: there is no such file.
        BadFile: it is not a picture of these formats, or cut short or damaged.
        TooLarge: more bytes than `MOST_BYTES` or more pixels than `MOST_PIXELS`, found out before it is
            unpacked.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    data, what = _bytes_of(source)
    if not data:
        raise BadFile(f"{what} is empty.", hint=f"Give a picture: {', '.join(FORMATS)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # the bound below is ours
            opened = Pillow.open(io.BytesIO(data), formats=FORMATS)
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise _too_many_pixels(what, f"{width} by {height} pixels")
            opened.load()
    except UnidentifiedImageError as error:
        raise BadFile(
            f"{what} is not a picture that can be read. It begins with {data[:SHOWN_BYTES]!r}.",
            hint=f"Give one of {', '.join(FORMATS)}.",
        ) from error
    except Pillow.DecompressionBombError as error:
        raise _too_many_pixels(what, "far more pixels than that") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadFile(
            f"{what} is damaged or cut short: {error}.", hint="Open and save it again, or take another."
        ) from error
    return np.ascontiguousarray(_channels(ImageOps.exif_transpose(opened)))


def _bytes_of(source: bytes | str | Path) -> tuple[bytes, str]:
    """A file's bytes and what to call it."""
    if isinstance(source, bytes):
        data, what = source, "The picture"
        size = len(data)
    else:
        path = Path(source).expanduser()
        what = f"{path.name!r}"
        try:
            size = path.stat().st_size
            if path.is_dir():
                raise BadInput(f"{path} is a folder.", hint="Give a picture in it.")
            data = path.read_bytes() if size <= MOST_BYTES else b""
        except OSError as error:
            raise BadInput(
                f"There is no picture {path}: {error.strerror or error}.", given={"path": str(path)}
            ) from error
        except ValueError as error:  # a null byte in it
            raise BadInput(f"{source!r} is no path: {error}.") from error
    if size > MOST_BYTES:
        raise TooLarge(
            f"{what} has {size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read.",
            hint="Save it smaller: a model looks at a few hundred pixels a side.",
            given={"bytes": size, "most": MOST_BYTES},
        )
    return data, what


def _too_many_pixels(what: str, found: str) -> TooLarge:
    return TooLarge(
        f"{what} has {found}; at most {MOST_PIXELS / 1e6:.0f} million pixels are read.",
        hint="Save it smaller: a model looks at a few hundred pixels a side.",
        given={"most": MOST_PIXELS},
    )


def _channels(picture: object) -> Image:
    """Any of Pillow's modes as `[3, h, w]`, 0 to 1."""
    from PIL import Image as Pillow

    assert isinstance(picture, Pillow.Image)
    if picture.mode.startswith("I"):  # 16 bits of grey
        grey = np.clip(np.asarray(picture, np.float32) / np.float32(65535), 0, 1)
        return np.repeat(grey[None], 3, axis=0)
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        seen = np.asarray(picture.convert("RGBA"), np.float32) / 255
        alpha = seen[..., 3:]
        pixels = seen[..., :3] * alpha + (1 - alpha)
    else:
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return pixels.transpose(2, 0, 1).astype(np.float32, copy=False)


def fit(image: Image, size: tuple[int, int], channels: int = 3) -> Image:
    """The middle of the picture at `size` (height, width), with 3 channels or 1.

    The picture is scaled so that it just covers the size (bicubic, each pixel the mean of what it
    covers), and what sticks out is cut off evenly on both sides. One that has the size is not touched.
    Grey is 0.299 R + 0.587 G + 0.114 B.

    Args:
        image: `[3, h, w]` or `[1, h, w]`, 0 to 1.
    """
    from PIL import Image as Pillow

    if channels == 1 and len(image) == 3:
        image = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), image, 1)[None]
    height, width = size
    if image.shape[1:] != (height, width):
        scale = max(height / image.shape[1], width / image.shape[2])
        # The box of the picture that is seen, in its own pixels.
        high, wide = height / scale, width / scale
        top, left = (image.shape[1] - high) / 2, (image.shape[2] - wide) / 2
        box = (left, top, left + wide, top + high)
        planes = [
            np.asarray(Pillow.fromarray(plane).resize((width, height), Pillow.Resampling.BICUBIC, box))
            for plane in np.ascontiguousarray(image, np.float32)
        ]
        image = np.clip(np.stack(planes), 0, 1)
    if channels == 3 and len(image) == 1:
        image = np.broadcast_to(image, (3, height, width))
    return np.ascontiguousarray(image, np.float32)
