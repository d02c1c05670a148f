"""One step of learning, whole and immutable: everything that happened between two updates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .config import Config

Array = np.ndarray


@dataclass(frozen=True)
class Parameters:
    """A number for every weight and bias: the parameters themselves, a gradient, a momentum.

    Attributes:
        weights: one `[from, to]` array a layer of weights.
        biases: one `[to]` array a layer.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __post_init__(self) -> None:
        for array in (*self.weights, *self.biases):
            array.setflags(write=False)

    def flat(self) -> Array:
        """All of them in a row: layer by layer, the weights row by row, then the biases."""
        parts = [part.ravel() for pair in zip(self.weights, self.biases, strict=True) for part in pair]
        return np.concatenate(parts)


@dataclass(frozen=True)
class LossTerms:
    """What is minimized, and its parts. `total` is the sum of the others (`confidence` is negative
    where the output is unsure, since its entropy is taken off)."""

    data: float
    confidence: float
    l1: float
    l2: float

    @property
    def total(self) -> float:
        return self.data + self.confidence + self.l1 + self.l2


@dataclass(frozen=True)
class StepRecord:
    """The update from `before` to `after`.

    Layers of units are counted from 0, the inputs; layer l of weights leads from units l to units
    l + 1. All arrays are float64 and cannot be written.

    Attributes:
        step: how many updates came before this one.
        config: what held for it.
        learning_rate: after the schedule.
        samples: `[sample]` indices of the batch in the training set's own order (`Dataset.train`).
        before, after: the parameters.
        activations: `[sample, unit]` a layer of units, the inputs first.
        pre: `[sample, unit]` what each activation was taken of, a layer of weights each.
        targets: `[sample, output]`, as the loss reads them.
        losses: `[sample, output]` each output's loss (`[sample, 1]` for cross-entropy); their mean
            is `loss.data`.
        loss: the terms of what is minimized, before the update.
        upstream: `[sample, unit]` dL/da, a layer of weights each; of the sample's own loss, so that the
            batch's gradient is the mean over samples. For the output under softmax with
            cross-entropy, and sigmoid with binary cross-entropy, it is None: dL/dz is formed at once.
        delta: `[sample, unit]` dL/dz, likewise of the sample's own loss.
        gradient: of the data loss and the confidence penalty, over the batch.
        penalty: gradient of the L1 and L2 terms.
        norm: of gradient + penalty, before clipping.
        clipped: what the gradient was multiplied by (1 where it was short enough).
        slots_before, slots_after: the optimizer's memory by name (momentum; mean_square; m, v).
        update: what was added: after = before + update, to rounding.
        age: updates that the optimizer's memory had seen before this one (Adam's t is age + 1).
    """

    step: int
    config: Config
    learning_rate: float
    samples: Array
    before: Parameters
    after: Parameters
    activations: tuple[Array, ...]
    pre: tuple[Array, ...]
    targets: Array
    losses: Array
    loss: LossTerms
    upstream: tuple[Array | None, ...]
    delta: tuple[Array, ...]
    gradient: Parameters
    penalty: Parameters
    norm: float
    clipped: float
    slots_before: dict[str, Parameters] = field(default_factory=dict)
    slots_after: dict[str, Parameters] = field(default_factory=dict)
    update: Parameters = field(default=None)  # type: ignore[assignment]
    age: int = 0
