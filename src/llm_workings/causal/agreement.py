"""How far an estimate agrees with what it estimates: said beside every estimate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput


@dataclass(frozen=True)
class Agreement:
    """An estimate compared with exact values, entry by entry.

    Attributes:
        pearson: linear correlation, from -1 to 1; NaN where either side is the same everywhere.
        spearman: correlation of the ranks (ties share theirs).
        compared, total: how many entries were computed exactly, of how many.
        worst: the largest difference between an estimate and its exact value.
    """

    pearson: float
    spearman: float
    compared: int
    total: int
    worst: float

    def __str__(self) -> str:
        whole = "all" if self.compared == self.total else f"{self.compared} drawn at random"
        return (
            f"against the exact sweep ({whole} of {self.total}): Pearson {self.pearson:.3f}, Spearman "
            f"{self.spearman:.3f}, off by {self.worst:.3g} at the most"
        )


def agreement(estimate: Tensor, exact: Tensor) -> Agreement:
    """Compare where `exact` is not NaN, both of one shape. Raises `BadInput` with fewer than two of those."""
    known = ~exact.isnan()
    compared = int(known.sum())
    if compared < 2:
        raise BadInput(f"{compared} exact values are too few to say how far an estimate agrees.")
    a, b = estimate[known].double(), exact[known].double()
    return Agreement(
        pearson(a, b), pearson(ranks(a), ranks(b)), compared, exact.numel(), float((a - b).abs().max())
    )


def pearson(a: Tensor, b: Tensor) -> float:
    """The linear correlation of two lists of numbers; NaN if either is constant."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else float("nan")


def ranks(values: Tensor) -> Tensor:
    """The rank of each number, from 0; equal ones share the mean of theirs."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    return (first + (counts - 1) / 2)[inverse].double()
