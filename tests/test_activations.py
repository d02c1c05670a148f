"""Units and layers over a set of pictures, and pictures made to mislead."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from llm_workings.activations.adversarial import attack, inside
from llm_workings.activations.collect import collect
from llm_workings.activations.layers import cka, gather, separability, similarity
from llm_workings.activations.mistakes import auroc, doubt, foresee
from llm_workings.activations.units import dead, describe, duplicates
from llm_workings.core.errors import BadInput, BadShape, UnknownName
from llm_workings.models.vision_wrap import VisionModel, wrap

SIDE = 12
CLASSES = 3


def pictures(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise in which one of three colours is brighter: the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    images = rng.uniform(0, 0.5, (n, 3, SIDE, SIDE)).astype(np.float32)
    images[np.arange(n), labels] += 0.25
    return images, labels


def planted() -> VisionModel:
    """Six units by hand: one a colour, a dead one, one that is the first again, one of two classes."""
    conv = nn.Conv2d(3, 6, 1)
    weight = torch.zeros(6, 3)
    weight[0, 0] = weight[1, 1] = weight[2, 2] = 1
    weight[3] = -1
    weight[4, 0] = 2
    weight[5, 0] = weight[5, 1] = 1
    conv.weight.data = weight[:, :, None, None]
    conv.bias.data = torch.tensor([-0.3, -0.3, -0.3, -1.0, -0.6, -0.6])
    head = nn.Linear(6, CLASSES, bias=False)
    head.weight.data = torch.zeros(CLASSES, 6)
    head.weight.data[0, 0] = head.weight.data[1, 1] = head.weight.data[2, 2] = 20.0
    return wrap(
        nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), ["0", "1"], size=SIDE
    )


def test_what_is_collected_is_what_the_layers_answer() -> None:
    model, (images, labels) = planted(), pictures(70)
    found = collect(model, images, labels, batch=16)
    run = model.run(torch.from_numpy(images), ["1"])
    assert np.allclose(found.at("1"), run["1"].mean((2, 3)), atol=1e-6)
    assert np.allclose(found.logits, run.logits, atol=1e-6)
    largest = collect(model, images, labels, ["1"], pool="max")
    assert np.allclose(largest.at("1"), run["1"].amax((2, 3)), atol=1e-6)
    row, column = largest.peaks["1"][5, 2]
    assert float(run["1"][5, 2, row, column]) == float(largest.at("1")[5, 2])
    assert found.places["1"] == (SIDE, SIDE)
    assert (found.answers == labels).all()


def test_planted_units_are_found_and_named() -> None:
    model, (images, labels) = planted(), pictures()
    found = collect(model, images, labels)
    assert dead(found.at("1")).tolist() == [False, False, False, True, False, False]
    assert [(i, j) for i, j, _ in duplicates(found.at("1"))] == [(0, 4)]
    first, silent, mixed = (describe(found, "1", unit) for unit in (0, 3, 5))
    assert first.favourite == 0
    assert first.selectivity is not None
    assert first.selectivity > 0.5
    assert first.neighbours[0][0] == 4
    assert any("doubled" in flag and "unit 4" in flag for flag in first.flags)
    assert silent.flags[0].startswith("dead")
    assert mixed.in_effect is not None
    assert mixed.in_effect > 1.7
    assert (labels[first.top] == 0).all()
    values = found.at("1")[:, 0]
    assert values[first.top[0]] == values.max() == pytest.approx(first.largest)
    assert values[first.bottom[0]] == values.min()
    assert first.counts.sum() == len(images)
    assert first.by_class[1] == pytest.approx(values[labels == 1].mean(), abs=1e-6)


def test_layers_that_hold_the_class_are_told_from_those_that_do_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    middle = 8 * rng.normal(size=(3, 10))
    layers = {"noise": rng.normal(size=(120, 10)), "apart": middle[labels] + rng.normal(size=(120, 10))}
    noise, apart = gather(layers, labels)
    assert apart.agreement == pytest.approx(1)
    assert apart.separability == 1
    assert apart.silhouette > 0.6
    assert abs(noise.agreement) < 0.1
    assert noise.separability < 0.6
    assert noise.silhouette < 0.1
    assert apart.flat.shape == (120, 2)
    assert apart.shares is not None
    assert 0.5 < sum(apart.shares) <= 1
    assert separability(layers["apart"], labels)[1] == pytest.approx(1 / 3, abs=0.01)


def test_cka_is_blind_to_turning_and_size_and_zero_for_strangers() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(60, 30)), rng.normal(size=(60, 200))
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    assert cka(a, 3 * a @ turn + 5) == pytest.approx(1)
    assert abs(cka(a, b)) < 0.1
    assert cka(a, b, unbiased=False) > 0.4  # the plain one is taken in by many units
    mixed = cka(a, np.hstack((a, 2 * rng.normal(size=(60, 30)))))
    assert 0.1 < mixed < 0.9
    table = similarity({"a": a, "b": b})
    assert np.allclose(table, table.T)
    assert np.allclose(np.diag(table), 1)


def test_plain_cka_is_the_frobenius_form() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 7))
    xc, yc = x - x.mean(0), y - y.mean(0)
    wanted = np.linalg.norm(xc.T @ yc) ** 2 / (np.linalg.norm(xc.T @ xc) * np.linalg.norm(yc.T @ yc))
    assert cka(x, y, unbiased=False) == pytest.approx(wanted)


def test_the_area_under_the_curve_counts_pairs() -> None:
    score = np.array([0.1, 0.4, 0.4, 0.8])
    positive = np.array([False, True, False, True])
    assert auroc(score, positive) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert doubt(np.array([[0.0, 0.0], [50.0, 0.0]])).tolist() == pytest.approx([0.5, 0])


def test_mistakes_are_foreseen_where_the_layer_knows_and_not_from_shuffled_labels() -> None:
    rng = np.random.default_rng(3)
    n = 300
    hard = rng.random(n) < 0.4
    labels = rng.integers(0, 2, n)
    said = np.where(hard, 1 - labels, labels)
    logits = np.stack((1.0 - said, said.astype(float)), 1) * rng.uniform(1, 3, (n, 1))
    layers = {"knows": rng.normal(size=(n, 8)) + 2 * hard[:, None], "does not": rng.normal(size=(n, 8))}
    found = foresee(layers, logits, labels)
    assert found.wrong == hard.sum()
    assert found.by_layer["knows"] > 0.95
    assert abs(found.by_layer["does not"] - 0.5) < 0.12
    assert abs(found.shuffled["knows"] - 0.5) < 0.12
    assert abs(found.doubt - 0.5) < 0.12
    with pytest.raises(BadInput, match="too few"):
        foresee(layers, np.eye(2)[labels], labels)


def test_an_attack_stays_in_its_range_and_fools_the_net() -> None:
    model, (images, labels) = planted(), pictures(60)
    for kind in ("fgsm", "pgd"):
        made = attack(model, images, labels, kind, epsilon=0.2, steps=8)  # type: ignore[arg-type]
        assert (made - torch.from_numpy(images)).abs().max() <= 0.2 + 1e-6
        assert made.min() >= 0
        assert made.max() <= 1
        assert (model.run(made).logits.argmax(1).numpy() != labels).mean() > 0.9
    weak = attack(model, images, labels, epsilon=1e-4)
    assert (model.run(weak).logits.argmax(1).numpy() == labels).all()
    aimed = attack(model, images, labels, epsilon=0.3, aim=2)
    assert (model.run(aimed).logits.argmax(1) == 2).float().mean() > 0.9
    again = attack(model, images, labels, epsilon=0.3, aim=2, batch=7)
    assert again.shape == aimed.shape


def test_one_step_of_fgsm_is_the_sign_of_the_gradient() -> None:
    model, (images, labels) = planted(), pictures(6)
    x = (torch.from_numpy(images) * 0.5 + 0.25).requires_grad_()
    loss = nn.functional.cross_entropy(model.module(x), torch.from_numpy(labels))
    slope = torch.autograd.grad(loss, x)[0]
    made = attack(model, x.detach(), labels, "fgsm", epsilon=0.05)
    assert torch.allclose(made, x.detach() + 0.05 * slope.sign(), atol=1e-6)


def test_from_inside_the_misleading_are_further_away_than_noise() -> None:
    model, (images, labels) = planted(), pictures(60)
    made = attack(model, images, labels, epsilon=0.2)
    found = inside(model, images, made, labels, pictures(60, seed=9)[0])
    assert found.layers == ("0", "1")
    assert found.right == 1
    assert found.fooled > 0.9
    assert found.detection["1"] > 0.9
    run = model.run(torch.from_numpy(images[:1]), ["1"])["1"].flatten()
    other = model.run(made[:1], ["1"])["1"].flatten()
    assert found.distance[1, 0] == pytest.approx(float((other - run).norm() / run.norm()), rel=1e-5)
    same = inside(model, images, images, labels, pictures(60, seed=9)[0])
    assert same.fooled == 0
    assert same.distance.max() == 0
    assert same.detection["1"] == pytest.approx(0.5, abs=0.02)


def test_what_cannot_be_is_named() -> None:
    model, (images, labels) = planted(), pictures(9)
    found = collect(model, images, labels)
    with pytest.raises(BadInput, match="no unit 6"):
        describe(found, "1", 6)
    with pytest.raises(UnknownName, match="layer"):
        found.at("2")
    with pytest.raises(BadShape, match="reads"):
        collect(model, images[:, :, :5])
    with pytest.raises(BadInput, match="no pictures"):
        collect(model, images[:0])
    with pytest.raises(BadInput, match="labels"):
        collect(model, images, labels[:3])
    with pytest.raises(BadShape, match="same inputs"):
        cka(found.at("1"), found.at("1")[:4])
    with pytest.raises(BadInput, match="cannot be compared"):
        gather(found.layers, np.zeros(9, int))
    with pytest.raises(UnknownName, match="attack"):
        attack(model, images, labels, "cw")  # type: ignore[arg-type]
