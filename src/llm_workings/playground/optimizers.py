"""The optimizers: from a gradient to an update, in place on flat arrays, as `torch.optim` computes them.

Each keeps its memory in named slots (`SLOTS`), zero at first. `update` may overwrite the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sqrt

import numpy as np

from .config import Config

Array = np.ndarray
Slots = dict[str, Array]
Update = Callable[[float, int], None]

SLOTS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "nesterov": ("momentum",),
    "rmsprop": ("mean_square",),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
}


def learning_rate(config: Config, step: int) -> float:
    """The rate of the update that follows `step` updates: the schedule's, times the warm-up's share."""
    rate, every, factor = config.learning_rate, config.schedule_every, config.schedule_factor
    match config.schedule:
        case "step":
            rate *= factor ** (step // every)
        case "exponential":
            rate *= factor ** (step / every)
        case "cosine":
            rate *= 0.5 * (1.0 + cos(pi * min(step, every) / every))
    return rate * min(1.0, (step + 1) / config.warmup) if config.warmup else rate


def updater(config: Config, parameters: Array, gradient: Array, slots: Slots, decayed: Array) -> Update:
    """`update(rate, step)`, which changes `parameters` and `slots` in place by what is in `gradient`.

    Args:
        decayed: 1 where AdamW's weight decay applies, 0 elsewhere.
    """
    scratch = np.empty_like(parameters)

    def descend(rate: float, direction: Array) -> None:
        np.multiply(direction, rate, scratch)
        np.subtract(parameters, scratch, parameters)

    def sgd(rate: float, step: int) -> None:
        descend(rate, gradient)

    def momentum(rate: float, step: int) -> None:
        """v = μ v + g; w −= rate · v (Sutskever et al. 2013, in torch's form)."""
        velocity = slots["momentum"]
        np.multiply(velocity, config.momentum, velocity)
        np.add(velocity, gradient, velocity)
        descend(rate, velocity)

    def nesterov(rate: float, step: int) -> None:
        """v = μ v + g; w −= rate · (g + μ v)."""
        velocity = slots["momentum"]
        np.multiply(velocity, config.momentum, velocity)
        np.add(velocity, gradient, velocity)
        np.multiply(velocity, config.momentum, scratch)
        np.add(gradient, scratch, gradient)
        descend(rate, gradient)

    def rmsprop(rate: float, step: int) -> None:
        """s = decay · s + (1 − decay) g²; w −= rate · g / (√s + ε) (Hinton 2012)."""
        square = slots["mean_square"]
        np.multiply(square, config.decay, square)
        np.multiply(gradient, gradient, scratch)
        np.multiply(scratch, 1.0 - config.decay, scratch)
        np.add(square, scratch, square)
        np.sqrt(square, scratch)
        np.add(scratch, config.epsilon, scratch)
        np.divide(gradient, scratch, gradient)
        descend(rate, gradient)

    def adam(rate: float, step: int) -> None:
        """Kingma and Ba 2015, algorithm 1; AdamW's decay acts on the weights (Loshchilov, Hutter 2019)."""
        if config.optimizer == "adamw":
            np.multiply(decayed, rate * config.weight_decay, scratch)
            np.multiply(scratch, parameters, scratch)
            np.subtract(parameters, scratch, parameters)
        m, v = slots["m"], slots["v"]
        np.subtract(gradient, m, scratch)
        np.multiply(scratch, 1.0 - config.beta1, scratch)
        np.add(m, scratch, m)
        np.multiply(gradient, gradient, scratch)
        np.multiply(scratch, 1.0 - config.beta2, scratch)
        np.multiply(v, config.beta2, v)
        np.add(v, scratch, v)
        np.sqrt(v, scratch)
        np.divide(scratch, sqrt(1.0 - config.beta2 ** (step + 1)), scratch)
        np.add(scratch, config.epsilon, scratch)
        np.divide(m, scratch, gradient)
        descend(rate / (1.0 - config.beta1 ** (step + 1)), gradient)

    choices: dict[str, Update] = {
        "sgd": sgd,
        "momentum": momentum,
        "nesterov": nesterov,
        "rmsprop": rmsprop,
        "adam": adam,
        "adamw": adam,
    }
    return choices[config.optimizer]
