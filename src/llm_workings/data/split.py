"""Which samples are held back from the training."""

from __future__ import annotations

import numpy as np

from llm_workings.core.dataset import Array
from llm_workings.core.errors import BadInput


def hold_back(labels: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Training and test samples: `share` of all and, as nearly as whole numbers go, of each class.

    At least one sample of each class stays in the training; at least one in all is held back where
    `share` is above 0.

    Args:
        labels: `[sample]` int64, the classes; all the same where there are none.
        share: 0 to 1.

    Returns:
        Two `[n]` int64 arrays of indices, ascending; together every sample once.

    Raises:
        BadInput: there is but one sample of each class, so none can be held back.
    """
    n, counts = len(labels), np.bincount(labels)
    if share == 0:
        return np.arange(n), np.arange(0)
    spare = np.maximum(counts - 1, 0)
    if not spare.any():
        raise BadInput(
            f"None of {n} samples can be held back for testing: the training needs one of each class.",
            hint="Add samples, or set test to 0.",
            given={"test": share, "samples": n},
        )
    wanted = min(max(int(n * share + 0.5), 1), int(spare.sum()))
    exact = wanted * counts / n
    take = np.minimum(exact.astype(np.int64), spare)
    while take.sum() < wanted:  # what the rounding left over, to the class that is furthest behind
        take[np.where(take < spare, exact - take, -np.inf).argmax()] += 1
    held = [
        rng.permutation(np.flatnonzero(labels == label))[:some] for label, some in enumerate(take.tolist())
    ]
    test = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(n), test), test
