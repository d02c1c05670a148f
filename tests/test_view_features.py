"""The page of feature visualization: what is climbed, beside which real pictures, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from llm_workings.attribution.visualize.objectives import channel
from llm_workings.core.errors import BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.data.pictures import make_pictures
from llm_workings.export.record import export_view
from llm_workings.models.vision_load import load_vision
from llm_workings.models.vision_wrap import wrap
from llm_workings.views import REGISTRY
from llm_workings.views.feature_visualization import FeatureVisualization
from llm_workings.views.lab import Lab

SHORT: dict[str, Any] = {"steps": 6, "seeds": 2}


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


def climbed(lab: Lab, **asked: Any) -> FeatureVisualization:
    return REGISTRY["feature_visualization"].run(lab, {**SHORT, **asked})  # type: ignore[return-value]


def test_the_real_pictures_are_those_that_excite_it_most(lab: Lab) -> None:
    shown = climbed(lab, layer="blocks.5", unit=11, picture="shapes:17")
    model, pictures = load_vision("shapes-cnn"), make_pictures("shapes", 200)
    run = model.run((torch.from_numpy(pictures.images) - model.mean) / model.std, ["blocks.5"])
    maps = run["blocks.5"][:, 11].numpy()
    values = maps.mean((1, 2))
    order = np.argsort(-values, kind="stable")[:10]
    assert shown.best.names == [f"shapes:{at}" for at in order]
    assert np.allclose(shown.best.values, values[order], atol=1e-5)
    assert shown.best.labels == [pictures.classes[pictures.labels[at]] for at in order]
    assert np.array_equal(
        shown.best.pixels[0], (pictures.images[order[0]].transpose(1, 2, 0) * 255).round().astype(np.uint8)
    )
    row, column = np.unravel_index(maps[order[0]].argmax(), maps[order[0]].shape)
    high, wide = maps.shape[1:]
    assert np.allclose(shown.best.peaks[0], [(row + 0.5) / high, (column + 0.5) / wide])
    assert shown.real_median == pytest.approx(float(np.median(values)), abs=1e-5)
    assert shown.here.names == ["shapes:17"]
    assert shown.here.values[0] == pytest.approx(values[17], abs=1e-5)


def test_the_way_is_there_and_its_values_are_those_of_its_pictures(lab: Lab) -> None:
    shown = climbed(lab, layer="blocks.5", unit=11, steps=30)
    assert shown.complete
    assert (shown.frame_steps[0], shown.frame_steps[-1]) == (0, 30)
    assert len(shown.frames) == len(shown.frame_steps) == len(shown.frame_values)
    model = load_vision("shapes-cnn")
    last = torch.from_numpy(shown.frames[-1].astype(np.float32) / 255).permute(0, 3, 1, 2)
    run = model.run((last - model.mean) / model.std, ["blocks.5"])
    assert np.allclose(channel("blocks.5", 11).value(run.activations), shown.frame_values[-1], rtol=0.03)
    assert (shown.frame_values[-1] > shown.frame_values[0]).all()
    times = shown.frame_values[-1].max() / shown.best.values[0]
    assert f"{times:.1f} times as much" in shown.compared or f"{times:.2f} times" in shown.compared
    assert shown.compared in shown.reading()
    assert unpack(pack(shown), FeatureVisualization).compared == shown.compared


@pytest.mark.parametrize(
    ("asked", "name", "units"),
    [
        ({"kind": "logit", "unit": 5}, "the logit of ring", 8),
        ({"kind": "direction", "unit": 5, "layer": "blocks.6"}, "the direction of ring in blocks.6", 8),
        ({"kind": "neuron", "layer": "blocks.3", "unit": 2}, "unit 2 of blocks.3, at the middle", 32),
        (
            {"kind": "pair", "layer": "blocks.3", "unit": 2, "other": 9},
            "units 2 and 9 of blocks.3",
            32,
        ),
        ({"net": "digits-cnn", "layer": "blocks.1", "unit": 3}, "unit 3 of blocks.1", 32),
    ],
)
def test_each_kind_says_what_it_climbs(lab: Lab, asked: dict[str, Any], name: str, units: int) -> None:
    shown = climbed(lab, **asked)
    assert (shown.subject_name, shown.units) == (name, units)
    assert np.isfinite(shown.frame_values).all()
    assert (np.diff(shown.best.values) <= 0).all()


def test_a_class_s_logit_and_direction_are_highest_for_the_class(lab: Lab) -> None:
    for kind in ("logit", "direction"):
        shown = climbed(lab, kind=kind, unit=5, layer="" if kind == "logit" else "blocks.7")
        assert set(shown.best.labels) == {"ring"}
    assert np.isnan(climbed(lab, kind="logit", unit=5).best.peaks).all()


def test_what_is_left_open_is_filled_in(lab: Lab) -> None:
    shown = climbed(lab)
    assert shown.layer == "blocks.5"
    assert len(set(shown.best.labels)) == 1  # it tells one class from the others
    assert climbed(lab, kind="logit", picture="shapes:13").unit == 5  # the net's answer to a ring
    assert climbed(lab, kind="pair").other not in (None, shown.unit)


def test_it_fills_as_it_comes_and_can_be_stopped() -> None:
    partials: list[FeatureVisualization] = []

    def show(make: Any) -> None:
        partials.append(make())

    lab = Lab().for_job(Progress(show=show))
    whole = climbed(lab, layer="blocks.5", unit=11)
    assert [len(partial.frames) for partial in partials] == list(range(1, len(whole.frames) + 1))
    assert [partial.complete for partial in partials][-2:] == [False, True]
    assert np.array_equal(partials[2].frames, whole.frames[:3])
    again: list[str] = []
    kept = lab.for_job(Progress(listen=lambda what, done, total: again.append(what)))
    assert np.array_equal(climbed(kept, layer="blocks.5", unit=11, picture="cat").frames, whole.frames)
    assert "climbing" not in again  # another picture of the page costs no ascent
    stopped = Lab().for_job(Progress(cancelled=lambda: True))
    with pytest.raises(Cancelled):
        climbed(stopped, layer="blocks.5", unit=11)


def test_a_net_without_a_set_says_so(lab: Lab) -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    lab.add_vision("mine", wrap(module, size=16, name="mine"))
    shown = climbed(lab, net="mine", layer="0", unit=1, picture="shapes:3")
    assert "No set of pictures" in shown.about_real
    assert sorted(shown.best.names) == ["cat", "shapes:3"]
    assert len(shown.drawn.names) == 0
    with pytest.raises(BadInput, match="no class's direction"):
        climbed(lab, net="mine", kind="direction", layer="0", unit=1)
    lab.add_vision("mine", wrap(module, size=32, name="mine"))  # another net under the name
    assert climbed(lab, net="mine", layer="0", unit=1, picture="shapes:3").frames.shape[2] == 32


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"layer": "blocks.99", "unit": 0}, UnknownName, "blocks.9"),
        ({"layer": "blocks.5", "unit": 48}, BadInput, "no unit 48: it has 48"),
        ({"kind": "logit", "unit": 8}, BadInput, "no class 8"),
        ({"kind": "pair", "layer": "blocks.5", "unit": 1, "other": 99}, BadInput, "no unit 99"),
        ({"net": "shapes-cmn"}, UnknownName, "shapes-cmn"),
        ({"steps": 0}, BadInput, "steps = 0"),
        ({"kind": "chanel"}, BadInput, "kind = 'chanel'"),
        ({"kind": "logit", "unit": 1, "diversity": 3.0}, BadInput, "Diversity"),
    ],
)
def test_what_cannot_be_climbed_is_said(
    lab: Lab, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        climbed(lab, **asked)


def test_the_file_carries_it(lab: Lab) -> None:
    file = export_view(lab, "feature_visualization", {**SHORT, "layer": "blocks.5", "unit": 11})
    assert "unit 11 of blocks.5" in file
    assert "each is climbed" in file
