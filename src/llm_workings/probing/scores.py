"""How good predictions are, how sure that is, and which sentences may be learned from.

Words of one sentence are not independent samples: splits are made of whole sentences, and intervals
come from drawing sentences again (the bootstrap, Efron 1979), not words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_workings.core.errors import BadInput

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and the 95% interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


# --- splits ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Split:
    """Numbers of the sentences that are learned from, and of those that are tested on."""

    train: np.ndarray
    test: np.ndarray


def split_sentences(keys: Sequence[str], test: float = 0.3, seed: int = 0) -> Split:
    """A random split in which sentences of the same key (by default: the same text) stay together.

    Args:
        keys: one a sentence.
        test: about which share of the sentences is tested on.

    Raises:
        BadInput: a share outside 0 to 1, or too few different sentences for both sides.
    """
    if not 0 < test < 1:
        raise BadInput(
            f"The share that is tested on is {test}.", hint="Take one between 0 and 1, such as 0.3."
        )
    different = sorted(set(keys))
    if len(different) < 2:
        raise BadInput(
            f"There is {len(different)} different sentence; a split needs two.",
            hint="What is learned from cannot be tested on.",
        )
    order = np.random.default_rng(seed).permutation(len(different))
    n = min(max(1, round(test * len(different))), len(different) - 1)
    held = {different[i] for i in order[:n]}
    at = np.array([key in held for key in keys])
    return Split(np.flatnonzero(~at), np.flatnonzero(at))


def check_split(split: Split, keys: Sequence[str]) -> Split:
    """The split, if no sentence stands on both sides of it.

    Raises:
        BadInput: one does (by its number or by its text), or a side is empty, or a number is none.
    """
    train, test = (np.asarray(side, np.int64).reshape(-1) for side in (split.train, split.test))
    for name, side in (("train", train), ("test", test)):
        if not len(side):
            raise BadInput(f"The {name} side of the split is empty.")
        if side.min() < 0 or side.max() >= len(keys):
            raise BadInput(
                f"The {name} side of the split names sentence {int(side.max())}; there are {len(keys)}."
            )
    learned = {keys[i]: i for i in train.tolist()}
    both = [i for i in test.tolist() if keys[i] in learned]
    if both:
        raise BadInput(
            f"{len(both)} of the {len(test)} sentences that are tested on are also learned from: "
            f"number {both[0]}, {keys[both[0]][:60]!r}.",
            hint="A probe would be asked what it was told. Leave them out of one side: task.without(other), "
            "or split_sentences, which keeps equal texts together.",
            given={"sentences": both[:20]},
        )
    return Split(train, test)


# --- scores ------------------------------------------------------------------------------------
def accuracy(right: np.ndarray, sentence: np.ndarray, seed: int = 0) -> list[Interval]:
    """The share of right answers, with its interval over sentences.

    Args:
        right: `[answer, word]`, whether each is right.
        sentence: `[word]`, whose sentence each is in.
    """
    _, which = np.unique(sentence, return_inverse=True)
    n = np.bincount(which).astype(float)
    sums = np.stack([np.bincount(which, weights=row) for row in right.astype(float)])
    draws = _draws(len(n), seed)
    spread = (draws @ sums.T) / (draws @ n)[:, None]
    return _intervals(right.mean(1), spread)


def r2(predicted: np.ndarray, actual: np.ndarray, sentence: np.ndarray, seed: int = 0) -> list[Interval]:
    """1 - squared error / variance, with its interval over sentences. Below 0: worse than the mean.

    Args:
        predicted: `[answer, word]`.
        actual: `[word]`.
    """
    _, which = np.unique(sentence, return_inverse=True)
    n = np.bincount(which).astype(float)
    centred = actual - actual.mean()
    first, second = np.bincount(which, weights=centred), np.bincount(which, weights=centred**2)
    errors = np.stack([np.bincount(which, weights=row) for row in (predicted - actual) ** 2])
    draws = _draws(len(n), seed)
    total = draws @ second - (draws @ first) ** 2 / (draws @ n)
    spread = 1 - (draws @ errors.T) / np.where(total > 0, total, np.nan)[:, None]
    value = 1 - errors.sum(1) / max(second.sum(), 1e-300)
    return _intervals(value, spread)


def spearman(predicted: np.ndarray, actual: np.ndarray) -> float:
    """The correlation of ranks, equal values sharing theirs; 0 where one side is constant."""
    a, b = (_ranks(x) - (len(x) - 1) / 2 for x in (predicted, actual))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _ranks(x: np.ndarray) -> np.ndarray:
    _, which, count = np.unique(x, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    return np.asarray((before + (count - 1) / 2)[which])


def _draws(n: int, seed: int) -> np.ndarray:
    """How often each of n sentences comes in each resample: `[resample, n]`."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)


def _intervals(value: np.ndarray, spread: np.ndarray) -> list[Interval]:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(spread, (tail, 1 - tail), axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(value, low, high, strict=True)]
