"""The scores of heads on patterns written by hand, whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_workings.views.head_scores import NAMES, cell_size, entropy, score_masks, thumbnail

REPEATED = [7, 3, 9, 4, 7, 3, 9, 4]


def looking_at(targets: list[int]) -> np.ndarray:
    """A pattern of one head in which query i gives all its weight to targets[i]."""
    return np.eye(len(targets), dtype=np.float32)[targets][None]


def scores(tokens: list[int], pattern: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, score_masks(tokens).score(pattern)[0].tolist(), strict=True))


def test_a_previous_token_head_scores_1_and_nothing_else() -> None:
    found = scores([5, 6, 7, 8, 9], looking_at([0, 0, 1, 2, 3]))
    assert found["previous_token"] == pytest.approx(1)
    assert found["first_token"] == pytest.approx(1 / 4)  # query 1 alone looks at 0
    assert found["induction"] == found["duplicate_token"] == 0


def test_an_induction_head_scores_1() -> None:
    # In the second copy, each token looks at what stood after it in the first copy.
    found = scores(REPEATED, looking_at([0, 0, 0, 0, 1, 2, 3, 4]))
    assert found["induction"] == pytest.approx(1)
    assert found["duplicate_token"] == 0
    assert score_masks(REPEATED).queries == {
        "previous_token": 7,
        "induction": 4,
        "duplicate_token": 4,
        "first_token": 7,
    }


def test_a_duplicate_token_head_scores_1() -> None:
    found = scores(REPEATED, looking_at([0, 1, 2, 3, 0, 1, 2, 3]))
    assert found["duplicate_token"] == pytest.approx(1)
    assert found["induction"] == 0


def test_a_sink_scores_1() -> None:
    found = scores([5, 6, 7, 8], looking_at([0, 0, 0, 0]))
    assert found["first_token"] == pytest.approx(1)


def test_weight_on_several_earlier_copies_is_added_up() -> None:
    tokens = [1, 2, 1, 3, 1]  # the last 1 was followed by 2 (position 1) and by 3 (position 3)
    pattern = looking_at([0, 0, 1, 0, 0])
    pattern[0, 4] = [0.1, 0.5, 0.1, 0.3, 0]
    found = scores(tokens, pattern)
    assert found["induction"] == pytest.approx((1 + 0.5 + 0.3) / 2)  # queries 2 and 4
    assert found["duplicate_token"] == pytest.approx((0 + 0.1 + 0.1) / 2)


def test_a_doubled_token_does_not_make_looking_at_oneself_induction() -> None:
    masks = score_masks([4, 4])
    assert masks.queries["induction"] == 0
    assert masks.queries["duplicate_token"] == 1
    assert scores([4, 4], looking_at([0, 1]))["induction"] == 0


def test_without_repeats_the_scores_rest_on_nothing_and_are_0() -> None:
    masks = score_masks([1, 2, 3])
    assert masks.queries["induction"] == masks.queries["duplicate_token"] == 0
    found = scores([1, 2, 3], np.full((1, 3, 3), 1 / 3, np.float32))
    assert found["induction"] == found["duplicate_token"] == 0


def test_one_token_has_no_score_but_no_nan_either() -> None:
    found = scores([1], np.ones((1, 1, 1), np.float32))
    assert all(value == 0 for value in found.values())
    assert entropy(np.ones((1, 1, 1))) == [0]


def test_uniform_attention_has_entropy_log_n() -> None:
    n = 6
    assert entropy(np.full((2, n, n), 1 / n)) == pytest.approx(math.log(n))
    causal = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    assert entropy(causal[None]) == pytest.approx(sum(math.log(i) for i in range(1, n + 1)) / n)
    assert entropy(looking_at([0, 0, 1])) == pytest.approx(0)


@given(st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_scores_stay_in_0_to_1_and_entropy_in_0_to_log_n(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(0, max(1, n // 3), n).tolist()
    pattern = random.dirichlet(np.full(n, 0.3), size=(2, n)).astype(np.float32)
    found = score_masks(tokens).score(pattern)
    assert (found >= 0).all()
    assert (found <= 1 + 1e-5).all()
    spread = entropy(pattern)
    assert (spread >= 0).all()
    assert (spread <= math.log(n) + 1e-4).all()


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_a_thumbnail_is_small_and_its_rows_sum_to_1(n: int, seed: int) -> None:
    pattern = np.random.default_rng(seed).dirichlet(np.ones(n), size=(2, n)).astype(np.float32)
    size = cell_size(n)
    small = thumbnail(pattern, size)
    cells = math.ceil(n / size)
    assert small.shape == (2, cells, cells)
    assert cells <= 32
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small.sum(-1) / 255, 1, atol=cells / 2 / 255 + 1e-6)


def test_a_thumbnail_of_up_to_32_tokens_is_the_pattern_itself() -> None:
    pattern = np.random.default_rng(0).dirichlet(np.ones(32), size=(1, 32)).astype(np.float32)
    assert cell_size(32) == 1
    np.testing.assert_allclose(thumbnail(pattern, 1) / 255, pattern, atol=0.5 / 255 + 1e-6)


def test_a_previous_token_head_stays_visible_when_pooled() -> None:
    n = 512
    small = thumbnail(looking_at([max(i - 1, 0) for i in range(n)]), cell_size(n))
    assert small.shape == (1, 32, 32)
    assert small[0, 5, 5] == round(15 / 16 * 255)
    assert small[0, 5, 4] == round(1 / 16 * 255)
