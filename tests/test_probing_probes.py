"""Probes on vectors whose answers are known, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.errors import BadInput, BadShape
from llm_workings.probing.controls import control_labels, lookup, shuffled_labels
from llm_workings.probing.probes import Basis, fit_linear, fit_mlp, fit_ridge
from llm_workings.probing.solver import logistic


def planted(n: int = 600, d: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, a direction, and labels that say on which side of it each lies."""
    draw = np.random.default_rng(seed)
    direction = draw.standard_normal(d)
    direction /= np.linalg.norm(direction)
    x = draw.standard_normal((n, d)) * draw.uniform(0.1, 30, d)  # units of very different size
    return x, direction, (x @ direction > 0).astype(int)


def xor(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, 4))
    return x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)


def objective(probe: object, x: np.ndarray, labels: np.ndarray, l2: float) -> float:
    logits = x @ probe.weight.T + probe.bias  # type: ignore[attr-defined]
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(x)), labels]
    return float(losses.sum() + l2 / 2 * (probe.weight**2).sum())  # type: ignore[attr-defined]


def test_a_planted_direction_is_found() -> None:
    x, direction, labels = planted()
    probe = fit_linear(x[:400], labels[:400], l2=0.1)
    assert probe.accuracy(x[400:], labels[400:]) > 0.95
    found = (probe.weight[1] - probe.weight[0]) * x.std(0)  # as the vectors spread
    want = direction * x.std(0)
    assert found @ want / np.linalg.norm(found) / np.linalg.norm(want) > 0.99


def test_xor_is_found_by_a_hidden_layer_and_not_by_a_linear_probe() -> None:
    (x, labels), (asked, answers) = xor(3000, 0), xor(1000, 1)
    assert fit_linear(x, labels).accuracy(asked, answers) == pytest.approx(0.5, abs=0.06)
    assert fit_mlp(x, labels, epochs=20).accuracy(asked, answers) > 0.95


def test_an_mlp_is_the_same_again_and_leaves_the_shared_draws_alone() -> None:
    x, labels = xor(200, 0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit_mlp(x, labels, epochs=2, seed=3)
    assert torch.rand(1) == expected
    again = fit_mlp(x, labels, epochs=2, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.layers, again.layers, strict=True))


def test_shuffled_labels_are_not_found() -> None:
    x, _, labels = planted(2000)
    shuffled = shuffled_labels(labels[:1500], seed=1)
    assert sorted(shuffled) == sorted(labels[:1500])
    probe = fit_linear(x[:1500], shuffled)
    assert probe.accuracy(x[1500:], labels[1500:]) == pytest.approx(0.5, abs=0.08)
    assert fit_linear(x[:1500], labels[:1500]).accuracy(x[1500:], labels[1500:]) > 0.95


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("l2", [0.3, 10.0])
def test_the_minimum_is_scikit_learns(classes: int, l2: float) -> None:
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(classes)
    x = draw.standard_normal((300, 12)) @ draw.standard_normal((12, 12))
    x = (x - x.mean(0)) / x.std(0)
    labels = (x[:, :classes] + draw.standard_normal((300, classes))).argmax(1)
    ours = fit_linear(x, labels, l2=l2)
    if classes == 2:  # scikit-learn's two-class loss has one weight vector, worth two of half its size
        theirs = LogisticRegression(C=2 / l2, tol=1e-10, max_iter=5000).fit(x, labels)
        weight = np.concatenate((-theirs.coef_, theirs.coef_)) / 2
    else:
        theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000).fit(x, labels)
        weight = theirs.coef_
    assert ours.converged
    np.testing.assert_allclose(ours.weight, weight, atol=5e-3 * np.abs(weight).max())
    want = np.abs(theirs.predict_proba(x))
    logits = ours.logits(x)
    got = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(got / got.sum(1, keepdims=True), want, atol=2e-3)


def test_fits_made_together_are_those_made_alone() -> None:
    x, _, labels = planted(300, 10)
    basis = Basis(torch.from_numpy(x).float())
    targets = torch.from_numpy(
        np.stack([labels, shuffled_labels(labels), control_labels(labels.astype(str), labels)])
    )
    strengths = torch.tensor([0.5, 5.0, 50.0])
    together = logistic(basis.turned, targets, 2, strengths, tolerance=1e-6)
    for number in range(3):
        alone = logistic(
            basis.turned, targets[number : number + 1], 2, strengths[number : number + 1], tolerance=1e-6
        )
        torch.testing.assert_close(together.weight[:, number], alone.weight[:, 0], atol=2e-2, rtol=2e-2)


def test_with_more_units_than_vectors_the_minimum_is_still_one() -> None:
    x, _, labels = planted(30, 80)
    x = (x - x.mean(0)) / x.std(0)
    best = fit_linear(x, labels, l2=1.0)
    value = objective(best, x, labels, 1.0)
    draw = np.random.default_rng(0)
    for _ in range(20):
        moved = fit_linear(x, labels, l2=1.0)
        moved.weight[:] += 0.01 * draw.standard_normal(moved.weight.shape)
        assert objective(moved, x, labels, 1.0) > value - 1e-3


def test_ridge_is_scikit_learns() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(0)
    x = draw.standard_normal((200, 15)) * draw.uniform(0.1, 9, 15) + 4
    y = x @ draw.standard_normal(15) + draw.standard_normal(200) + 7
    probe = fit_ridge(x, y, l2=3.0)
    scaler = StandardScaler().fit(x)
    theirs = Ridge(alpha=3.0).fit(scaler.transform(x), y)
    np.testing.assert_allclose(probe.predict(x), theirs.predict(scaler.transform(x)), atol=1e-4)


def test_a_unit_that_never_changes_is_no_harm() -> None:
    x, _, labels = planted(100, 5)
    x[:, 2] = 1e6
    assert np.isfinite(fit_linear(x, labels).weight).all()
    assert fit_linear(x, labels).accuracy(x, labels) > 0.7


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_control_label_belongs_to_the_word_type(forms: list[str], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, len(forms))
    control = control_labels(forms, labels, seed)
    assert set(control) <= set(labels)
    assert len(set(zip(forms, control.tolist(), strict=True))) == len(set(forms))


def test_control_labels_are_as_common_as_the_labels() -> None:
    labels = np.repeat([0, 1, 2], [6000, 3000, 1000])
    control = control_labels([str(i) for i in range(10_000)], labels, 0)
    np.testing.assert_allclose(np.bincount(control) / 10_000, [0.6, 0.3, 0.1], atol=0.02)


def test_word_vectors_learn_a_control_task_of_seen_words_and_none_of_unseen_ones() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((40, 64))
    learned, seen = draw.integers(0, 20, 800), draw.integers(0, 20, 200)
    control = np.asarray(control_labels([str(i) for i in range(40)], np.array([0, 1]), 0))
    probe = fit_linear(vectors[learned], control[learned], l2=1.0)
    assert probe.accuracy(vectors[seen], control[seen]) == 1
    unseen = np.arange(20, 40)
    assert 0.2 < probe.accuracy(vectors[unseen], control[unseen]) < 0.8


def test_a_dictionary_says_the_most_common_label_of_a_word() -> None:
    train, labels = ["run", "run", "run", "the", "the"], np.array([1, 1, 0, 2, 2])
    assert lookup(train, labels, ["run", "the", "new"]).tolist() == [1, 2, 1]  # 1 and 2 tie; the first
    values = lookup(train, np.array([1.0, 2.0, 3.0, 5.0, 7.0]), ["run", "the", "new"])
    assert values.tolist() == pytest.approx([2, 6, 3.6])


def test_what_cannot_be_learned_is_refused() -> None:
    x, _, labels = planted(20, 3)
    with pytest.raises(BadInput, match="All 20 labels are the same"):
        fit_linear(x, np.zeros(20, int))
    with pytest.raises(BadInput, match="above 0"):
        fit_linear(x, labels, l2=0)
    with pytest.raises(BadShape, match=r"\[20, 3\] and the labels \[19\]"):
        fit_linear(x, labels[:19])
    with pytest.raises(BadInput, match="NaN"):
        fit_linear(np.full((20, 3), np.nan), labels)
    with pytest.raises(BadInput, match="label -1"):
        fit_linear(x, labels - 1)
    with pytest.raises(BadInput, match="nothing to learn"):
        fit_ridge(np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(BadShape, match=r"reads \[n, 3\]"):
        fit_linear(x, labels).predict(np.zeros((2, 4)))
