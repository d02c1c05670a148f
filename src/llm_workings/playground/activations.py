"""The activations: what each unit makes of its sum, and the slope of that.

Each is a value and a slope, element by element, on arrays of any shape; `out` takes the result without a
new array. Softmax, which looks at all units of its layer at once, stands apart at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from .config import Activation, Config

Array = np.ndarray
Value = Callable[[Array, Array], object]
Slope = Callable[[Array, Array, Array], object]

# Numbers as arrays: a ufunc converts a Python number anew at every call, which costs as much as its work.
ONE, HALF = np.array(1.0), np.array(0.5)
ROOT_HALF, ROOT_TWO_PI = np.array(sqrt(0.5)), np.array(1 / sqrt(2 * pi))


@dataclass(frozen=True)
class Pointwise:
    """An activation that treats each unit alone.

    Attributes:
        write_value: (z, out), writes f(z).
        write_slope: (z, a, out), writes f'(z), with a = f(z) at hand.
    """

    write_value: Value
    write_slope: Slope

    def value(self, z: Array) -> Array:
        """f(z)."""
        out = np.empty_like(z)
        self.write_value(z, out)
        return out

    def slope(self, z: Array, a: Array) -> Array:
        """f'(z), where `a` is f(z)."""
        out = np.empty_like(z)
        self.write_slope(z, a, out)
        return out


def sigmoid(z: Array, out: Array) -> None:
    """1 / (1 + e^-z), as (1 + tanh(z / 2)) / 2, which overflows nowhere."""
    np.multiply(z, HALF, out)
    np.tanh(out, out)
    np.add(out, ONE, out)
    np.multiply(out, HALF, out)


def _sigmoid_slope(z: Array, a: Array, out: Array) -> None:
    np.subtract(ONE, a, out)
    np.multiply(out, a, out)


def _tanh_slope(z: Array, a: Array, out: Array) -> None:
    np.multiply(a, a, out)
    np.subtract(ONE, out, out)


def _relu(z: Array, out: Array) -> None:
    np.maximum(z, 0.0, out=out)


def _relu_slope(z: Array, a: Array, out: Array) -> None:
    np.greater(z, 0.0, out, casting="unsafe")  # 0 at 0, as in torch


def _leaky_relu(share: float) -> Pointwise:
    def value(z: Array, out: Array) -> None:
        np.multiply(z, np.where(z > 0, 1.0, share), out)

    def slope(z: Array, a: Array, out: Array) -> None:
        out[...] = np.where(z > 0, 1.0, share)

    return Pointwise(value, slope)


def _softplus(z: Array, out: Array) -> None:
    np.logaddexp(z, 0.0, out)


def _softplus_slope(z: Array, a: Array, out: Array) -> None:
    sigmoid(z, out)


def _gelu_parts(z: Array) -> tuple[Array, Array]:
    """The normal distribution's cumulative and density at z (Hendrycks and Gimpel 2016; the exact form)."""
    from scipy.special import erf

    cumulative = 0.5 * (1.0 + erf(z * ROOT_HALF))
    return cumulative, np.exp(-0.5 * z * z) * ROOT_TWO_PI


def _gelu(z: Array, out: Array) -> None:
    np.multiply(z, _gelu_parts(z)[0], out)


def _gelu_slope(z: Array, a: Array, out: Array) -> None:
    cumulative, density = _gelu_parts(z)
    np.add(cumulative, z * density, out)


def _silu(z: Array, out: Array) -> None:
    sigmoid(z, out)
    np.multiply(z, out, out)


def _silu_slope(z: Array, a: Array, out: Array) -> None:
    s = np.empty_like(z)
    sigmoid(z, s)
    np.add(s, a * (1.0 - s), out)


def _linear(z: Array, out: Array) -> None:
    out[...] = z


def _linear_slope(z: Array, a: Array, out: Array) -> None:
    out[...] = 1.0


def _sine_slope(z: Array, a: Array, out: Array) -> None:
    np.cos(z, out)


POINTWISE: dict[str, Pointwise] = {
    "linear": Pointwise(_linear, _linear_slope),
    "relu": Pointwise(_relu, _relu_slope),
    "tanh": Pointwise(np.tanh, _tanh_slope),
    "sigmoid": Pointwise(sigmoid, _sigmoid_slope),
    "softplus": Pointwise(_softplus, _softplus_slope),
    "gelu": Pointwise(_gelu, _gelu_slope),
    "silu": Pointwise(_silu, _silu_slope),
    "sine": Pointwise(np.sin, _sine_slope),
}


def pointwise(name: Activation, config: Config) -> Pointwise:
    """The activation called `name`, with the config's leak where it has one; not softmax."""
    return _leaky_relu(config.leaky_slope) if name == "leaky_relu" else POINTWISE[name]


def softmax(z: Array, out: Array) -> None:
    """e^z over its sum, down the first axis `[unit, sample]`; shifted by the largest, so it stays finite."""
    np.subtract(z, z.max(axis=0), out)
    np.exp(out, out)
    np.divide(out, out.sum(axis=0), out)


def log_softmax(z: Array) -> Array:
    """The logarithm of softmax down the first axis, finite at any finite z."""
    shifted = z - z.max(axis=0)
    return shifted - np.log(np.exp(shifted).sum(axis=0))


RANGES: dict[str, tuple[float, float]] = {
    "tanh": (-1, 1),
    "sigmoid": (0, 1),
    "softmax": (0, 1),
    "sine": (-1, 1),
}
"""Where an activation is bounded: it saturates near these (sine does not: it turns back)."""
