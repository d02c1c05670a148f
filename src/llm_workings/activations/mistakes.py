"""Whether it can be told from inside that an answer is wrong, beside the answer's own doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_workings.core.errors import BadInput

from .layers import standardized

FOLDS = 5
FEWEST = 10  # wrong answers that can be learned from


@dataclass(frozen=True)
class Foresight:
    """How well "it will be wrong" is foretold, on inputs that the probe has not seen.

    Attributes:
        by_layer: area under the ROC curve of a linear probe of each layer: 0.5 is chance, 1 perfect.
        doubt: the baseline: of 1 minus the largest probability of the answer itself (Hendrycks and Gimpel
            2017, "A baseline for detecting misclassified and out-of-distribution examples").
        shuffled: by layer, of a probe that learned shuffled labels: chance, and how far it strays.
        wrong, n: answers that were wrong, of how many.
    """

    by_layer: Mapping[str, float]
    doubt: float
    shuffled: Mapping[str, float]
    wrong: int
    n: int


def foresee(
    layers: Mapping[str, NDArray[np.floating]],
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    seed: int = 0,
) -> Foresight:
    """A probe for "will it be wrong?" at each layer, by cross-validation.

    Args:
        layers: by layer, `[n, unit]`.
        logits: `[n, class]`; labels: `[n]`.

    Raises:
        BadInput: fewer than ten wrong or ten right answers: nothing can be learned from them.
    """
    wrong = logits.argmax(1) != labels
    few = min(int(wrong.sum()), int((~wrong).sum()))
    if few < FEWEST:
        raise BadInput(
            f"{int(wrong.sum())} of {len(wrong)} answers are wrong: too few of one kind to learn from.",
            hint="Take more pictures, or harder ones: with noise, say.",
            given={"wrong": int(wrong.sum()), "pictures": len(wrong)},
        )
    shuffled = np.random.default_rng(seed).permutation(wrong)
    return Foresight(
        {layer: _probe(values, wrong, seed) for layer, values in layers.items()},
        auroc(doubt(logits), wrong),
        {layer: _probe(values, shuffled, seed) for layer, values in layers.items()},
        int(wrong.sum()),
        len(wrong),
    )


def doubt(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 minus the largest probability, `[n]`."""
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    return 1 - 1 / np.exp(wide).sum(1)


def auroc(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive scores above a negative, half for a tie: the area under the ROC curve."""
    from scipy.stats import rankdata

    ranks = rankdata(score)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def _probe(values: NDArray[np.floating], wrong: NDArray[np.bool_], seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    scaled, score = standardized(values), np.zeros(len(wrong))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(scaled, wrong):
        probe = LogisticRegression(C=0.05, class_weight="balanced", max_iter=400).fit(
            scaled[train], wrong[train]
        )
        score[test] = probe.predict_proba(scaled[test])[:, 1]
    return auroc(score, wrong)
