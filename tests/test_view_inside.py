"""What the pages that look inside vision nets say, against the library under them."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from llm_workings.activations.adversarial import attack, distances, inside, noise_like
from llm_workings.activations.collect import collect
from llm_workings.activations.layers import gather, similarity
from llm_workings.activations.mistakes import auroc, doubt
from llm_workings.activations.units import describe
from llm_workings.core.errors import BadInput, Cancelled, NotSupported, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.data.pictures import make_pictures
from llm_workings.models.vision_load import load_vision
from llm_workings.views import REGISTRY
from llm_workings.views.activation_heatmap import ActivationHeatmap
from llm_workings.views.activation_map import ActivationMap
from llm_workings.views.adversary import Adversary
from llm_workings.views.lab import Lab
from llm_workings.views.picture_sets import reference_of, stages

FEW = {"n": 24, "steps": 3}
BLOCKS = [f"blocks.{at}" for at in range(8)]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(files=False)


def misled(lab: Lab, **request: Any) -> Adversary:
    payload = REGISTRY["adversary"].run(lab, {**FEW, **request})
    assert isinstance(payload, Adversary)
    return payload


def test_a_misleading_picture_is_what_the_library_makes(lab: Lab) -> None:
    payload = misled(lab, picture="shapes:5", seed=3)
    model = lab.vision("shapes-cnn")
    pictures = make_pictures("shapes", 200)
    clean, label = pictures.images[5:6], pictures.labels[5:6]
    made = attack(model, clean, label, epsilon=4 / 255, steps=3, seed=3)
    change = made.numpy()[0] - clean[0]
    np.testing.assert_allclose(payload.change, change.transpose(1, 2, 0), atol=2e-5)  # float16
    assert 0 < np.abs(payload.change).max() <= 4 / 255 + 1e-4
    assert payload.layers == BLOCKS == stages(model)
    assert payload.away == payload.picture.label == int(label[0])
    logits = model.run((made - model.mean) / model.std).logits[0].detach().numpy()
    assert payload.after[0].index == int(logits.argmax())
    assert payload.after[0].logit == pytest.approx(float(logits.max()), abs=1e-4)
    assert any(one.index == payload.away for one in payload.after)
    import torch

    far = distances(model, torch.from_numpy(clean), made, BLOCKS)
    np.testing.assert_allclose(payload.own_distance, far[:, 0], rtol=1e-5)
    noisy = noise_like(torch.from_numpy(clean), made, seed=3)
    assert float((noisy - torch.from_numpy(clean)).abs().max()) == pytest.approx(4 / 255, abs=1e-5)
    np.testing.assert_allclose(
        payload.own_noise, distances(model, torch.from_numpy(clean), noisy, BLOCKS)[:, 0], rtol=1e-5
    )


def test_the_set_is_measured_as_the_library_does(lab: Lab) -> None:
    payload = misled(lab, attack="fgsm", epsilon=6)  # FGSM draws nothing, so parts equal the whole
    model, pictures = lab.vision("shapes-cnn"), make_pictures("shapes", 200)
    clean, labels = pictures.images[:24], pictures.labels[:24]
    made = attack(model, clean, labels, "fgsm", epsilon=6 / 255)
    whole = inside(model, clean, made, labels, reference_of(lab, "shapes-cnn").images, BLOCKS)
    np.testing.assert_allclose(payload.distance, whole.distance, rtol=1e-4)
    for at, name in enumerate(BLOCKS):
        np.testing.assert_allclose(payload.strangeness[:, at].ravel(), whole.strangeness[name], rtol=1e-3)
        assert payload.detection[at] == pytest.approx(whole.detection[name], abs=3e-3)
    assert payload.baseline == pytest.approx(whole.baseline, abs=3e-3)
    assert (payload.right, payload.fooled) == pytest.approx((whole.right, whole.fooled))
    positive = np.repeat([False, True], 24)
    assert payload.detection[payload.best()] == pytest.approx(
        max(auroc(payload.strangeness[:, at].ravel(), positive) for at in range(8))
    )
    said = payload.reading()
    assert f"{payload.layers[payload.best()]} tells them with an AUROC" in said
    assert unpack(pack(payload), Adversary).reading() == said


def test_another_picture_measures_the_set_no_second_time(lab: Lab) -> None:
    first = misled(lab, picture="shapes:1")
    steps: list[str] = []
    other = misled(lab.for_job(Progress(lambda what, *_: steps.append(what))), picture="shapes:9")
    assert "misleading the set" not in steps
    np.testing.assert_array_equal(first.strangeness, other.strangeness)
    assert not np.allclose(first.own_distance, other.own_distance)


def test_it_fills_in_and_can_be_stopped(lab: Lab) -> None:
    shown: list[Adversary] = []
    progress = Progress(
        cancelled=lambda: len(shown) > 1,
        show=lambda make: shown.append(make()),  # type: ignore[arg-type]
    )
    with pytest.raises(Cancelled):
        misled(lab.for_job(progress), n=60, seed=8)
    assert shown[0].done == 0
    assert np.isnan(shown[0].detection).all()
    assert "Of 0" not in shown[0].reading()
    assert shown[1].done == 20
    assert not shown[1].complete


def test_a_picture_of_no_set_has_no_true_class(lab: Lab) -> None:
    payload = misled(lab, picture="cat")
    assert payload.picture.label is None
    assert payload.away == payload.before[0].index
    grey = misled(lab, net="digits-cnn")
    assert grey.change.shape == (*grey.net.size, 3)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"epsilon": 0}, BadInput, "epsilon = 0"),
        ({"attack": "cw"}, BadInput, "attack = 'cw'"),
        ({"n": 3}, BadInput, "n = 3"),
        ({"net": "shape-cnn"}, UnknownName, "shape-cnn"),
        ({"picture": "shapes"}, BadInput, "no picture 'shapes'"),
    ],
)
def test_what_cannot_be_misled(
    lab: Lab, request_: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        misled(lab, **request_)


# ---- layers -------------------------------------------------------------------------------------


def mapped(lab: Lab, **request: Any) -> ActivationMap:
    payload = REGISTRY["activation_map"].run(lab, {"n": 48, **request})
    assert isinstance(payload, ActivationMap)
    return payload


def test_the_map_is_what_the_library_measures(lab: Lab) -> None:
    payload = mapped(lab, seed=2)
    pictures = make_pictures("shapes", 200)
    images, labels = pictures.images[:48], pictures.labels[:48]
    found = collect(lab.vision("shapes-cnn"), images, labels, BLOCKS)
    for at, one in enumerate(gather(found.layers, labels, seed=2)):
        np.testing.assert_allclose(payload.flat[at], one.flat, atol=1e-4)
        measured = (payload.agreement[at], payload.silhouette[at], payload.separability[at])
        assert measured == pytest.approx((one.agreement, one.silhouette, one.separability), abs=1e-6)
        assert payload.shares[at] == pytest.approx(one.shares, abs=1e-6)
    np.testing.assert_allclose(payload.alike, similarity(found.layers), atol=1e-6)
    np.testing.assert_allclose(np.diag(payload.alike), 1, atol=1e-6)
    shortcut = collect(lab.vision("shortcut-cnn"), images, layers=BLOCKS)
    assert payload.other == "shortcut-cnn"
    np.testing.assert_allclose(payload.across, similarity(found.layers, shortcut.layers), atol=1e-6)
    foretold = payload.foretold
    assert foretold is not None
    noisy = np.clip(images + np.random.default_rng(2).normal(0, foretold.noise, images.shape), 0, 1)
    seen = collect(lab.vision("shapes-cnn"), noisy.astype(np.float32), labels, BLOCKS)
    assert foretold.wrong == int((seen.answers != labels).sum())
    assert foretold.doubt == pytest.approx(auroc(doubt(seen.logits), seen.answers != labels), abs=1e-6)
    assert f"gets {foretold.wrong} of 48 wrong" in payload.reading()
    np.testing.assert_array_equal(payload.labels, labels)
    small = images[7].reshape(3, 32, 2, 32, 2).mean((2, 4)).transpose(1, 2, 0)
    np.testing.assert_array_equal(payload.thumbnails[7], (small * 255).round().astype(np.uint8))
    assert unpack(pack(payload), ActivationMap).reading() == payload.reading()


def test_the_map_fills_layer_by_layer(lab: Lab) -> None:
    shown: list[ActivationMap] = []
    progress = Progress(
        cancelled=lambda: len(shown) > 2,
        show=lambda make: shown.append(make()),  # type: ignore[arg-type]
    )
    with pytest.raises(Cancelled):
        mapped(lab.for_job(progress), seed=9)
    assert [one.done for one in shown] == [1, 2, 3]
    assert np.isfinite(shown[0].flat[0]).all()
    assert np.isnan(shown[0].flat[1]).all()
    assert np.isnan(shown[2].alike).all()
    assert "blocks.2" in shown[2].reading()


def test_what_cannot_be_mapped(lab: Lab) -> None:
    with pytest.raises(NotSupported, match="no set of pictures with known classes"):
        mapped(lab, net="efficientnet-lite0")
    with pytest.raises(BadInput, match="'digits-cnn' reads pictures of"):
        mapped(lab, other="digits-cnn")
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(NotSupported, match="UMAP is not installed"):
            mapped(lab, drawing="umap")


# ---- units --------------------------------------------------------------------------------------


def heat(lab: Lab, **request: Any) -> ActivationHeatmap:
    payload = REGISTRY["activation_heatmap"].run(lab, {"n": 48, **request})
    assert isinstance(payload, ActivationHeatmap)
    return payload


@pytest.mark.parametrize("order", ["class", "cluster", "none"])
def test_the_heatmap_holds_every_unit_for_every_picture(lab: Lab, order: str) -> None:
    payload = heat(lab, order=order, layer="blocks.7")
    pictures = make_pictures("shapes", 200)
    images, labels = pictures.images[:48], pictures.labels[:48]
    found = collect(lab.vision("shapes-cnn"), images, labels, ["blocks.7"])
    np.testing.assert_allclose(payload.values, found.at("blocks.7").T, atol=1e-6)
    assert sorted(payload.unit_order) == list(range(48))
    assert sorted(payload.picture_order) == list(range(48))
    for unit in (0, 17):
        assert payload.units[unit].flags == list(describe(found, "blocks.7", unit).flags)

    def unlike(rows: np.ndarray) -> float:
        """The mean of 1 - correlation of rows beside each other."""
        moving = rows[np.ptp(rows, axis=1) > 1e-12].astype(np.float64)
        return float(np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in pairwise(moving)]))

    if order == "class":
        assert (np.diff(payload.labels[payload.picture_order].astype(int)) >= 0).all()
        favourites = [payload.units[unit].favourite for unit in payload.unit_order]
        assert favourites == sorted(favourites)  # type: ignore[type-var]
    elif order == "cluster":
        assert unlike(payload.values[payload.unit_order]) < 0.8 * unlike(payload.values)
        assert unlike(payload.values.T[payload.picture_order]) < 0.8 * unlike(payload.values.T)
    else:
        np.testing.assert_array_equal(payload.unit_order, np.arange(48))


def test_a_dead_unit_and_a_doubled_one_are_marked(lab: Lab) -> None:
    model = load_vision("shapes-cnn")
    block = dict(model.module.named_modules())["blocks.6"]
    kept = block.register_forward_hook(_dead_and_doubled)
    other = Lab()
    other.add_vision("shapes-cnn", model)
    payload = heat(other)
    kept.remove()
    assert payload.layer == "blocks.6"
    assert payload.flagged("dead") == [3]
    assert {5, 9} <= set(payload.flagged("doubled"))
    assert "doubled: it goes with unit 9 at a correlation of 1.000" in payload.units[5].flags
    assert "1 dead" in payload.reading()
    clustered = heat(other, order="cluster")
    assert clustered.unit_order[-1] == 3  # what never changes goes with nothing
    rows = list(clustered.unit_order)
    assert abs(rows.index(5) - rows.index(9)) == 1


def _dead_and_doubled(module: Any, inputs: Any, output: Any) -> Any:
    changed = output.clone()
    changed[:, 3] = 0
    changed[:, 9] = 2 * changed[:, 5]
    return changed


def test_a_layer_that_is_not_there_suggests_one(lab: Lab) -> None:
    with pytest.raises(UnknownName, match=r"blocks\.66") as caught:
        heat(lab, layer="blocks.66")
    assert "blocks.6" in caught.value.hint
