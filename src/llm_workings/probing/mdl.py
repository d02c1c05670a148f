"""Minimum description length: how many bits the labels take for one who has the vectors.

The online code (Voita and Titov 2020, "Information-theoretic probing with minimum description length",
section 2.2.2): both sides have the vectors, the labels are sent in blocks, each coded with a probe that
was fitted to the blocks before it. A property that is easy to read is learned from few labels and costs
few bits; a probe that memorizes pays for every word it has not seen. The first block is sent by the
uniform code, log2(number of classes) bits a label.

How strongly the probe is regularized is not chosen by looking at what is to be sent: a block is coded by
the mixture of all strengths, the mean of the probabilities that they give it, which takes at most
log2(number of strengths) bits more than the best of them. So labels that nothing says cost about what the
uniform code does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadInput

from .solver import logistic

# The share of the labels that is known after each block (Voita and Titov 2020, section 3).
SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
FEWEST = 8  # labels of a block: fewer teach nothing
BIAS_L2 = 1.0  # without it, a class not seen yet would get the probability 0 and cost without end


@dataclass(frozen=True)
class CodeLength:
    """What sending the labels took.

    Attributes:
        bits: of the online code.
        uniform: of the uniform code, n log2(classes).
        blocks: bits of each block.
        ends: how many labels are known after each block.
        l2: the regularization that coded the last block best.
    """

    bits: float
    uniform: float
    blocks: tuple[float, ...]
    ends: tuple[int, ...]
    l2: float

    @property
    def compression(self) -> float:
        """How many times shorter than the uniform code; 1 says that nothing can be read."""
        return self.uniform / self.bits

    @property
    def per_label(self) -> float:
        """Bits a label, on the mean."""
        return self.bits / self.ends[-1]


def block_ends(sentence: np.ndarray, shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """Where blocks end, moved to the ends of sentences: words of one sentence come together.

    Args:
        sentence: `[word]`, in the order in which the labels are sent.
    """
    n = len(sentence)
    stops = np.append(np.flatnonzero(np.diff(sentence)) + 1, n)
    ends = sorted({int(stops[np.searchsorted(stops, min(n, max(FEWEST, share * n)))]) for share in shares})
    if len(ends) < 2:
        raise BadInput(
            f"{n} labels of {len(stops)} sentences make no two blocks to code.",
            hint=f"Take more sentences; a block has at least {FEWEST} labels.",
            given={"labels": n, "sentences": len(stops)},
        )
    return tuple(ends)


def code_classes(
    x: Tensor, labels: Tensor, n_classes: int, ends: Sequence[int], strengths: Sequence[float]
) -> CodeLength:
    """The online code of classes by logistic regression.

    Args:
        x: `[n, d]`, standardized, in the order in which the labels are sent.
        labels: `[n]` int64.
        ends: of the blocks; the last is n.
        strengths: of regularization (`l2` of `solver.logistic`).
    """
    l2 = torch.tensor(strengths, dtype=torch.float64)
    bits = [np.full(len(strengths), ends[0] * math.log2(n_classes))]
    start = None
    for known, end in pairwise(ends):
        known_labels = labels[:known].expand(len(strengths), -1)
        fit = logistic(x[:known], known_labels, n_classes, l2, bias_l2=BIAS_L2, start=start)
        start = fit.weight
        answers = fit.logits(x[known:end]).log_softmax(-1)
        picked = answers.gather(-1, labels[known:end, None, None].expand(-1, len(strengths), 1))
        bits.append(-picked.sum((0, 2), dtype=torch.float64).numpy() / math.log(2))
    return _mixed(np.array(bits), ends, strengths, ends[-1] * math.log2(n_classes))


def code_integers(x: Tensor, values: Tensor, ends: Sequence[int], strengths: Sequence[float]) -> CodeLength:
    """The online code of whole numbers by ridge regression.

    A number k costs -log2 of the probability that a normal variable around the prediction rounds to
    it; its variance is the squared error of the last block (at first, the variance of what is known).
    The uniform code is over the range of the values.

    Args:
        x: `[n, d]`, standardized.
        values: `[n]`, whole numbers.
    """
    y = values.double()
    spread = math.log2(float(y.max() - y.min()) + 1)
    bits = [np.full(len(strengths), ends[0] * spread)]
    d = x.shape[1]
    gram, products = torch.zeros(d, d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    sums, total, before = torch.zeros(d, dtype=torch.float64), 0.0, 0
    variance: Tensor | None = None
    for known, end in pairwise(ends):
        new = x[before:known]
        gram += (new.mT @ new).double()
        products += (new.mT @ y[before:known].to(x)).double()
        sums += new.sum(0).double()
        total, before = float(y[:known].sum()), known
        weight, bias = ridge_from(gram, products[:, None], sums, total, known, strengths)
        if variance is None:
            variance = y[:known].var(correction=0).expand(len(strengths))
        predicted = (x[known:end] @ weight[:, :, 0].mT.to(x)).double() + bias[:, 0]
        actual = y[known:end, None]
        bits.append(_rounded_normal(actual - predicted, variance).sum(0).numpy())
        variance = (actual - predicted).square().mean(0)
    return _mixed(np.array(bits), ends, strengths, ends[-1] * spread)


def ridge_from(
    gram: Tensor, products: Tensor, sums: Tensor, totals: float | Tensor, n: int, strengths: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Ridge regressions from sums over the samples, an unregularized bias among them.

    Args:
        gram, products, sums: x'x `[d, d]`, x'y `[d, target]` and the sums of x `[d]`, float64.
        totals: the sums of y, `[target]`.

    Returns:
        Weights `[strength, d, target]` and biases `[strength, target]`.
    """
    mean, middle = sums / n, torch.as_tensor(totals, dtype=torch.float64).reshape(-1) / n
    centred, target = gram - n * mean[:, None] * mean, products - n * mean[:, None] * middle
    eye = torch.eye(len(mean), dtype=torch.float64)
    weight = torch.stack(
        [torch.cholesky_solve(target, torch.linalg.cholesky(centred + l2 * eye)) for l2 in strengths]
    )
    return weight, middle - mean @ weight


def _rounded_normal(off: Tensor, variance: Tensor) -> Tensor:
    """Bits of a whole number that is `off` from the centre of a normal distribution."""
    size = variance.clamp_min(1e-4).sqrt()
    high, low = (off.abs() + 0.5) / size, (off.abs() - 0.5) / size
    # Of the upper tail, where both ends' cumulative probabilities would round to 1.
    tail = torch.special.log_ndtr(-low)
    inside = torch.log1p(-(torch.special.log_ndtr(-high) - tail).exp())
    return -(tail + inside) / math.log(2)


def _mixed(bits: np.ndarray, ends: Sequence[int], strengths: Sequence[float], uniform: float) -> CodeLength:
    """Each block by the mixture of the strengths: bits `[block, strength]`, the first by none of them."""
    mixed = -np.logaddexp2.reduce(-bits, axis=1) + math.log2(len(strengths))
    mixed[0] = bits[0, 0]
    best = float(strengths[int(bits[-1].argmin())])
    return CodeLength(float(mixed.sum()), uniform, tuple(mixed.tolist()), tuple(ends), best)
