"""One pass of a model over a corpus: what is kept of many units, each a number at every token.

A unit is a neuron, or any other number that a run gives at each token (`scalars.py`). Of each there stay a
histogram, moments, the passages in which it goes highest and lowest, some drawn by a seed, and its mean at
each kind of token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload
from llm_workings.core.wire import Tensor as Array
from llm_workings.models.sites import Site

from .corpus import Corpus, Rows
from .running import WIDE, ByToken, Extremes, Histograms, Moments, around

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

BATCH = 2048  # tokens that are run at a time
TOP, LOW, DRAWN = 12, 6, 8  # examples that are kept: highest, lowest, at random
KINDS = 12  # kinds of tokens that are kept, at each end
FEWEST = 3  # times a kind of token has to come for its mean to be listed

PerUnit = Annotated[np.ndarray, Array("float32", "unit")]
Where = Annotated[np.ndarray, Array("int32", "unit example")]
Windows = Annotated[np.ndarray, Array("float16", "unit example place")]
Kinds = Annotated[np.ndarray, Array("int32", "unit kind")]
KindMeans = Annotated[np.ndarray, Array("float32", "unit kind")]


class Examples(Payload):
    """Places in the corpus: passage and position, -1 where there is none, and the activations around."""

    rows: Where
    positions: Where
    windows: Windows


class Kept(Payload):
    """What was kept of some units."""

    model: str
    corpus: str
    title: str
    tokens: int
    """Tokens that count."""
    whole: int
    """Tokens of the whole corpus."""
    ids: Annotated[np.ndarray, Array("int32", "token")]
    """All passages that were read, one after the other."""
    begins: Annotated[np.ndarray, Array("int32", "passage")]
    """Where each begins in `ids`."""
    counts: Annotated[np.ndarray, Array("int32", "unit bin")]
    exponent: Annotated[np.ndarray, Array("int32", "unit")]
    mean: PerUnit
    spread: PerUnit
    """Standard deviation."""
    low: PerUnit
    high: PerUnit
    top: Examples
    bottom: Examples
    drawn: Examples
    best_kinds: Kinds
    """Token ids of the highest means; -1 where there are fewer."""
    best_means: KindMeans
    best_counts: Kinds
    worst_kinds: Kinds
    worst_means: KindMeans
    worst_counts: Kinds
    selectivity: PerUnit
    """The share of the variance that the kind of token explains (epsilon squared)."""

    def passage(self, number: int) -> list[int]:
        """The token ids of one passage."""
        end = int(self.begins[number + 1]) if number + 1 < len(self.begins) else len(self.ids)
        return [int(index) for index in self.ids[int(self.begins[number]) : end]]


class Passing(ABC):
    """One pass over a corpus. A subclass says what is kept of a run, and what the units are of it.

    Args:
        width: how many units.
        places: the sites that a run keeps.
        where: what is read, in a word or two, for the progress: "at layer 3".
    """

    stop: int | None = None
    """The first layer that need not be run; None: as the places say."""

    def __init__(
        self,
        model: LanguageModel,
        corpus: Corpus,
        rows: Rows,
        seed: int,
        *,
        width: int,
        places: list[Site],
        where: str,
        correlations: bool = False,
    ):
        self.model, self.corpus, self.rows, self.seed = model, corpus, rows, seed
        self.width, self.places, self.where = width, places, where
        lengths = [len(row) for row in rows.ids]
        self.begins = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
        self.ids = np.concatenate([np.array(row) for row in rows.ids])
        self.counted = [range(rows.first, length - rows.after) for length in lengths]
        present = [
            i for row, span in zip(rows.ids, self.counted, strict=True) for i in row[span.start : span.stop]
        ]
        self.kinds = np.unique(np.array(present))
        draw = np.random.default_rng(seed)
        chosen = draw.permutation(len(rows.ids))[:DRAWN]
        self.drawn = {
            int(row): int(draw.choice(self.counted[row])) for row in chosen if len(self.counted[row])
        }
        self.windows: dict[int, Tensor] = {}
        self.moments = Moments(width, correlations=correlations)
        self.top, self.bottom = Extremes(width, TOP), Extremes(width, LOW, highest=False)

    @abstractmethod
    def values(self, run: Run) -> Tensor:
        """`[row, position, unit]` of a run."""

    def meanwhile(self, run: Run, numbers: list[int], counted: Tensor) -> Tensor | None:
        """Takes what else is wanted of a run; `[token, unit]` whose share above 0 is kept, or None."""
        return None

    def run(self, progress: Progress) -> dict[str, Any]:
        """Reads it all; the fields of `Kept`."""
        what = f"reading {self.corpus.title} {self.where}"
        histograms, by_token = Histograms(self.width), ByToken(len(self.kinds), self.width)
        done, total = 0, len(self.ids)
        for numbers in self._batches():
            progress.report(what, done, total)
            rows = [self.rows.ids[number] for number in numbers]
            run = self.model.run(rows, keep=self.places, stop=self.stop, logits=False)
            values = self.values(run).float().cpu()
            counted, kinds = self._marks(numbers, values.shape[1])
            values = values.masked_fill(~counted[..., None], torch.nan)  # nor is it shown as an activation
            flat = values[counted]
            histograms.add(flat)
            self.moments.add(flat, self.meanwhile(run, numbers, counted))
            by_token.add(flat, kinds[counted])
            at = torch.tensor(numbers)
            for each in (self.top, self.bottom):
                each.add(values, counted, at)
            for i, number in enumerate(numbers):
                if number in self.drawn:
                    drawn = torch.full((1, self.width), self.drawn[number])
                    self.windows[number] = around(values[i : i + 1], drawn)[0]
            done += sum(map(len, rows))
        progress.report(what, total, total)
        return self._kept(histograms, by_token)

    def _batches(self) -> Iterator[list[int]]:
        """Passages of like length together, about `BATCH` tokens at a time."""
        order = sorted(range(len(self.rows.ids)), key=lambda i: -len(self.rows.ids[i]))
        while order:
            many = max(1, BATCH // len(self.rows.ids[order[0]]))
            yield order[:many]
            order = order[many:]

    def _marks(self, numbers: list[int], wide: int) -> tuple[Tensor, Tensor]:
        """Which positions count, and the kind of token at each, `[row, position]`."""
        counted = torch.zeros(len(numbers), wide, dtype=torch.bool)
        kinds = torch.zeros(len(numbers), wide, dtype=torch.int64)
        for i, number in enumerate(numbers):
            row, span = self.rows.ids[number], self.counted[number]
            counted[i, span.start : span.stop] = True
            kinds[i, span.start : span.stop] = torch.from_numpy(
                np.searchsorted(self.kinds, np.array(row[span.start : span.stop], dtype=np.int64))
            )
        return counted, kinds

    def _kept(self, histograms: Histograms, by_token: ByToken) -> dict[str, Any]:
        moments = self.moments
        mean, variance = moments.mean, moments.variance
        best, worst = (self._kinds_of(by_token, highest) for highest in (True, False))
        return {
            "model": self.model.name,
            "corpus": self.corpus.name,
            "title": self.corpus.title,
            "tokens": moments.n,
            "whole": self.rows.whole,
            "ids": self.ids,
            "begins": self.begins,
            "counts": histograms.counts.numpy(),
            "exponent": histograms.exponent.numpy(),
            "mean": mean.numpy(),
            "spread": variance.sqrt().numpy(),
            "low": moments.low.numpy(),
            "high": moments.high.numpy(),
            "top": _examples(self.top),
            "bottom": _examples(self.bottom),
            "drawn": self._drawn_examples(),
            **dict(zip(("best_kinds", "best_means", "best_counts"), best, strict=True)),
            **dict(zip(("worst_kinds", "worst_means", "worst_counts"), worst, strict=True)),
            "selectivity": self._selectivity(by_token, mean, variance, moments.n),
        }

    def _drawn_examples(self) -> Examples:
        rows = sorted(self.windows)
        n = self.width
        return Examples(
            rows=np.tile(np.array(rows, np.int32), (n, 1)),
            positions=np.tile(np.array([self.drawn[row] for row in rows], np.int32), (n, 1)),
            windows=torch.stack([self.windows[row] for row in rows], 1).numpy()
            if rows
            else np.zeros((n, 0, WIDE)),
        )

    def _kinds_of(self, by_token: ByToken, highest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The kinds of tokens of the highest (lowest) means, among those that came `FEWEST` times or more; if
        there are none, among all."""
        enough = by_token.counts >= FEWEST
        if not bool(enough.any()):
            enough = by_token.counts > 0
        kept = enough.nonzero()[:, 0]
        means = by_token.sums[kept] / by_token.counts[kept, None]
        found = means.topk(min(KINDS, len(kept)), dim=0, largest=highest)
        at = kept[found.indices]  # [kind, neuron]
        ids = torch.from_numpy(self.kinds)[at]
        return ids.T.numpy(), found.values.T.numpy(), by_token.counts[at].T.numpy()

    @staticmethod
    def _selectivity(by_token: ByToken, mean: Tensor, variance: Tensor, n: int) -> np.ndarray:
        """1 - (within / (n - kinds)) / (total / (n - 1)): the share of variance that the kind of token
        explains, less what as many kinds would explain by chance (Kelley 1935); not below 0."""
        there = by_token.counts > 0
        counts = by_token.counts[there].double()
        means = by_token.sums[there].double() / counts[:, None]
        total = variance * n
        between = (counts[:, None] * (means - mean).pow(2)).sum(0)
        free = n - len(counts)
        if free <= 0:
            return np.full(len(mean), np.nan)
        found = 1 - ((total - between).clamp(min=0) / free) / (total / (n - 1)).clamp(min=1e-30)
        return torch.where(total > 0, found.clamp(0, 1), torch.nan).numpy()


def _examples(found: Extremes) -> Examples:
    return Examples(
        rows=found.rows.T.numpy(),
        positions=found.positions.T.numpy(),
        windows=found.windows.transpose(0, 1).numpy(),
    )
