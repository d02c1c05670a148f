"""LEACE: its guarantees as identities, and what erasing does to a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import headless, masked
from tiny_models import tiny

from llm_workings.core.errors import BadInput, BadShape, NotSupported
from llm_workings.core.progress import Progress
from llm_workings.probing.activations import collect
from llm_workings.probing.leace import effect_of_erasure, leace
from llm_workings.probing.probes import fit_linear

TEXTS = ["a b c d e", "f g h", "i j k l m n", "o p"]


def clouds(n: int = 900, d: int = 12, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Classes of unequal size whose means differ, in vectors that spread very unevenly."""
    draw = np.random.default_rng(0)
    labels = draw.choice(classes, n, p=np.array([0.5, 0.3, 0.2])[:classes] / sum([0.5, 0.3, 0.2][:classes]))
    mixing = draw.standard_normal((d, d)) * np.geomspace(0.1, 10, d)
    x = draw.standard_normal((n, d)) @ mixing.T + 3 * draw.standard_normal((classes, d))[labels] + 5
    return x, labels


def change(x: np.ndarray, y: np.ndarray) -> float:
    return float(((x - y) ** 2).sum(1).mean())


def test_afterwards_the_class_means_are_equal_and_nothing_is_correlated() -> None:
    x, labels = clouds()
    erased = leace(x, labels).apply(x)
    means = np.stack([erased[labels == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(means, np.broadcast_to(x.mean(0), means.shape), atol=1e-9)
    assert np.abs(np.stack([x[labels == k].mean(0) for k in range(3)]) - x.mean(0)).max() > 0.5


def test_a_linear_probe_falls_to_the_majority_rate() -> None:
    x, labels = clouds()
    eraser = leace(x, labels)
    majority = np.bincount(labels).max() / len(labels)
    assert fit_linear(x, labels, l2=0.1).accuracy(x, labels) > majority + 0.2
    probe = fit_linear(eraser.apply(x), labels, l2=0.1)
    assert probe.accuracy(eraser.apply(x), labels) == majority  # on what it learned from, exactly


def test_it_takes_away_one_dimension_fewer_than_there_are_classes_and_twice_is_once() -> None:
    x, labels = clouds()
    eraser = leace(x, labels)
    assert eraser.rank == 2
    assert leace(x, (labels > 0).astype(int)).rank == 1
    erased = eraser.apply(x)
    np.testing.assert_allclose(eraser.apply(erased), erased, atol=1e-9)
    np.testing.assert_allclose(eraser.right.T @ eraser.left, np.eye(2), atol=1e-9)  # a projection
    np.testing.assert_allclose(erased.mean(0), x.mean(0), atol=1e-9)


def test_it_changes_less_than_projecting_out_what_tells_the_classes_apart() -> None:
    """Theorem 4.3: the least squared change of all affine maps after which no class mean differs."""
    x, labels = clouds(classes=2)
    gap = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    gap /= np.linalg.norm(gap)
    naive = x - ((x - x.mean(0)) @ gap)[:, None] * gap
    np.testing.assert_allclose(naive[labels == 0].mean(0), naive[labels == 1].mean(0), atol=1e-9)
    ours = change(x, leace(x, labels).apply(x))
    assert ours < 0.9 * change(x, naive)
    # Any other projection along the gap that makes the means equal changes more.
    draw = np.random.default_rng(1)
    eraser = leace(x, labels)
    for _ in range(20):
        read = eraser.right[:, 0] + 0.05 * draw.standard_normal(x.shape[1])
        write = gap / (gap @ read)
        other = x - ((x - x.mean(0)) @ read)[:, None] * write
        np.testing.assert_allclose(other[labels == 0].mean(0), other[labels == 1].mean(0), atol=1e-9)
        assert change(x, other) > ours


def test_where_vectors_spread_evenly_it_is_the_projection_along_the_means() -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((4000, 5))
    labels = (np.arange(4000) % 2).astype(int)
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    x = x @ (vectors / np.sqrt(values)) @ vectors.T  # exactly white
    gap = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    gap /= np.linalg.norm(gap)
    np.testing.assert_allclose(leace(x, labels).apply(x), x - (x @ gap)[:, None] * gap, atol=1e-9)


def test_directions_without_variance_stay_untouched() -> None:
    x, labels = clouds()
    wide = np.concatenate((x, np.full((len(x), 3), 2.0), x[:, :1] * 2), 1)  # constant, and a copy
    eraser = leace(wide, labels)
    erased = eraser.apply(wide)
    np.testing.assert_allclose(erased[:, 12:15], 2.0, atol=1e-6)
    means = np.stack([erased[labels == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(means, np.broadcast_to(means[0], means.shape), atol=1e-6)


def test_a_random_eraser_has_the_rank_and_not_the_concept() -> None:
    x, labels = clouds()
    eraser = leace(x, labels)
    other = eraser.random(1)
    assert other.rank == eraser.rank
    erased = other.apply(x)
    np.testing.assert_allclose(other.apply(erased), erased, atol=1e-8)
    majority = np.bincount(labels).max() / len(labels)
    assert fit_linear(erased, labels, l2=0.1).accuracy(erased, labels) > majority + 0.1
    np.testing.assert_allclose(eraser.random(1).left, other.left)
    assert not np.allclose(eraser.random(2).left, other.left)
    # It takes away as much of the whitened variance.
    white = (x - x.mean(0)) @ eraser.whiten
    lost = [change(white, (e.apply(x) - x.mean(0)) @ eraser.whiten) for e in (eraser, other)]
    assert lost == pytest.approx([2, 2], rel=1e-6)


def test_what_cannot_be_erased_is_refused() -> None:
    x, labels = clouds()
    with pytest.raises(BadInput, match="one class only"):
        leace(x, np.zeros(len(x)))
    with pytest.raises(BadShape, match="labels"):
        leace(x, labels[1:])
    with pytest.raises(BadInput, match="NaN"):
        leace(np.where(x > 5, np.nan, x), labels)
    with pytest.raises(BadShape, match=r"12 wide; given was \[3, 5\]"):
        leace(x, labels).apply(np.zeros((3, 5)))


# --- in a model ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("site", ["resid_post.1", "z.1"])
def test_the_edit_erases_as_the_arrays_do(kind: str, site: str) -> None:
    model = tiny(kind)
    found = collect(model, TEXTS_AS_WORDS, sites=site)
    labels = (np.arange(len(found)) % 3 == 0).astype(int)
    eraser = leace(found.at(site), labels)
    edited = collect(model, TEXTS_AS_WORDS, sites=site, edits=eraser.edit(site))
    np.testing.assert_allclose(edited.at(site), eraser.apply(found.at(site).astype(float)), atol=1e-4)
    run = model.run("a b c", keep=site, edits=eraser.edit(site, torch.tensor([[False, True, False]])))
    plain = model.run("a b c", keep=site)
    same = (run[site] == plain[site]).flatten(2).all(-1)[0]
    assert same.tolist() == [True, False, True]
    assert "erase 1 dimensions at" in str(eraser.edit(site))


class _Words:
    def __init__(self, text: str):
        self.text, self.words = text, [_Word(form) for form in text.split()]


class _Word:
    def __init__(self, form: str):
        self.form = form


TEXTS_AS_WORDS = [_Words(text) for text in TEXTS]


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_the_effect_is_that_of_runs_one_by_one(kind: str) -> None:
    model = tiny(kind)
    found = collect(model, TEXTS_AS_WORDS, sites="resid_post.1")
    eraser = leace(found.at("resid_post.1"), (np.arange(len(found)) % 2).astype(int))
    effect = effect_of_erasure(
        model,
        eraser,
        "resid_post.1",
        TEXTS,
        draws=2,
        most_tokens=1,
        metric=lambda clean, edited: (clean.logits - edited.logits).abs().max(),
    )
    kl, rise, positions, predicted = 0.0, 0.0, 0, 0
    for text in TEXTS:
        clean, edited = model.run(text), model.run(text, edits=eraser.edit("resid_post.1"))
        p, q = clean.log_probabilities, edited.log_probabilities
        kl += float((p.exp() * (p - q)).sum())
        positions += p.shape[1]
        if kind == "llama":
            rise += float(edited.losses.sum() - clean.losses.sum())
            predicted += p.shape[1] - 1
    assert effect.kl == pytest.approx(kl / positions, rel=1e-9)
    assert effect.tokens == positions
    assert effect.loss == (pytest.approx(rise / predicted) if kind == "llama" else None)
    assert effect.metric is not None
    assert effect.metric > 0
    assert len(effect.random) == 2
    assert effect.random[0].kl > 0
    assert effect.rank == effect.random[0].rank == 1
    x = found.at("resid_post.1").astype(float)
    spread = change(x, np.broadcast_to(eraser.mean, x.shape))
    assert effect.change == pytest.approx(change(x, eraser.apply(x)) / spread, rel=1e-4)
    assert "the concept" in str(effect)
    assert str(effect).count("at random") == 2


def test_it_is_erased_at_the_words_that_are_named() -> None:
    model = tiny("llama")
    found = collect(model, TEXTS_AS_WORDS, sites="resid_post.1")
    eraser = leace(found.at("resid_post.1"), (np.arange(len(found)) % 2).astype(int))
    effect = effect_of_erasure(model, eraser, "resid_post.1", TEXTS_AS_WORDS[:1], words=[[3]], draws=1)
    where = torch.tensor([[False, False, False, True, False]])
    clean, edited = model.run(TEXTS[0]), model.run(TEXTS[0], edits=eraser.edit("resid_post.1", where))
    p, q = clean.log_probabilities, edited.log_probabilities
    kl = (p.exp() * (p - q)).sum(-1)[0]
    assert kl[:3].tolist() == [0, 0, 0]
    assert effect.kl == pytest.approx(float(kl.sum()) / 5)
    whole = effect_of_erasure(model, eraser, "resid_post.1", TEXTS_AS_WORDS[:1], draws=0)
    assert whole.kl != pytest.approx(effect.kl)
    for words, message in (([[9]], "no word 9 in sentence 0"), ([[]], "No token"), ([], "0 entries for 1")):
        with pytest.raises(BadInput, match=message):
            effect_of_erasure(model, eraser, "resid_post.1", TEXTS_AS_WORDS[:1], words=words)


def test_tokens_around_the_text_stay_as_they_are() -> None:
    """At the first layer of a model that reads both ways, [CLS] and [SEP] keep their vectors."""
    model = masked()
    found = collect(model, ["the cat sat", "a dog ran on", "big red lion"], pool="mean", sites="resid_pre.0")
    eraser = leace(found.at("resid_pre.0"), np.array([0, 1, 0]))
    effect = effect_of_erasure(model, eraser, "resid_pre.0", ["the cat sat"], draws=0)
    ids = model.tokens("the cat sat")
    plain = torch.tensor([[False, True, True, True, False]])
    clean, edited = model.run([ids]), model.run([ids], edits=eraser.edit("resid_pre.0", plain))
    p, q = clean.log_probabilities, edited.log_probabilities
    assert effect.kl == pytest.approx(float((p.exp() * (p - q)).sum()) / 5, rel=1e-5)
    assert effect.random == ()


def test_effects_that_cannot_be_measured_are_refused() -> None:
    model = tiny("llama")
    x, labels = clouds()
    eraser = leace(x, labels)
    with pytest.raises(BadShape, match=r"12 wide, resid_post\.1 is 16"):
        effect_of_erasure(model, eraser, "resid_post.1", TEXTS)
    with pytest.raises(NotSupported, match="headless has no head"):
        effect_of_erasure(headless(), eraser, "resid_post.1", ["the cat"])
    wide = leace(np.random.default_rng(0).standard_normal((50, 16)), np.arange(50) % 2)
    with pytest.raises(BadInput, match="no sentences"):
        effect_of_erasure(model, wide, "resid_post.1", [])
    said: list[int] = []
    effect_of_erasure(
        model, wide, "resid_post.1", TEXTS, progress=Progress(lambda what, done, total: said.append(total))
    )
    assert said == [1]
