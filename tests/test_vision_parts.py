"""Pictures by name, the user's own among them, and how they come into the lab."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from lab_server import SmallLab, make_app, running
from PIL import Image as Pillow

from llm_workings.core.errors import BadInput, Refused, UnknownName
from llm_workings.core.store import Store
from llm_workings.data.own_pictures import LONGEST, keep_picture, own_picture
from llm_workings.data.pictures import make_pictures
from llm_workings.server.guards import Limits
from llm_workings.views.lab import Lab
from llm_workings.views.vision_parts import net_card, open_picture, picture_of, scores_of


def png(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    packed = io.BytesIO()
    Pillow.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def test_a_picture_is_kept_under_what_it_shows(tmp_path: Path) -> None:
    name = keep_picture(png(), tmp_path)
    assert keep_picture(png(), tmp_path) == name
    assert keep_picture(png(seed=1), tmp_path) != name
    kept = own_picture(name, tmp_path)
    wanted = np.asarray(Pillow.open(io.BytesIO(png())), np.float32).transpose(2, 0, 1) / 255
    assert np.allclose(kept, wanted)
    large = own_picture(keep_picture(png(3000, 1500), tmp_path), tmp_path)
    assert large.shape == (3, LONGEST // 2, LONGEST)


def test_what_the_file_said_besides_is_not_kept(tmp_path: Path) -> None:
    packed = io.BytesIO()
    Pillow.new("RGB", (20, 20), "red").save(packed, "JPEG", exif=_with_a_place())
    name = keep_picture(packed.getvalue(), tmp_path)
    assert not Pillow.open(tmp_path / f"{name[4:]}.png").getexif()


def _with_a_place() -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x010E] = "at home"
    return exif


@pytest.mark.parametrize(
    "name", ["own:../../etc/passwd", "own:123", "own:0123456789ABCDEF", "own:" + "0" * 17]
)
def test_a_name_that_is_none_opens_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        own_picture(name, tmp_path)


def test_pictures_are_named_by_set_and_number(tmp_path: Path) -> None:
    whole = make_pictures("shortcut", 8)
    found = open_picture("shortcut:5", net="shapes-cnn", files=False)
    assert np.array_equal(found.image, whole.images[5])
    assert found.label == whole.labels[5]
    assert found.mark is not None
    assert np.array_equal(found.mark, whole.marks[5])
    assert open_picture("", net="digits-cnn", files=False).name == "digits:2"
    assert open_picture("", net="efficientnet-lite0", files=False).name == "cat"
    assert open_picture("shapes:0", net="shapes-cnn", files=False).mark is None
    file = tmp_path / "mine.png"
    file.write_bytes(png())
    assert open_picture(str(file), net="shapes-cnn", files=True).image.shape == (3, 30, 40)
    for name, error in (
        (str(file), Refused),
        ("shape:1", UnknownName),
        ("dog", BadInput),
        ("own:" + "0" * 16, UnknownName),
    ):
        with pytest.raises(error):
            open_picture(name, net="shapes-cnn", files=False)


def test_a_net_sees_a_picture_as_it_reads_it() -> None:
    lab = Lab(files=False)
    model = lab.vision("digits-cnn")
    assert lab.vision("digits-cnn") is model
    digit = picture_of(lab.picture("", "digits-cnn"), model)
    assert digit.pixels.shape == (8, 8, 3)
    assert digit.label is not None
    assert digit.mask is not None
    cat = picture_of(lab.picture("cat", "digits-cnn"), model)
    assert cat.pixels.shape == (8, 8, 3)
    assert (cat.label, cat.mask) == (None, None)
    assert net_card(model).classes == [str(i) for i in range(10)]
    scores = scores_of(np.array([1.0, 3.0, 2.0]), ["a", "b", "c"], most=1, also=(0,))
    assert [(score.name, score.rank) for score in scores] == [("b", 0), ("a", 2)]
    assert scores[0].probability == pytest.approx(1 / (1 + np.exp(-1) + np.exp(-2)))


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("LLM_WORKINGS_HOME", str(tmp_path / "home"))
    with (
        Store(tmp_path / "store") as store,
        running(make_app(store, SmallLab())) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


def test_the_lab_lists_nets_and_sets_and_takes_a_picture(client: httpx.Client) -> None:
    listed = client.get("/api/vision").json()
    assert {"digits-cnn"} <= {model["name"] for model in listed["models"]}
    assert {"shapes", "shortcut", "digits"} <= {one["name"] for one in listed["sets"]}
    answer = client.post("/api/pictures", content=png())
    assert answer.status_code == 201
    assert own_picture(answer.json()["name"]).shape == (3, 30, 40)
    large = client.post("/api/pictures", content=png(1500, 1000))  # larger than any other body may be
    assert large.status_code == 201


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [(b"GIF89a, more or less", 400, "not a picture"), (b"", 400, "empty"), (png()[:200], 400, "cut short")],
)
def test_what_is_no_picture_is_named(client: httpx.Client, data: bytes, status: int, says: str) -> None:
    answer = client.post("/api/pictures", content=data)
    assert answer.status_code == status
    assert says in answer.json()["message"]


def test_a_picture_that_is_too_large_is_refused(client: httpx.Client) -> None:
    answer = client.post("/api/pictures", content=bytes(Limits().picture + 1))
    assert answer.status_code == 413
    assert "limit" in answer.json()["message"]
