"""What is kept of the neurons of a layer while a corpus goes by: counts, moments and the best examples."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 128  # of a histogram, half of them below 0
BEFORE, AFTER = 16, 7  # tokens of an example before and after the one it is for
WIDE = BEFORE + 1 + AFTER


class Histograms:
    """Exact histograms of many neurons whose range is not known: bins of a width that is a power of two,
    which is doubled, and pairs of bins made one, as often as a value falls outside. Value 0 is an edge.

    Attributes:
        counts: `[neuron, bin]`.
        exponent: `[neuron]`: the width is 2 ** exponent; bin i begins at (i - BINS / 2) widths.
    """

    def __init__(self, neurons: int):
        self.counts = torch.zeros(neurons, BINS, dtype=torch.int64)
        self.exponent = torch.full((neurons,), -40, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """`values` is `[token, neuron]`."""
        half = BINS // 2
        largest = values.abs().amax(0).double()
        # the smallest exponent with |value| < half * 2 ** exponent
        needed = torch.floor(torch.log2((largest / half).clamp(min=2.0**-60))).long() + 1
        needed = torch.where(largest >= half * torch.exp2(needed.double()), needed + 1, needed)
        for _ in range(int((needed - self.exponent).clamp(min=0).max())):
            wider = (needed > self.exponent) & (self.counts.sum(1) > 0)
            if not bool(wider.any()):
                break
            old = self.counts[wider]
            new = torch.zeros_like(old)
            new[:, half // 2 : half // 2 + half] = old.reshape(len(old), half, 2).sum(-1)
            self.counts[wider] = new
            self.exponent[wider] += 1
        self.exponent = torch.maximum(self.exponent, needed)
        width = torch.exp2(self.exponent.to(values.dtype))
        index = (torch.floor(values / width).long() + half).clamp(0, BINS - 1)
        index += torch.arange(values.shape[1]) * BINS
        found = torch.bincount(index.flatten(), minlength=self.counts.numel())
        self.counts += found.view_as(self.counts)


class Extremes:
    """Of each neuron the passages in which it goes highest (or lowest), each at its extreme, with the
    activations around it.

    Attributes:
        values: `[kept, neuron]`, the furthest first; -inf (inf) where there were fewer passages.
        rows, positions: where, -1 where there is nothing.
        windows: `[kept, neuron, WIDE]`: the activations around, NaN past the passage's ends.
    """

    def __init__(self, neurons: int, kept: int, *, highest: bool = True):
        self.kept, self.highest = kept, highest
        self.values = torch.empty(0, neurons)
        self.rows = torch.empty(0, neurons, dtype=torch.int64)
        self.positions = torch.empty(0, neurons, dtype=torch.int64)
        self.windows = torch.empty(0, neurons, WIDE)

    def add(self, values: Tensor, counted: Tensor, numbers: Tensor) -> None:
        """`values` is `[row, position, neuron]`, NaN past a row's end; `counted` `[row, position]`; `numbers`
        the rows' numbers in the corpus."""
        worst = -torch.inf if self.highest else torch.inf
        seen = values.masked_fill(~counted[..., None], worst)
        best = seen.max(1) if self.highest else seen.min(1)  # [row, neuron]
        windows = around(values, best.indices)
        all_values = torch.cat((self.values, best.values))
        order = all_values.topk(min(self.kept, len(all_values)), dim=0, largest=self.highest).indices
        rows = numbers[:, None].expand_as(best.indices)
        self.values = all_values.gather(0, order)
        self.rows = torch.cat((self.rows, rows)).gather(0, order)
        self.positions = torch.cat((self.positions, best.indices)).gather(0, order)
        every = torch.cat((self.windows, windows))
        self.windows = every.gather(0, order[..., None].expand(-1, -1, WIDE))


def around(values: Tensor, positions: Tensor) -> Tensor:
    """`[row, neuron, WIDE]`: the activations around `positions` `[row, neuron]`, NaN outside."""
    at = positions[..., None] + torch.arange(-BEFORE, AFTER + 1)
    inside = (at >= 0) & (at < values.shape[1])
    found = values.transpose(1, 2).gather(2, at.clamp(0, values.shape[1] - 1))
    return found.masked_fill(~inside, torch.nan)


class ByToken:
    """The sum of each neuron's activations at each token of the vocabulary, `[token kind, neuron]`."""

    def __init__(self, kinds: int, neurons: int):
        self.sums = torch.zeros(kinds, neurons)
        self.counts = torch.zeros(kinds, dtype=torch.int64)

    def add(self, values: Tensor, kinds: Tensor) -> None:
        """`values` is `[token, neuron]`, `kinds` `[token]`."""
        self.sums.index_add_(0, kinds, values)
        self.counts += torch.bincount(kinds, minlength=len(self.counts))


class Moments:
    """Means, spreads and correlations, added up in float64 about the first batch's mean.

    Of more than `MOST` units the correlations are left out: their matrix would take more than 256 MB.
    """

    MOST = 8192

    def __init__(self, neurons: int, *, correlations: bool = True):
        self.n = 0
        self.shift: Tensor | None = None
        self.sums = torch.zeros(neurons, dtype=torch.float64)
        self.squares = torch.zeros(neurons, dtype=torch.float64)
        self.open = torch.zeros(neurons, dtype=torch.int64)
        self.low = torch.full((neurons,), torch.inf)
        self.high = torch.full((neurons,), -torch.inf)
        self.products = torch.zeros(neurons, neurons) if correlations and neurons <= self.MOST else None

    def add(self, values: Tensor, before: Tensor | None = None) -> None:
        """`values` after, `before` before the activation function, `[token, neuron]` each."""
        if self.shift is None:
            self.shift = values.mean(0)
        moved = values - self.shift
        self.n += len(values)
        self.sums += moved.double().sum(0)
        self.squares += moved.double().pow(2).sum(0)
        if before is not None:
            self.open += (before > 0).sum(0)
        self.low = torch.minimum(self.low, values.amin(0))
        self.high = torch.maximum(self.high, values.amax(0))
        if self.products is not None:
            self.products.addmm_(moved.T, moved)

    @property
    def mean(self) -> Tensor:
        assert self.shift is not None
        return self.shift.double() + self.sums / self.n

    @property
    def variance(self) -> Tensor:
        return (self.squares / self.n - (self.sums / self.n).pow(2)).clamp(min=0)

    def correlations(self) -> Tensor | None:
        """`[neuron, neuron]`; 0 for a neuron that never changes, and with itself."""
        if self.products is None:
            return None
        mean = (self.sums / self.n).float()
        covariance = self.products / self.n - mean[:, None] * mean
        spread = self.variance.sqrt().float()
        spread = torch.where(spread > 1e-6 * spread.max().clamp(min=1e-30), spread, torch.inf)
        found = covariance / (spread[:, None] * spread)
        return found.fill_diagonal_(0).clamp(-1, 1)
