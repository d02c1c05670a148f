"""Many logistic regressions on the same vectors at once.

A study of one layer takes a dozen fits: the labels, a control task, shuffled labels, several strengths
of regularization. They share the vectors, so their products with them are one matrix product. Each is
minimized by L-BFGS (Liu and Nocedal 1989) with a line search of its own; along a line the logits are
linear, so a step is tried without touching the vectors again.

Started from the curvature bound of Böhning (1992): the Hessian of the multinomial loss is at most half
the vectors' Gram matrix. In the basis of its eigenvectors that bound is diagonal, and dividing by it
makes directions of very different size (a stream has units a thousand times larger than others) alike.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and gradient changes that L-BFGS keeps
HALVINGS = 25


@dataclass(frozen=True)
class Solution:
    """The weights of several fits, on the vectors that were given.

    Attributes:
        weight: `[d + 1, fit, class]`; the last row is the bias.
        steps: how many it took.
        converged: whether every fit reached the tolerance.
    """

    weight: Tensor
    steps: int
    converged: bool

    def logits(self, x: Tensor) -> Tensor:
        """`[n, fit, class]` of vectors `[n, d]`."""
        d, fits, classes = self.weight.shape
        flat = self.weight.reshape(d, fits * classes)
        return torch.addmm(flat[-1], x, flat[:-1]).view(len(x), fits, classes)


def logistic(
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    l2: Tensor,
    *,
    bias_l2: float = 0.0,
    start: Tensor | None = None,
    tolerance: float = 1e-4,
    most: int = 200,
) -> Solution:
    """Minimize sum_i -log p(label_i | x_i) + l2/2 |W|^2 for each fit.

    Args:
        x: `[n, d]`, standardized; best in the basis of their Gram matrix's eigenvectors.
        labels: `[fit, n]` int64, below `n_classes`.
        l2: `[fit]`, above 0.
        bias_l2: the same of the bias; 0 leaves it free.
        start: weights to begin at, `[d + 1, fit, class]`.
        tolerance: stop when a further step is predicted to gain less than this, in nats a sample.
        most: steps.
    """
    n, fits = len(x), len(labels)
    x = torch.cat((x, x.new_ones(n, 1)), 1)
    d = x.shape[1]
    penalty = l2.to(x).expand(d, fits).clone()
    penalty[-1] = bias_l2
    weight = x.new_zeros(d, fits, n_classes) if start is None else start.clone()
    # A constant of all classes' biases moves no probability: any curvature will do for it.
    bound = 1 / (0.5 * x.square().sum(0)[:, None] + penalty).clamp_min(1e-6)
    # Fits are done at different steps; one that is done leaves, and costs the others nothing.
    running = torch.arange(fits)
    search = _Search(x, labels.mT[:, :, None], penalty[:, :, None], bound[:, :, None], weight)
    for step in range(most):
        slope = search.aim()
        done = -slope / 2 < tolerance * n
        if step:
            done |= search.stuck
        if bool(done.any()):
            weight[:, running[done]] = search.weight[:, done]
            running = running[~done]
            if not len(running):
                return Solution(weight, step, True)
            search = search.only(~done)
            slope = slope[~done]
        search.move(slope)
    weight[:, running] = search.weight
    return Solution(weight, most, False)


class _Search:
    """Where several fits are, and what they have learned of their curvature."""

    def __init__(self, x: Tensor, target: Tensor, penalty: Tensor, bound: Tensor, weight: Tensor):
        self.x, self.target, self.penalty, self.bound, self.weight = x, target, penalty, bound, weight
        self.logits = (x @ weight.flatten(1)).view(len(x), *weight.shape[1:])
        shared = self.logits.logsumexp(-1, keepdim=True)
        self.value = _nll(self.logits, shared, target) + _half_square(weight, penalty)
        self.gradient = _gradient(x, self.logits, shared, target) + penalty * weight
        self.direction = torch.zeros_like(weight)
        self.stuck = torch.zeros(weight.shape[1], dtype=torch.bool)
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)

    def only(self, kept: Tensor) -> _Search:
        """The search of some of its fits."""
        other = copy(self)
        other.target = self.target[:, kept]
        other.penalty, other.bound, other.weight = (
            part[:, kept] for part in (self.penalty, self.bound, self.weight)
        )
        other.logits, other.gradient, other.direction = (
            part[:, kept] for part in (self.logits, self.gradient, self.direction)
        )
        other.value, other.stuck = self.value[kept], self.stuck[kept]
        other.pairs = deque(((s[:, kept], y[:, kept], r[kept]) for s, y, r in self.pairs), maxlen=MEMORY)
        return other

    def aim(self) -> Tensor:
        """Choose a direction; the slope along it, `[fit]`. Half of it is what a step is to gain."""
        self.direction = _direction(self.gradient, self.bound, self.pairs)
        slope = _dot(self.gradient, self.direction)
        if bool((slope > 0).any()):  # rounding broke the curvature: begin again from the bound
            self.pairs.clear()
            self.direction = -self.bound * self.gradient
            slope = _dot(self.gradient, self.direction)
        return slope

    def move(self, slope: Tensor) -> None:
        """Go so far along the direction that the loss falls (Armijo's rule)."""
        along = (self.x @ self.direction.flatten(1)).view_as(self.logits)
        size = torch.ones_like(slope)
        for _ in range(HALVINGS):
            weight = self.weight + size[:, None] * self.direction
            logits = self.logits + size[:, None] * along
            shared = logits.logsumexp(-1, keepdim=True)
            value = _nll(logits, shared, self.target) + _half_square(weight, self.penalty)
            bad = value > self.value + 1e-4 * size * slope + 1e-6 * self.value.abs()
            if not bool(bad.any()):
                break
            size = torch.where(bad, size / 2, size)
        self.stuck = bad  # no step is short enough: rounding is all that is left
        before, step = self.gradient, size[:, None] * self.direction
        self.weight, self.logits, self.value = weight, logits, value
        self.gradient = _gradient(self.x, logits, shared, self.target) + self.penalty * weight
        change = self.gradient - before
        curvature = _dot(step, change)
        # A step without curvature teaches nothing; its pair then counts for nothing.
        self.pairs.append((step, change, torch.where(curvature > 1e-12, 1 / curvature.clamp_min(1e-30), 0)))


def _nll(logits: Tensor, shared: Tensor, target: Tensor) -> Tensor:
    """The summed loss of each fit, in nats: `[fit]` float64."""
    return (shared - logits.gather(-1, target)).sum((0, 2), dtype=torch.float64)


def _half_square(weight: Tensor, penalty: Tensor) -> Tensor:
    return (weight.square() * penalty).sum((0, 2), dtype=torch.float64) / 2


def _gradient(x: Tensor, logits: Tensor, shared: Tensor, target: Tensor) -> Tensor:
    n, fits, classes = logits.shape
    error = (logits - shared).exp_()
    error.scatter_add_(-1, target, torch.full_like(target, -1, dtype=error.dtype))
    return (x.mT @ error.view(n, -1)).view(-1, fits, classes)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((0, 2))


def _direction(gradient: Tensor, bound: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Minus the inverse Hessian times the gradient, by the two-loop recursion."""
    rest = gradient.clone()
    parts = []
    for moved, change, inverse in reversed(pairs):
        part = inverse * _dot(moved, rest)
        rest -= part[:, None] * change
        parts.append(part)
    rest = rest * bound
    if pairs:
        moved, change, inverse = pairs[-1]
        scale = _dot(change, bound * change) * inverse
        rest = rest / torch.where(scale > 0, scale, 1)[:, None]
    for (moved, change, inverse), part in zip(pairs, reversed(parts), strict=True):
        rest += (part - inverse * _dot(change, rest))[:, None] * moved
    return -rest
