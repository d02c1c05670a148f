"""Probes: small models that read a property off a vector.

Each reads standardized vectors (less the mean and divided by the standard deviation of those that it
learned from), for a stream's units differ in size a thousandfold and a penalty on the weights would
otherwise fall on the small ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator

from .mdl import ridge_from
from .solver import Solution, logistic

LINEAR_L2 = 30.0
RIDGE_L2 = 300.0
TOLERANCE = 1e-6  # nats a sample, of one fit; a study of many is content with less


@dataclass(frozen=True)
class Standard:
    """What vectors are standardized by: mean and standard deviation, `[d]` float32 each."""

    mean: Tensor
    scale: Tensor

    @staticmethod
    def of(x: Tensor) -> Standard:
        """Of vectors `[n, d]`; a unit that never changes is left at its size."""
        spread, mean = torch.std_mean(x.double(), 0, correction=0)
        # A unit whose values differ by rounding alone says nothing, and is not blown up to say it.
        still = spread <= 1e-6 * mean.abs()
        return Standard(mean.float(), torch.where(still, 1, spread).float())

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class Basis:
    """Standardized training vectors in the basis of their Gram matrix's eigenvectors.

    There the vectors' units are uncorrelated, and the fits of `solver.logistic` take few steps; the
    penalty |W|^2 is the same in every orthonormal basis. The labels have no part in it.

    Args:
        x: `[n, d]`, the training vectors as they are.
    """

    def __init__(self, x: Tensor):
        self.standard = Standard.of(x)
        self.plain = self.standard(x)

    @cached_property
    def vectors(self) -> Tensor:
        """Eigenvectors in columns, `[d, min(n, d)]`: along the others no training vector goes."""
        if len(self.plain) < self.plain.shape[1]:  # the same by a far smaller problem
            return torch.linalg.svd(self.plain, full_matrices=False)[2].mT
        return torch.linalg.eigh(self.plain.mT @ self.plain)[1]

    @cached_property
    def turned(self) -> Tensor:
        """The training vectors in that basis, `[n, min(n, d)]`."""
        return self.plain @ self.vectors

    def back(self, solution: Solution) -> tuple[Tensor, Tensor]:
        """Weights `[fit, class, d]` on the vectors as they are, and biases `[fit, class]`."""
        weight = (self.vectors @ solution.weight[:-1].flatten(1)).view(-1, *solution.weight.shape[1:])
        weight = weight / self.standard.scale[:, None, None]
        bias = solution.weight[-1] - torch.einsum("d,dfc->fc", self.standard.mean, weight)
        return weight.permute(1, 2, 0).contiguous(), bias


# --- linear --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression.

    Attributes:
        weight: `[class, d]`, on the vectors as they are (not standardized).
        bias: `[class]`.
        l2: its regularization.
        converged: whether the fit reached its tolerance.
    """

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    converged: bool = True

    def logits(self, x: np.ndarray) -> np.ndarray:
        """`[n, class]` of vectors `[n, d]`."""
        return np.asarray(_fits(x, self.weight.shape[1]) @ self.weight.T + self.bias)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The likeliest class of each of `[n, d]` vectors: `[n]`."""
        return self.logits(x).argmax(1)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The share of right answers."""
        return float((self.predict(x) == labels).mean())


def fit_linear(
    x: np.ndarray, labels: np.ndarray, *, n_classes: int | None = None, l2: float = LINEAR_L2
) -> LinearProbe:
    """Logistic regression: the minimum of sum -log p(label | x) + l2/2 |W|^2, W on standardized vectors.

    Args:
        x: `[n, d]`.
        labels: `[n]`, whole numbers from 0.
        l2: regularization, above 0; scikit-learn's C is its inverse.

    Raises:
        BadInput: a single class, a bad label, nothing to learn from, a NaN or an infinity.
        BadShape: vectors and labels of different number.
    """
    rows, classes = _checked(x, labels)
    k = int(classes.max()) + 1 if n_classes is None else n_classes
    if len(np.unique(labels)) < 2:
        raise BadInput(f"All {len(labels)} labels are the same: there is nothing to tell apart.")
    if not l2 > 0:
        raise BadInput(f"The regularization is {l2}.", hint="Take one above 0.")
    basis = Basis(rows)
    strength = torch.tensor([l2], dtype=torch.float64)
    fit = logistic(basis.turned, classes[None], k, strength, tolerance=TOLERANCE)
    weight, bias = basis.back(fit)
    return LinearProbe(weight[0].numpy(), bias[0].numpy(), l2, fit.converged)


@dataclass(frozen=True)
class RidgeProbe:
    """Ridge regression: `weight` is `[d]` on the vectors as they are, `bias` a number."""

    weight: np.ndarray
    bias: float
    l2: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The value of each of `[n, d]` vectors: `[n]`."""
        return np.asarray(_fits(x, len(self.weight)) @ self.weight + self.bias)


def fit_ridge(x: np.ndarray, values: np.ndarray, *, l2: float = RIDGE_L2) -> RidgeProbe:
    """Ridge regression in closed form: the minimum of |y - Xw - b|^2 + l2 |w|^2, X standardized.

    Args:
        x: `[n, d]`.
        values: `[n]`.

    Raises:
        BadInput, BadShape: as `fit_linear`.
    """
    rows, target = _checked(x, values)
    if not l2 > 0:
        raise BadInput(f"The regularization is {l2}.", hint="Take one above 0.")
    standard = Standard.of(rows)
    weight, bias = ridge(standard(rows).double(), target[:, None].double(), [l2])
    plain = (weight[0, :, 0] / standard.scale).numpy()
    return RidgeProbe(plain, float(bias[0, 0]) - float(standard.mean.double().numpy() @ plain), l2)


def ridge(x: Tensor, targets: Tensor, strengths: list[float]) -> tuple[Tensor, Tensor]:
    """Ridge regressions of `[n, target]` on standardized `[n, d]`: `[strength, d, target]` and biases."""
    gram, products = (x.mT @ x).double(), (x.mT @ targets.to(x)).double()
    totals = targets.sum(0, dtype=torch.float64)
    return ridge_from(gram, products, x.sum(0).double(), totals, len(x), strengths)


# --- one hidden layer ------------------------------------------------------------------------------
@dataclass(frozen=True)
class MLPProbe:
    """A probe with one hidden layer of ReLU units, for contrast: what is there but not linearly.

    `layers` are weight and bias of the two layers, on standardized vectors.
    """

    standard: Standard
    layers: tuple[Tensor, Tensor, Tensor, Tensor]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The likeliest class of each of `[n, d]` vectors: `[n]`."""
        rows = torch.as_tensor(_fits(x, self.layers[0].shape[1]), dtype=torch.float32)
        return np.asarray(_mlp(self.standard(rows), self.layers).argmax(1))

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The share of right answers."""
        return float((self.predict(x) == labels).mean())


def fit_mlp(
    x: np.ndarray,
    labels: np.ndarray,
    *,
    n_classes: int | None = None,
    hidden: int = 64,
    epochs: int = 30,
    rate: float = 3e-3,
    decay: float = 0.01,
    batch: int = 256,
    seed: int = 0,
    progress: Progress = SILENT,
) -> MLPProbe:
    """A probe of one hidden layer, by AdamW (Loshchilov and Hutter 2019) with a rate that falls to 0.

    Args:
        hidden: units of the hidden layer.
        epochs: passes over the training vectors.
        rate, decay: AdamW's learning rate and weight decay.

    Raises as `fit_linear`.
    """
    rows, classes = _checked(x, labels)
    if len(np.unique(labels)) < 2:
        raise BadInput(f"All {len(labels)} labels are the same: there is nothing to tell apart.")
    k = int(classes.max()) + 1 if n_classes is None else n_classes
    standard = Standard.of(rows)
    rows = standard(rows)
    n, d = rows.shape
    draw = generator(seed)
    layers = (
        torch.randn(hidden, d, generator=draw) * (2 / d) ** 0.5,
        torch.zeros(hidden),
        torch.randn(k, hidden, generator=draw) * hidden**-0.5,
        torch.zeros(k),
    )
    for layer in layers:
        layer.requires_grad_()
    optimizer = torch.optim.AdamW(layers, lr=rate, weight_decay=decay)
    steps = epochs * -(-n // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        progress.report("fitting an MLP probe", epoch, epochs)
        for pick in torch.randperm(n, generator=draw).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(_mlp(rows[pick], layers), classes[pick]).backward()
            optimizer.step()
            schedule.step()
    a, b, c, e = (layer.detach() for layer in layers)
    return MLPProbe(standard, (a, b, c, e))


def _mlp(x: Tensor, layers: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    return F.linear(F.relu(F.linear(x, layers[0], layers[1])), layers[2], layers[3])


# --- small things ----------------------------------------------------------------------------------
def _checked(x: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors as float32, labels as int64 (or values as float64)."""
    x, labels = np.asarray(x), np.asarray(labels)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise BadShape(
            f"The vectors are {list(x.shape)} and the labels {list(labels.shape)}.",
            hint="A probe learns from [n, d] vectors and [n] labels.",
        )
    if not len(x):
        raise BadInput("There is nothing to learn from: no vectors.")
    if not np.isfinite(x).all() or not np.isfinite(labels).all():
        raise BadInput("The vectors or labels have a NaN or an infinity in them.")
    rows = torch.as_tensor(np.ascontiguousarray(x, np.float32))
    if not np.issubdtype(labels.dtype, np.integer):
        return rows, torch.as_tensor(labels.astype(float))
    if labels.min() < 0:
        raise BadInput(f"There is a label {labels.min()}.", hint="Classes are numbers from 0.")
    return rows, torch.as_tensor(labels.astype(np.int64))


def _fits(x: np.ndarray, d: int) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != d:
        raise BadShape(f"This probe reads [n, {d}] vectors; given were {list(x.shape)}.")
    return x
