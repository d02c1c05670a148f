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
from llm_workings.views.unit import Unit

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


# ---- one unit --------------------------------------------------------------------------------------


def card(lab: Lab, **asked: Any) -> Unit:
    return REGISTRY["unit"].run(lab, asked)  # type: ignore[return-value]


def test_a_unit_s_pictures_and_statistics(lab: Lab) -> None:
    shown = card(lab, layer="blocks.7", unit=29, picture="shapes:5")
    model, pictures = load_vision("shapes-cnn"), make_pictures("shapes", 200)
    maps = model.run((torch.from_numpy(pictures.images) - model.mean) / model.std, ["blocks.7"])["blocks.7"]
    values = maps[:, 29].mean((1, 2)).numpy()
    order = np.argsort(-values, kind="stable")
    assert shown.top.examples.names == [f"shapes:{at}" for at in order[:9]]
    assert shown.bottom.examples.names == [f"shapes:{at}" for at in order[::-1][:9]]
    assert shown.value == pytest.approx(values[5], abs=1e-5)
    assert shown.below == pytest.approx((values < values[5]).mean())
    assert np.allclose(shown.map, maps[5, 29].numpy(), atol=1e-5)
    assert shown.counts.sum() == shown.n == 200
    ring = pictures.classes.index("ring")
    assert shown.favourite == ring
    assert shown.by_class[ring] == pytest.approx(values[pictures.labels == ring].mean(), abs=1e-5)
    whole = np.clip(maps[:, 29].numpy(), 0, None)
    seen = sorted(
        {int(n.split(":")[1]) for g in (shown.top, shown.drawn, shown.bottom) for n in g.examples.names}
    )
    most = whole[seen].max()
    assert np.abs(shown.top.maps[0] / 255 - whole[order[0]] / most).max() <= 0.5 / 255 + 1e-5
    assert "strongest for ring" in shown.summary
    assert shown.reading().startswith(shown.summary)


@pytest.mark.parametrize(("layer", "unit"), [("blocks.7", 29), ("blocks.2", 3)])
def test_the_net_without_a_unit(lab: Lab, layer: str, unit: int) -> None:
    shown = card(lab, layer=layer, unit=unit, picture="shapes:5")
    model, pictures = load_vision("shapes-cnn"), make_pictures("shapes", 200)
    x = (torch.from_numpy(pictures.images) - model.mean) / model.std
    block = model.module.get_submodule(layer)
    with torch.no_grad():
        before = model.module(x).numpy()
    for each, value in zip(shown.without, (0.0, shown.mean), strict=True):
        handle = block.register_forward_hook(
            lambda module, inputs, output, value=value: torch.cat(
                (output[:, :unit], torch.full_like(output[:, :1], value), output[:, unit + 1 :]), 1
            )
        )
        with torch.no_grad():
            after = model.module(x).numpy()
        handle.remove()
        assert each.accuracy == pytest.approx((after.argmax(1) == pictures.labels).mean())
        assert each.changed == (after.argmax(1) != before.argmax(1)).sum()
        own = pictures.labels == 3
        assert each.by_class[3] == pytest.approx((after - before)[own, 3].mean(), abs=1e-4)
        assert each.scores[0].logit == pytest.approx(after[5].max(), abs=1e-4)
    with torch.no_grad():
        assert np.array_equal(model.module(x).numpy(), before)  # nothing is left hooked
    assert shown.accuracy == pytest.approx((before.argmax(1) == pictures.labels).mean())


def test_what_it_writes_is_what_holding_it_takes_away(lab: Lab) -> None:
    """Through a mean over places and a linear layer: weight times value."""
    shown = card(lab, layer="blocks.7", unit=29, picture="shapes:5")
    assert shown.writes is not None
    assert shown.writes.of == "the classes"
    model = load_vision("shapes-cnn")
    image = lab.picture("shapes:5", "shapes-cnn")
    logits = model.run(model.prepare(image.image)).logits[0].numpy()
    for score in shown.without[0].scores:
        weight = shown.writes.lengths[shown.writes.units.index(score.index)]
        assert score.logit == pytest.approx(logits[score.index] - weight * shown.value, abs=1e-4)


def test_what_it_reads_makes_it(lab: Lab) -> None:
    """The kernels, the norm's factor in them, give the unit of the first block up to what is added."""
    shown = card(lab, layer="blocks.0", unit=1, picture="shapes:5")
    assert shown.reads is not None
    assert sorted(shown.reads.names) == ["blue", "green", "red"]
    order = [shown.reads.names.index(name) for name in ("red", "green", "blue")]
    model = load_vision("shapes-cnn")
    x = model.prepare(lab.picture("shapes:5", "shapes-cnn").image)
    kernel = torch.from_numpy(shown.reads.kernels[order])[None]
    norm = model.module.get_submodule("blocks.0.norm")
    shift = norm.bias[1] - norm.running_mean[1] * norm.weight[1] / (norm.running_var[1] + norm.eps).sqrt()
    made = (torch.nn.functional.conv2d(x, kernel, padding=1)[0, 0] + shift).clamp(min=0)
    assert np.allclose(made.detach().numpy(), shown.map, atol=1e-4)
    above = card(lab, layer="blocks.2", unit=3).writes
    assert above is not None
    assert above.of == "blocks.3.conv"
    conv, after = model.module.get_submodule("blocks.3.conv"), model.module.get_submodule("blocks.3.norm")
    folded = conv.weight[:, 3] * (after.weight / (after.running_var + after.eps).sqrt())[:, None, None]
    assert np.allclose(above.kernels, folded[above.units].detach().numpy(), atol=1e-6)


def test_units_of_other_nets(lab: Lab) -> None:
    assert card(lab, net="digits-cnn", layer="blocks.1", unit=3).n == 200
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 6, 3, groups=6),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 4),
    )  # fmt: skip
    lab.add_vision("own", wrap(module, size=16, name="own"))
    shown = card(lab, net="own", layer="2", unit=4, picture="shapes:3")
    assert not shown.whole
    assert shown.reads is not None
    assert shown.reads.names == ["channel 4"]
    assert shown.writes is not None
    assert shown.writes.of == "the classes"
    assert (shown.accuracy, shown.favourite, shown.flags, shown.alike) == (None, None, [], [])
    assert "no set of pictures" in shown.summary
    assert shown.top.examples.names
    assert unpack(pack(shown), Unit).unit == 4
    with pytest.raises(BadInput, match="no unit 6: it has 6"):
        card(lab, net="own", layer="2", unit=6)


def test_a_card_is_kept(lab: Lab) -> None:
    card(lab, layer="blocks.3", unit=5)
    said: list[str] = []
    again = lab.for_job(Progress(listen=lambda what, done, total: said.append(what)))
    card(again, layer="blocks.3", unit=5, picture="cat")
    assert "running the pictures" not in said
    assert "running the set" not in said
    file = export_view(lab, "unit", {"layer": "blocks.3", "unit": 5})
    assert "unit 5 of blocks.3" in file
