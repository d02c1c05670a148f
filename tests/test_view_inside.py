"""What the pages that look inside vision nets say, against the library under them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_workings.activations.adversarial import attack, distances, inside, noise_like
from llm_workings.activations.mistakes import auroc
from llm_workings.core.errors import BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.data.pictures import make_pictures
from llm_workings.views import REGISTRY
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
