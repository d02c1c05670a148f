"""How much a head behaves like a known kind of head: scores of attention patterns.

A pattern is `[head, query, key]`: a[i, j] is the weight that query i gives to key j; each row sums
to 1. All scores are plain means over the queries that the question can be asked of; `ScoreQueries`
says how many those are, and a score that rests on none is 0. The formulas are the same for causal
and bidirectional models.

- previous token: mean over i >= 1 of a[i, i-1].
- first token: mean over i >= 1 of a[i, 0], where heads rest that have nothing to do
  (Xiao et al. 2023, "Efficient streaming language models with attention sinks").
- duplicate token: mean, over the i whose token stands earlier too, of the sum of a[i, j] over those
  earlier j (Wang et al. 2022, "Interpretability in the wild").
- induction: mean, over the i whose token stands earlier with another one after it that is not i
  itself, of the sum of a[i, j+1] over those earlier j: the weight on what followed last time
  (prefix matching: Olsson et al. 2022, "In-context learning and induction heads").
- entropy: mean over all i of -sum_j a[i, j] ln a[i, j], in nats. Even attention of a bidirectional
  model scores ln n; of a causal one, the mean of ln(i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NAMES = ("previous_token", "induction", "duplicate_token", "first_token")


@dataclass(frozen=True)
class ScoreMasks:
    """Which cells of a text's patterns each score adds up, and on how many queries it rests.

    `cells` is `[query * key, score]` float32, 1 where the cell counts, in the order of `NAMES`.
    """

    cells: np.ndarray
    queries: dict[str, int]

    def score(self, pattern: np.ndarray) -> np.ndarray:
        """The scores of each head of `pattern`, `[head, query, key]`: `[head, score]`, 0 to 1."""
        sums = pattern.reshape(len(pattern), -1) @ self.cells
        return sums / np.maximum([self.queries[name] for name in NAMES], 1)


def score_masks(tokens: Sequence[int]) -> ScoreMasks:
    """The masks for a text of these token ids."""
    ids = np.asarray(tokens)
    n = len(ids)
    query, key = np.arange(n)[:, None], np.arange(n)[None, :]
    earlier_copy = (ids[:, None] == ids[None, :]) & (key < query)
    after_copy = np.zeros((n, n), bool)
    after_copy[:, 1:] = earlier_copy[:, :-1]
    after_copy &= key < query  # a copy just before would point at the query itself
    masks = {
        "previous_token": key == query - 1,
        "induction": after_copy,
        "duplicate_token": earlier_copy,
        "first_token": (key == 0) & (query > 0),
    }
    cells = np.stack([masks[name].reshape(-1) for name in NAMES], axis=-1).astype(np.float32)
    return ScoreMasks(cells, {name: int(masks[name].any(axis=1).sum()) for name in NAMES})


def entropy(pattern: np.ndarray) -> np.ndarray:
    """Nats, mean over the queries of `pattern`, `[head, query, key]`: `[head]`."""
    safe = np.where(pattern > 0, pattern, 1)
    return -(pattern * np.log(safe)).sum(-1).mean(-1)


def cell_size(n: int, most: int = 32) -> int:
    """How many tokens a thumbnail's cell stands for, so that `n` tokens take at most `most` cells."""
    return -(-n // most)


def pooled(pattern: np.ndarray, size: int) -> np.ndarray:
    """Patterns `[head, query, key]` in blocks of `size` tokens: `[head, row, column]`.

    A cell is the weight that a query of its row gives to all the keys of its column together, on
    the mean over those queries; so the rows of what is pooled sum to 1 as the pattern's do.
    """
    starts = np.arange(0, pattern.shape[-1], size)
    by_key = np.add.reduceat(pattern, starts, axis=-1)
    queries = np.diff([*starts, pattern.shape[-1]])
    return np.add.reduceat(by_key, starts, axis=-2) / queries[:, None]


def thumbnail(pattern: np.ndarray, size: int) -> np.ndarray:
    """`pooled` as uint8; 255 is 1."""
    return np.rint(np.clip(pooled(pattern, size), 0, 1) * 255).astype(np.uint8)


def moved(pattern: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far each head's attention moves between two patterns `[head, query, key]`: `[head]`, 0 to 1.

    The mean over queries of half the sum of |a - a'|: the share of a query's weight that goes elsewhere
    (the total variation distance of the two rows).
    """
    return 0.5 * np.abs(pattern - other).sum(-1).mean(-1)
