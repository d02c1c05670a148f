"""The online code: what it must cost where that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from llm_workings.core.errors import BadInput
from llm_workings.probing.mdl import SHARES, block_ends, code_classes, code_integers

STRENGTHS = (1.0, 30.0, 1000.0)


def data(n: int = 1500, d: int = 12) -> tuple[torch.Tensor, np.random.Generator]:
    draw = np.random.default_rng(0)
    return torch.from_numpy(draw.standard_normal((n, d))).float(), draw


def test_random_labels_cost_what_the_uniform_code_does() -> None:
    x, draw = data()
    labels = torch.from_numpy(draw.integers(0, 8, len(x)))
    code = code_classes(x, labels, 8, block_ends(np.arange(len(x))), STRENGTHS)
    assert code.uniform == len(x) * 3
    assert code.bits == pytest.approx(code.uniform, rel=0.05)
    assert code.compression == pytest.approx(1, abs=0.05)
    assert code.per_label == pytest.approx(3, abs=0.15)


def test_labels_that_can_be_read_cost_little_and_the_easier_the_less() -> None:
    x, draw = data()
    ends = block_ends(np.arange(len(x)))
    noise = torch.from_numpy(draw.standard_normal(len(x))).float()
    easy = code_classes(x, (x[:, 0] > 0).long(), 2, ends, STRENGTHS)
    hard = code_classes(x, (x[:, 0] + noise > 0).long(), 2, ends, STRENGTHS)
    assert easy.compression > 6
    assert 1.1 < hard.compression < easy.compression
    # The Bayes-optimal code of the noisy labels: the mean entropy of Phi(x).
    p = torch.special.ndtr(x[:, 0]).double()
    entropy = float(-(p * p.log2() + (1 - p) * (1 - p).log2()).sum())
    assert entropy < hard.bits < 1.25 * entropy


def test_the_first_block_is_sent_by_the_uniform_code_and_blocks_add_up() -> None:
    x, _ = data(400)
    ends = block_ends(np.arange(400))
    code = code_classes(x, (x[:, 0] > 0).long(), 2, ends, STRENGTHS)
    assert code.blocks[0] == ends[0]
    assert sum(code.blocks) == pytest.approx(code.bits)
    assert len(code.blocks) == len(code.ends)
    assert code.ends[-1] == 400
    assert code.l2 in STRENGTHS


def test_the_mixture_takes_at_most_the_best_strength_and_its_name() -> None:
    x, _ = data(600)
    labels, ends = (x[:, 0] > 0).long(), block_ends(np.arange(600))
    mixed = code_classes(x, labels, 2, ends, STRENGTHS)
    alone = [code_classes(x, labels, 2, ends, (l2,)) for l2 in STRENGTHS]
    for number in range(1, len(ends)):
        best = min(code.blocks[number] for code in alone)
        # Fits made together start where theirs stopped, which differs within the solver's tolerance.
        assert best - 0.5 <= mixed.blocks[number] <= best + math.log2(len(STRENGTHS)) + 0.5


def test_blocks_end_with_sentences() -> None:
    sentence = np.repeat(np.arange(100), 7)
    ends = block_ends(sentence)
    assert all(end % 7 == 0 for end in ends)
    assert ends[-1] == 700
    assert list(ends) == sorted(set(ends))
    assert ends[0] >= 8
    assert abs(ends[-2] - SHARES[-2] * 700) < 7
    with pytest.raises(BadInput, match="no two blocks"):
        block_ends(np.zeros(50))


def test_whole_numbers_cost_little_where_they_can_be_read() -> None:
    x, draw = data()
    ends, strengths = block_ends(np.arange(len(x))), (1.0, 100.0)
    readable = code_integers(x, (4 + 3 * x[:, 0]).round(), ends, strengths)
    random = code_integers(x, torch.from_numpy(draw.integers(0, 9, len(x))), ends, strengths)
    assert readable.uniform == pytest.approx(len(x) * math.log2(19))  # from -5 to 13
    assert readable.compression > 7
    # A normal distribution is not the uniform one: it loses to it by a little.
    assert random.compression == pytest.approx(0.93, abs=0.06)


def test_a_number_has_a_probability_of_all_numbers() -> None:
    """2^-bits over all whole numbers adds up to 1: a code that can be read back."""
    from llm_workings.probing.mdl import _rounded_normal

    k = torch.arange(-60, 61, dtype=torch.float64)
    for centre, variance in ((0.3, 4.0), (-2.2, 0.05), (0.0, 25.0)):
        bits = _rounded_normal(k - centre, torch.tensor(variance, dtype=torch.float64))
        assert float((2.0**-bits).sum()) == pytest.approx(1, abs=1e-9)
    far = _rounded_normal(torch.tensor([40.0], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    assert torch.isfinite(far).all()
    assert float(far) > 500
