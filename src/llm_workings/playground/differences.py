"""Derivatives without the chain rule: move a parameter both ways a little and see what the loss does.

A second computation of the network, from the formulas and apart from the kernel's, so that each can find
the other's mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .config import Config
from .equation import Check
from .record import Parameters, StepRecord

Array = np.ndarray
STEP = float(np.finfo(float).eps ** (1 / 3))  # where rounding (eps / h) and curvature (h²) weigh the same
MOST = 2_000_000  # numbers in one array


def measure(
    record: StepRecord,
    wanted: Sequence[tuple[int, int, int]],
    loss_of: Callable[[Parameters], float] | None = None,
) -> list[Check]:
    """A check of the record's gradient by each wanted parameter.

    Args:
        wanted: (layer of weights, from, to); from is the number of units below for a bias.
        loss_of: what to take the differences of, by default the batch's loss and confidence penalty from
            the formulas below.
    """
    found: dict[tuple[int, int, int], float] = {}
    with np.errstate(all="ignore"):
        layers = _below(record) if loss_of is None else []
        for l in sorted({l for l, _, _ in wanted}):
            own = [(i, j) for at, i, j in wanted if at == l]
            values = (
                [_moved(record, l, i, j, loss_of) for i, j in own]
                if loss_of
                else _of_layer(record, layers[l], l, own)
            )
            found |= {(l, i, j): value for (i, j), value in zip(own, values, strict=True)}
    checks = []
    for l, i, j in wanted:
        derived, measured = _entry(record.gradient, l, i, j), found[l, i, j]
        checks.append(Check(measured, abs(measured - derived) / max(1.0, abs(derived))))
    return checks


def _entry(parameters: Parameters, l: int, i: int, j: int) -> float:
    weights = parameters.weights[l]
    return float(weights[i, j] if i < len(weights) else parameters.biases[l][j])


def _moved(record: StepRecord, l: int, i: int, j: int, loss_of: Callable[[Parameters], float]) -> float:
    """One central difference of a given function of all parameters."""
    h = STEP * max(1.0, abs(_entry(record.before, l, i, j)))

    def at(by: float) -> float:
        weights = [array.copy() for array in record.before.weights]
        biases = [array.copy() for array in record.before.biases]
        target, index = (weights[l], (i, j)) if i < len(weights[l]) else (biases[l], (j,))
        target[index] += by
        return loss_of(Parameters(tuple(weights), tuple(biases)))

    return (at(h) - at(-h)) / (2 * h)


def _below(record: StepRecord) -> list[Array]:
    """What each layer of weights reads, `[sample, from]`."""
    a, found = record.activations[0], []
    for l, name in enumerate(record.config.activations):
        found.append(a)
        a = activate(record.config, name, a @ record.before.weights[l] + record.before.biases[l])
    return found


def _of_layer(record: StepRecord, below: Array, l: int, wanted: list[tuple[int, int]]) -> list[float]:
    """Central differences by parameters of one layer: moving w moves the sum it enters by h times a."""
    before = record.before
    z = below @ before.weights[l] + before.biases[l]
    reads = np.hstack([below, np.ones((len(below), 1))]).T  # [from + 1, sample]
    widest = max(record.config.layers[l + 1 :])
    at_once = max(1, MOST // (2 * len(below) * widest))
    found: list[float] = []
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        h = np.array([STEP * max(1.0, abs(_entry(before, l, i, j))) for i, j in some])
        moved = np.repeat(z[None], 2 * len(some), axis=0)  # [up and down, sample, to]
        for v, (i, j) in enumerate(some):
            moved[2 * v, :, j] += h[v] * reads[i]
            moved[2 * v + 1, :, j] -= h[v] * reads[i]
        losses = _loss_above(record, l, moved)
        found += ((losses[::2] - losses[1::2]).mean(axis=1) / (2 * h)).tolist()
    return found


def _loss_above(record: StepRecord, l: int, z: Array) -> Array:
    """Each sample's loss `[variant, sample]`, from a layer's sums `[variant, sample, to]` on."""
    config = record.config
    a = activate(config, config.activations[l], z)
    for above in range(l + 1, len(config.activations)):
        z = a @ record.before.weights[above] + record.before.biases[above]
        a = activate(config, config.activations[above], z)
    return sample_loss(config, z, a, record.targets)


def activate(config: Config, name: str, z: Array) -> Array:
    """f(z), units in the last axis."""
    match name:
        case "relu":
            return np.maximum(z, 0.0)
        case "leaky_relu":
            return np.where(z > 0, z, config.leaky_slope * z)
        case "tanh":
            return np.tanh(z)
        case "sigmoid":
            return 1.0 / (1.0 + np.exp(-z))
        case "softplus":
            return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
        case "gelu":
            from scipy.special import ndtr

            return z * ndtr(z)
        case "silu":
            return z / (1.0 + np.exp(-z))
        case "sine":
            return np.sin(z)
        case "softmax":
            powers = np.exp(z - z.max(axis=-1, keepdims=True))
            return powers / powers.sum(axis=-1, keepdims=True)
    return z


def sample_loss(config: Config, z: Array, a: Array, y: Array) -> Array:
    """Each sample's loss and confidence penalty, outputs in the last axis."""
    error = a - y
    match config.loss:
        case "mse":
            each = error**2
        case "mae":
            each = np.abs(error)
        case "huber":
            bound, size = config.huber_delta, np.abs(error)
            each = np.where(size <= bound, error**2 / 2, bound * (size - bound / 2))
        case "hinge":
            each = np.maximum(0.0, 1.0 - y * a)
        case "binary_cross_entropy":
            each = _softplus(z) - y * z
        case _:  # cross-entropy
            each = -(y * _log_softmax(z)).sum(axis=-1, keepdims=True)
    loss = each.mean(axis=-1)
    if config.confidence_penalty:
        if config.output == "softmax":
            entropy = -(a * _log_softmax(z)).sum(axis=-1)
        else:
            entropy = (a * _softplus(-z) + (1.0 - a) * _softplus(z)).mean(axis=-1)
        loss = loss - config.confidence_penalty * entropy
    return loss


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def _log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
