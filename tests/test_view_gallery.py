"""The gallery of attributions, its checks and its table: true numbers, wrong questions, a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

import llm_workings as lw
from llm_workings.attribution.cams import cam
from llm_workings.attribution.gradients import expected_gradients, integrated_gradients, saliency
from llm_workings.attribution.sanity import randomization
from llm_workings.attribution.targets import difference, logit
from llm_workings.core.errors import BadInput, Cancelled, LabError, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.data.pictures import make_pictures
from llm_workings.export.record import export_view
from llm_workings.views import REGISTRY
from llm_workings.views.attribution_checks import AttributionChecks
from llm_workings.views.attribution_gallery import AttributionGallery
from llm_workings.views.attribution_methods import KINDS, MAPS, OF_ONE_PASS
from llm_workings.views.attribution_table import AttributionTable
from llm_workings.views.bundle import BUNDLE
from llm_workings.views.lab import Lab

LAB = Lab()
QUICK = ["saliency", "input x gradient", "DeepLift", "Grad-CAM", "guided backprop", "LRP EpsilonPlus"]


def gallery(**request: Any) -> AttributionGallery:
    return cast("AttributionGallery", REGISTRY["attribution_gallery"].run(LAB, request))


def checks(**request: Any) -> AttributionChecks:
    return cast("AttributionChecks", REGISTRY["attribution_checks"].run(LAB, request))


def test_every_method_maps_a_digit() -> None:
    found = gallery(net="digits-cnn")
    assert found.waiting == []
    assert {tile.name for tile in found.tiles} == set(KINDS)
    assert found.later == []
    assert found.layers == ["blocks.0", "blocks.1", "blocks.2"]
    here = [tile for tile in found.tiles if tile.name in OF_ONE_PASS]
    assert [tile.layer for tile in here if tile.name == "Grad-CAM"] == found.layers
    assert all(np.isfinite(tile.map).all() and tile.most > 0 for tile in found.tiles)
    whole = [tile.name for tile in found.tiles if tile.map.shape == (8, 8) and tile.layer is None]
    assert len(whole) == len(KINDS) - len(MAPS)
    assert unpack(pack(found), AttributionGallery).reading() == found.reading()
    assert "Why 6" in found.reading()


def test_maps_are_the_librarys_own() -> None:
    found = gallery(methods=[*QUICK, "integrated gradients"], picture="shapes:3", target=2, contrast=5)
    model = LAB.vision("shapes-cnn")
    x = model.prepare(LAB.picture("shapes:3", "shapes-cnn").image)
    score = difference(2, 5)
    tiles = {(tile.name, tile.layer): tile for tile in found.tiles}
    assert np.allclose(tiles["saliency", None].map, saliency(model.module, x, score).map[0])
    for layer in found.layers:
        wanted = cam(model.module, x, score, layer).values[0]
        assert np.allclose(tiles["Grad-CAM", layer].map, wanted, atol=1e-6)
    whole = tiles["integrated gradients", None]
    result = integrated_gradients(model.module, x, score, adaptive=True)
    assert whole.total == pytest.approx(float(result.sum[0]), rel=1e-4)
    assert whole.expected == pytest.approx(
        float(result.score[0] - score.of(model.module(0 * x).detach())[0]), rel=1e-4
    )
    assert found.score == pytest.approx(float(result.score[0]), rel=1e-5)
    assert {score.index for score in found.scores} >= {2, 5, found.picture.label}
    one = tiles["DeepLift", None]
    assert one.expected is not None
    assert one.total == pytest.approx(one.expected, rel=1e-3)
    assert found.area == pytest.approx(float(found.picture.mask.mean()))  # type: ignore[union-attr]


def test_the_shortcut_lies_on_its_mark() -> None:
    found = gallery(net="shortcut-cnn", methods=["DeepLift", "LRP EpsilonPlus", "integrated gradients"])
    assert found.mark_area is not None
    for tile in found.tiles:
        assert tile.on_mark is not None
        assert tile.mass is not None
        assert tile.on_mark > 5 * found.mark_area
        assert tile.on_mark > 5 * tile.mass
    assert re.search(r"The mark is 1\.3% of the picture; .* (\d\d) times its share", found.reading())


def test_the_gallery_fills_and_can_be_stopped() -> None:
    seen: list[AttributionGallery] = []
    stopped = False

    def show(make: Any) -> None:
        seen.append(make())

    progress = Progress(show=show, cancelled=lambda: stopped)
    REGISTRY["attribution_gallery"].run(LAB.for_job(progress), {"net": "digits-cnn", "methods": QUICK})
    counts = [len({tile.name for tile in one.tiles}) for one in seen]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert seen[-1].waiting == ["LRP EpsilonPlus"]
    stopped = True
    with pytest.raises(Cancelled):
        REGISTRY["attribution_gallery"].run(LAB.for_job(progress), {"net": "digits-cnn"})


def test_a_layer_may_be_any_with_places() -> None:
    found = gallery(methods=["Grad-CAM"], layer="blocks.3.conv")
    assert found.layer == "blocks.3.conv"
    assert found.layers.index("blocks.3.conv") == found.layers.index("blocks.3") - 1


@pytest.mark.parametrize(
    ("request_", "kind", "says"),
    [
        ({"layer": "block.3"}, UnknownName, "blocks.3"),
        ({"layer": "head"}, UnknownName, "places"),
        ({"target": 8}, BadInput, "0 to 7"),
        ({"contrast": 99}, BadInput, "0 to 7"),
        ({"target": 1, "contrast": 1}, BadInput, "against itself"),
        ({"methods": ["GradCAM"]}, UnknownName, "Grad-CAM"),
        ({"net": "shape-cnn"}, UnknownName, "shapes-cnn"),
        ({"picture": "shape:3"}, UnknownName, "shapes"),
        ({"target": -1}, BadInput, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_named(request_: dict[str, Any], kind: type[LabError], says: str) -> None:
    with pytest.raises(kind) as raised:
        gallery(**request_)
    assert says in f"{raised.value.message} {raised.value.hint}"


def test_a_constant_picture_and_a_dead_net_say_so(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Pillow.new("RGB", (64, 64), (90, 90, 90)).save(grey)
    found = gallery(picture=str(grey), methods=["saliency", "integrated gradients", "Grad-CAM"])
    assert all("constant" in note for tile in found.tiles for note in tile.notes[:1])
    assert all(tile.notes for tile in found.tiles)
    assert (found.picture.mask, found.area) == (None, None)

    dead = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        cast("nn.Conv2d", dead[0]).bias.fill_(-100.0)  # type: ignore[union-attr]
    LAB.add_vision("dead", lw.wrap(dead, size=16, name="dead"))
    silent = gallery(net="dead", picture="shapes:0", methods=[*QUICK, "integrated gradients"])
    assert all("zero everywhere" in " ".join(tile.notes) for tile in silent.tiles if tile.family == "slope")
    assert all(np.isfinite([tile.most, tile.full, tile.mean, tile.total]).all() for tile in silent.tiles)
    assert all(tile.notes for tile in silent.tiles)
    checked = checks(net="dead", picture="shapes:0", method="saliency")
    assert np.isfinite(checked.spearman).all()


def test_a_net_without_places_has_no_class_activation_maps() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 16), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    LAB.add_vision("flat", lw.wrap(flat, size=16, name="flat"))
    found = gallery(net="flat", picture="shapes:0")
    assert (found.layers, found.layer) == ([], None)
    assert {tile.name for tile in found.tiles} == set(KINDS) - set(MAPS)
    assert {one.name for one in found.absent} == set(MAPS)
    with pytest.raises(BadInput, match="no layer with places"):
        checks(net="flat", picture="shapes:0", method="Grad-CAM")


def test_score_cam_of_many_channels_waits_to_be_asked_for() -> None:
    wide = nn.Sequential(
        nn.Conv2d(3, 300, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(300, 2)
    )
    LAB.add_vision("wide", lw.wrap(wide, size=12, name="wide"))
    found = gallery(net="wide", picture="shapes:0")
    assert [(one.name, one.runs) for one in found.later] == [("Score-CAM", 300)]
    asked = gallery(net="wide", picture="shapes:0", methods=["Score-CAM"])
    assert [tile.name for tile in asked.tiles] == ["Score-CAM"]


def test_expected_gradients_start_from_the_set_or_say_that_there_is_none(tmp_path: Path) -> None:
    net = LAB.vision("digits-cnn")
    made = make_pictures("digits", 100, part="train")
    others = torch.cat([net.prepare(image) for image in made.images])
    x = net.prepare(make_pictures("digits", 4).images[3])
    asked = gallery(net="digits-cnn", picture="digits:3", target=2, methods=["expected gradients"], seed=5)
    own = expected_gradients(net.module, x, logit(2), baselines=others, samples=100, seed=5)
    np.testing.assert_allclose(asked.tiles[0].map, own.map[0], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        away = float(net.module(x)[0, 2] - net.module(others)[:, 2].mean())
    assert asked.tiles[0].expected == pytest.approx(away, abs=1e-4)

    LAB.add_vision(
        "mine", lw.wrap(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=8)
    )
    grey = tmp_path / "grey.png"
    Pillow.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(grey)
    found = gallery(net="mine", picture=str(grey))
    assert [one.name for one in found.absent] == ["expected gradients"]
    assert "expected gradients" not in {tile.name for tile in found.tiles}
    with pytest.raises(BadInput, match="start from other pictures like"):
        checks(net="mine", picture=str(grey), method="expected gradients")


# ---- checks ----------------------------------------------------------------------------------------


def test_checks_tell_what_was_learned_from_what_was_not() -> None:
    found = checks(method="DeepLift")
    assert found.complete
    assert found.randomized[0] == ""
    assert found.randomized[-1] == "blocks.0.conv"
    assert found.spearman[0] == pytest.approx(1)
    assert abs(found.spearman[-1]) < 0.15
    assert found.thumbnails.shape == (len(found.randomized), 56, 56)
    assert np.abs(found.thumbnails[0]).max() == pytest.approx(1, abs=1e-6)
    assert (found.deletion[0], found.insertion[-1]) == (
        pytest.approx(found.insertion[-1]),
        pytest.approx(found.deletion[0]),
    )
    assert found.areas[0] < found.areas[2] + 0.1
    assert "random weights" in found.reading()


def test_fewer_measurements_randomize_as_many_layers() -> None:
    model = LAB.vision("digits-cnn")
    x = model.prepare(LAB.picture("", "digits-cnn").image)
    each = randomization(model.module, x, 6, saliency, seed=3)
    few = randomization(model.module, x, 6, saliency, seed=3, measured=2)
    assert few[0].layer == ""
    assert len(few) == 3
    assert few[-1].layer == each[-1].layer
    assert torch.equal(few[-1].result.values, each[-1].result.values)


# ---- the table -------------------------------------------------------------------------------------


def test_the_table_knows_the_figure_and_the_mark() -> None:
    asked = ["DeepLift", "saliency, absolute", "Grad-CAM", "guided backprop"]
    run = REGISTRY["attribution_table"].run
    shapes = cast("AttributionTable", run(LAB, {"n": 12, "methods": asked}))
    by = {row.name: row for row in shapes.rows}
    assert set(by) == set(asked)
    assert by["DeepLift"].pointing >= 0.9
    assert by["DeepLift"].mass > 2 * shapes.area
    assert abs(by["DeepLift"].random) < 0.1 < by["guided backprop"].random
    error = by["DeepLift"].error
    assert error is not None
    assert error < 1e-3
    assert (by["Grad-CAM"].error, by["Grad-CAM"].on_mark, shapes.mark_area) == (None, None, None)
    marked = cast("AttributionTable", run(LAB, {"net": "shortcut-cnn", "n": 12, "methods": ["DeepLift"]}))
    (row,) = marked.rows
    assert marked.mark_area is not None
    assert row.on_mark is not None
    assert row.on_mark > 5 * marked.mark_area
    assert row.pointing_mark == 1
    assert "on the mark" in marked.reading()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"pictures": "shape"}, "no set of pictures 'shape'"),
        ({"pictures": "digits"}, "does not tell apart"),
        ({"n": 1}, "greater than or equal to 2"),
    ],
)
def test_a_set_that_does_not_fit_is_named(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        REGISTRY["attribution_table"].run(LAB, request_)


# ---- a file ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not (BUNDLE / "standalone.js").is_file(), reason="the web bundle is not built")
def test_a_file_holds_the_open_maps_checks() -> None:
    asked = {"net": "digits-cnn", "methods": QUICK}
    html = export_view(LAB, "attribution_gallery", asked, {"method": "Grad-CAM", "map": "blocks.1"})
    island = re.search(r'id="llm-workings-data">(.*?)</script>', html, re.DOTALL)
    assert island is not None
    held = json.loads(island[1])
    named = [
        (one["view"], one["request"].get("method"), one["request"].get("layer")) for one in held["answers"]
    ]
    assert named == [("attribution_gallery", None, None), ("attribution_checks", "Grad-CAM", "blocks.1")]
    assert any("checks" in sentence for sentence in held["left_out"])


def test_every_payload_says_itself() -> None:
    for payload in (gallery(net="digits-cnn", methods=QUICK), checks(net="digits-cnn")):
        assert isinstance(payload, Payload)
        assert len(payload.reading()) > 60
