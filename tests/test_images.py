"""Pictures from files: every kind is read right, and what is none is told in words."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llm_workings.core.errors import BadFile, BadInput, LabError, TooLarge
from llm_workings.data import images
from llm_workings.data.images import CAT, fit, read_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def test_bytes_of_a_png_are_its_pixels(tmp_path: Path) -> None:
    found = read_image(saved(Image.fromarray(RGB)))
    assert found.dtype == np.float32
    assert np.array_equal(np.round(found * 255), RGB.transpose(2, 0, 1))
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(RGB)))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(read_image(path), found)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats(kind: str) -> None:
    smooth = np.linspace(0, 255, 40)[:, None, None] * np.ones((40, 40, 3))
    found = read_image(saved(Image.fromarray(smooth.astype(np.uint8)), kind, quality=95))
    assert found.shape == (3, 40, 40)
    assert np.abs(found - smooth.transpose(2, 0, 1) / 255).max() < 0.05


def test_grey_becomes_three_equal_channels() -> None:
    grey = RGB[..., 0]
    for picture in (Image.fromarray(grey), Image.fromarray(grey > 127)):
        found = read_image(saved(picture))
        assert np.array_equal(found[0], found[1])
        assert np.array_equal(found[0], found[2])
        assert np.allclose(found[0], np.asarray(picture, float) / (255 if picture.mode == "L" else 1))


def test_16_bits_of_grey_keep_their_precision() -> None:
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    found = read_image(saved(Image.fromarray(deep)))
    assert np.allclose(found[1], deep / 65535, atol=1e-6)
    assert len(np.unique(found[0])) == 600


def test_what_is_transparent_is_laid_on_white() -> None:
    alpha = np.full((20, 30, 1), 128, np.uint8)
    found = read_image(saved(Image.fromarray(np.concatenate([RGB, alpha], 2))))
    assert np.allclose(found, (RGB * (128 / 255) / 255 + 127 / 255).transpose(2, 0, 1), atol=1e-5)
    palette = Image.fromarray(RGB).quantize(8)
    index = palette.getpixel((0, 0))
    found = read_image(saved(palette, transparency=index))
    assert np.array_equal(found[:, 0, 0], [1, 1, 1])
    assert np.allclose(
        read_image(saved(palette)), np.asarray(palette.convert("RGB")).transpose(2, 0, 1) / 255
    )


def test_cmyk_becomes_rgb() -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    found = read_image(saved(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(found.mean((1, 2)) * 255 - (200, 40, 90)).max() < 6


def test_a_camera_s_turn_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    found = read_image(saved(Image.fromarray(RGB), exif=exif))
    assert np.array_equal(np.round(found * 255), np.rot90(RGB, -1).transpose(2, 0, 1))


def test_of_an_animation_the_first_picture() -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    found = read_image(saved(first, "WEBP", save_all=True, append_images=[second], lossless=True))
    assert np.array_equal(np.round(found * 255), RGB.transpose(2, 0, 1))


# --- what is refused -------------------------------------------------------------------------------
def png(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", BadFile, "empty"),
        (b"<svg></svg>", BadFile, "begins with b'<svg></s'"),
        (b"GIF89a" + bytes(100), BadFile, "PNG, JPEG, WEBP"),
        (saved(Image.fromarray(RGB), "TIFF"), BadFile, "not a picture that can be read"),
        (saved(Image.fromarray(RGB))[:500], BadFile, "cut short"),
        (saved(Image.fromarray(RGB), "JPEG")[:400], BadFile, "cut short"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), BadFile, "damaged|not a picture"),
        (png(8000, 8000), TooLarge, "8000 by 8000"),
        (png(60_000, 60_000), TooLarge, "pixels"),
    ],
)
def test_what_is_no_picture(data: bytes, error: type[LabError], says: str) -> None:
    with pytest.raises(error, match=says) as refused:
        read_image(data)
    assert refused.value.hint


def test_damaged_pictures_never_raise_anything_else() -> None:
    whole = [saved(Image.fromarray(RGB), kind) for kind in ("PNG", "JPEG", "WEBP")]
    for at in range(300):
        broken = bytearray(whole[at % 3])
        for _ in range(4):
            broken[RNG.integers(len(broken))] = RNG.integers(256)
        try:
            found = read_image(bytes(broken))
        except LabError:
            continue
        assert found.ndim == 3
        assert np.isfinite(found).all()


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="no picture"):
        read_image(tmp_path / "none.png")
    with pytest.raises(BadInput, match="folder"):
        read_image(tmp_path)
    with pytest.raises(BadInput, match="no path"):
        read_image("a\0b")
    monkeypatch.setattr(images, "MOST_BYTES", 100)
    (tmp_path / "large.png").write_bytes(saved(Image.fromarray(RGB)))
    for source in (tmp_path / "large.png", saved(Image.fromarray(RGB))):
        with pytest.raises(TooLarge, match="MB"):
            read_image(source)


# --- fitting ---------------------------------------------------------------------------------------
def test_fitting_scales_the_shorter_side_and_cuts_the_middle() -> None:
    wide = np.zeros((3, 50, 120), np.float32)
    wide[:, :, 35:85] = np.linspace(0.2, 0.8, 50)  # the middle square
    half = fit(wide, (25, 25))
    assert half.shape == (3, 25, 25)
    means = np.linspace(0.2, 0.8, 50).reshape(25, 2).mean(1)
    assert np.allclose(half[0, 10, 2:-2], means[2:-2], atol=0.01)
    assert np.array_equal(fit(wide, (50, 120)), wide)
    cut = fit(wide, (50, 50))
    assert np.allclose(cut, wide[:, :, 35:85], atol=1e-6)
    assert fit(wide, (100, 30)).shape == (3, 100, 30)
    assert np.allclose(fit(np.ones((3, 7, 9), np.float32), (64, 64)), 1, atol=1e-6)


def test_grey_and_colour_meet() -> None:
    red = np.zeros((3, 8, 8), np.float32)
    red[0] = 1
    assert np.allclose(fit(red, (8, 8), channels=1), 0.299)
    assert np.allclose(fit(red, (4, 4), channels=1), 0.299, atol=1e-6)
    assert fit(np.ones((1, 8, 8), np.float32), (8, 8)).shape == (3, 8, 8)


def test_the_cat_is_there() -> None:
    assert read_image(CAT).shape == (3, 300, 451)
