"""Splits, intervals and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_workings.core.errors import BadInput
from llm_workings.probing.scores import Split, accuracy, check_split, r2, spearman, split_sentences


@given(
    st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=60),
    st.integers(0, 99),
    st.floats(0.05, 0.95),
)
def test_equal_sentences_stay_on_one_side(keys: list[str], seed: int, share: float) -> None:
    if len(set(keys)) < 2:
        with pytest.raises(BadInput, match="needs two"):
            split_sentences(keys, share, seed)
        return
    split = split_sentences(keys, share, seed)
    assert sorted([*split.train, *split.test]) == list(range(len(keys)))
    assert not {keys[i] for i in split.train} & {keys[i] for i in split.test}
    check_split(split, keys)


def test_a_sentence_on_both_sides_is_refused() -> None:
    keys = ["one", "two", "three", "two"]
    with pytest.raises(
        BadInput, match=r"1 of the 2 sentences that are tested on are also learned from: number 1"
    ):
        check_split(Split(np.array([0, 1]), np.array([1, 2])), keys)
    with pytest.raises(BadInput, match="number 3, 'two'"):  # another number, the same text
        check_split(Split(np.array([0, 1]), np.array([2, 3])), keys)
    with pytest.raises(BadInput, match="test side of the split is empty"):
        check_split(Split(np.array([0, 1]), np.array([], int)), keys)
    with pytest.raises(BadInput, match="names sentence 9; there are 4"):
        check_split(Split(np.array([0, 9]), np.array([2])), keys)
    with pytest.raises(BadInput, match="between 0 and 1"):
        split_sentences(keys, 1.5)


def test_an_interval_is_the_normal_one_where_words_are_independent() -> None:
    n = 2000
    right = np.random.default_rng(0).random(n) < 0.8
    found = accuracy(right[None], np.arange(n))[0]
    half = 1.96 * np.sqrt(0.8 * 0.2 / n)
    assert found.value == right.mean()
    assert found.low == pytest.approx(right.mean() - half, abs=0.004)
    assert found.high == pytest.approx(right.mean() + half, abs=0.004)


def test_an_interval_widens_where_the_words_of_a_sentence_hang_together() -> None:
    """All 20 words of a sentence right or all wrong: as wide as if each sentence were one word."""
    whole = np.random.default_rng(0).random(100) < 0.8
    found = accuracy(np.repeat(whole, 20)[None], np.repeat(np.arange(100), 20))[0]
    by_words = accuracy(np.repeat(whole, 20)[None], np.arange(2000))[0]
    assert (found.high - found.low) / (by_words.high - by_words.low) == pytest.approx(np.sqrt(20), rel=0.15)


def test_r2_is_1_of_the_truth_0_of_the_mean_and_inside_its_interval() -> None:
    draw = np.random.default_rng(0)
    actual, sentence = draw.standard_normal(600), np.repeat(np.arange(100), 6)
    noisy = actual + 0.5 * draw.standard_normal(600)
    truth, mean, some = r2(np.stack([actual, np.full(600, actual.mean()), noisy]), actual, sentence)
    assert (truth.value, truth.low, truth.high) == (1, 1, 1)
    assert mean.value == pytest.approx(0)
    assert some.value == pytest.approx(1 - ((noisy - actual) ** 2).mean() / actual.var())
    assert some.low < some.value < some.high
    assert some.high - some.low < 0.15


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 300), draw.integers(0, 9, 300) + draw.standard_normal(300)
    assert spearman(b, a) == pytest.approx(spearmanr(b, a).statistic)
    assert spearman(a**3.0, a) == pytest.approx(1)
    assert spearman(-a, a) == pytest.approx(-1)
    assert spearman(np.ones(5), np.arange(5)) == 0
