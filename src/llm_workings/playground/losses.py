"""The losses: what an answer costs, and the slope by which the backward pass begins.

Arrays are `[output, sample]`, as the kernel lays them. A sample's loss is the mean over its outputs (one
sum for cross-entropy), the batch's the mean over samples: `torch.nn`'s defaults. Cross-entropies are
formed from z, before the activation, where nothing overflows.
"""

from __future__ import annotations

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput

from .activations import Pointwise, log_softmax
from .config import Config

Array = np.ndarray


def target_values(config: Config) -> tuple[float, float]:
    """What the loss reads for "not this class" and "this class"."""
    return (-1.0, 1.0) if config.loss == "hinge" or config.output == "tanh" else (0.0, 1.0)


def encode(config: Config, data: Dataset) -> Array:
    """The targets as the loss reads them, `[sample, output]`.

    Raises `BadInput` where the network's outputs, its loss and the data do not go together.
    """
    width, spelled = config.layers[-1], "-".join(map(str, config.layers))
    if config.layers[0] != data.inputs.shape[1]:
        raise BadInput(
            f"The network {spelled} reads {config.layers[0]} inputs; {data.name} gives "
            f"{data.inputs.shape[1]} ({', '.join(data.features[:4])}{' …' * (len(data.features) > 4)}).",
            hint=f"Let the first layer have {data.inputs.shape[1]} units.",
            given={"layers": list(config.layers), "features": list(data.features[:20])},
        )
    if data.task == "regression":
        if config.loss not in ("mse", "mae", "huber"):
            raise BadInput(
                f"{data.name} asks for values, and the loss {config.loss} is for classes.",
                hint="Use mse, mae or huber.",
                given={"loss": config.loss, "data": data.name},
            )
        if width != data.targets.shape[1]:
            raise _outputs(config, data, data.targets.shape[1])
        return data.targets
    classes = len(data.classes)
    if width != classes and not (width == 1 and classes == 2):
        raise _outputs(config, data, data.n_outputs)
    low, high = target_values(config)
    if width == 1:
        return np.where(data.targets == 1, high, low)[:, None]
    return np.where(data.targets[:, None] == np.arange(classes), high, low)


def _outputs(config: Config, data: Dataset, wanted: int) -> BadInput:
    return BadInput(
        f"The network {'-'.join(map(str, config.layers))} has {config.layers[-1]} outputs; {data.name} "
        f"asks for {wanted}.",
        hint=f"Let the last layer have {wanted} unit{'s' if wanted > 1 else ''}"
        + (", with softmax and cross_entropy." if wanted > 2 and data.task == "classes" else "."),
        given={"layers": list(config.layers), "data": data.name},
    )


def losses(config: Config, z: Array, a: Array, y: Array) -> Array:
    """Each output's loss, `[output, sample]`; cross-entropy's is one for all of them, `[1, sample]`."""
    match config.loss:
        case "mse":
            return (a - y) ** 2
        case "mae":
            return np.abs(a - y)
        case "huber":
            return _huber(a - y, config.huber_delta)
        case "binary_cross_entropy":
            return np.logaddexp(z, 0.0) - y * z
        case "cross_entropy":
            return -(y * log_softmax(z)).sum(axis=0, keepdims=True)
        case "hinge":
            return np.maximum(0.0, 1.0 - y * a)


def _huber(error: Array, delta: float) -> Array:
    """½ e² within ±delta, delta (|e| − ½ delta) beyond, as `torch.nn.HuberLoss`."""
    size = np.abs(error)
    return np.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))


def confidence(config: Config, z: Array, a: Array) -> Array:
    """The penalty on each sample, −strength · entropy, `[sample]` (Pereyra et al. 2017, eq. 3)."""
    if config.output == "softmax":
        entropy = -(a * log_softmax(z)).sum(axis=0)
    else:  # of each output's own yes or no, the mean over outputs: log(1 + e^z) − z σ(z)
        entropy = (np.logaddexp(z, 0.0) - z * a).mean(axis=0)
    return -config.confidence_penalty * entropy


def fused(config: Config) -> bool:
    """Whether dL/dz is formed at once, without dL/da: the two cross-entropies."""
    return config.loss in ("binary_cross_entropy", "cross_entropy")


def write_slope(config: Config, z: Array, a: Array, y: Array, out: Array) -> None:
    """dL/da of each sample's own loss; for the cross-entropies dL/dz itself (`fused`)."""
    np.subtract(a, y, out)
    match config.loss:
        case "mse":
            np.multiply(out, 2.0 / len(out), out)
        case "mae":
            np.sign(out, out)
            np.divide(out, len(out), out)
        case "huber":
            np.clip(out, -config.huber_delta, config.huber_delta, out)
            np.divide(out, len(out), out)
        case "binary_cross_entropy":
            if len(out) > 1:
                np.divide(out, len(out), out)
        case "hinge":
            np.multiply(y, -1.0 / len(out), out)
            out[y * a >= 1.0] = 0.0


def write_delta(
    config: Config, activation: Pointwise | None, z: Array, a: Array, y: Array, slope: Array, delta: Array
) -> None:
    """dL/dz at the output, of the loss alone; `activation` None is softmax, `slope` is room to work in."""
    write_slope(config, z, a, y, delta)
    if fused(config):
        return
    if activation is None:  # every output moves every other
        np.subtract(delta, (delta * a).sum(axis=0), delta)
        np.multiply(delta, a, delta)
    else:
        activation.write_slope(z, a, slope)
        np.multiply(delta, slope, delta)


def add_confidence_slope(config: Config, z: Array, a: Array, delta: Array) -> None:
    """Adds the penalty's dL/dz to `delta`."""
    if config.output == "softmax":
        logs = log_softmax(z)
        entropy = -(a * logs).sum(axis=0)
        delta += config.confidence_penalty * a * (logs + entropy)
    else:  # the logit is log p − log(1 − p)
        delta += config.confidence_penalty / len(a) * a * (1.0 - a) * z


def decide(config: Config, outputs: Array) -> Array:
    """The class decided for, `[sample]`, from outputs `[output, sample]`."""
    if len(outputs) > 1:
        return outputs.argmax(axis=0)
    low, high = target_values(config)
    return (outputs[0] > (low + high) / 2).astype(np.int64)
