"""Control tasks: how much of a probe's accuracy is the probe's own doing.

Every word type gets a label at random, drawn from how common the labels are, and keeps it wherever the
word stands (Hewitt and Liang 2019, "Designing and interpreting probes with control tasks", section 2).
Nothing about language says which; a probe that is right about it has learned the words by heart.
Selectivity is the accuracy on the task minus that on its control task. Words that were not learned from
cannot be known, so the control accuracy is low for rare words and its ceiling is below 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def control_labels(forms: Sequence[str], labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """One of `labels` for each word type, drawn at random in proportion to them: `[word]`.

    Args:
        forms: the word types, as they are written.
        labels: `[word]`, classes or values.
    """
    draw = np.random.default_rng(seed)
    types = sorted(set(forms))
    drawn = dict(zip(types, draw.choice(labels, len(types)), strict=True))
    return np.array([drawn[form] for form in forms], labels.dtype)


def shuffled_labels(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """The labels in random order: what is common stays common, and nothing else is left."""
    return np.random.default_rng(seed).permutation(labels)


def lookup(train: Sequence[str], labels: np.ndarray, test: Sequence[str]) -> np.ndarray:
    """What a dictionary answers: a word's most common label (mean value) in training, `[test word]`.

    A word that was not in training gets the most common label (the mean) of all. What a probe knows
    beyond this it read from the context.
    """
    classes = np.issubdtype(labels.dtype, np.integer)
    _, which = np.unique(np.asarray(train), return_inverse=True)
    known = {form: int(at) for form, at in zip(train, which, strict=True)}
    if classes:
        counts = np.zeros((which.max() + 1, int(labels.max()) + 1))
        np.add.at(counts, (which, labels), 1)
        total = counts.sum(0)
        counts += total / (total.sum() + 1) * 1e-3  # ties go to what is more common
        answers, otherwise = counts.argmax(1), total.argmax()
    else:
        answers = np.bincount(which, weights=labels) / np.bincount(which)
        otherwise = labels.mean()
    return np.array([answers[known[form]] if form in known else otherwise for form in test])
