"""The same network in PyTorch, written from the formulas: the oracle of the playground's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.dataset import Dataset
from llm_workings.playground.config import Config
from llm_workings.playground.record import Parameters

ACTIVATIONS: dict[str, Callable[[Tensor, Config], Tensor]] = {
    "linear": lambda z, c: z,
    "relu": lambda z, c: F.relu(z),
    "leaky_relu": lambda z, c: F.leaky_relu(z, c.leaky_slope),
    "tanh": lambda z, c: torch.tanh(z),
    "sigmoid": lambda z, c: torch.sigmoid(z),
    "softplus": lambda z, c: F.softplus(z, threshold=1e9),
    "gelu": lambda z, c: F.gelu(z),
    "silu": lambda z, c: F.silu(z),
    "sine": lambda z, c: torch.sin(z),
    "softmax": lambda z, c: z.softmax(-1),
}


def tensors_of(parameters: Parameters) -> list[Tensor]:
    """Leaves that require gradients, in the order weights, biases, weights, biases ..."""
    pairs = zip(parameters.weights, parameters.biases, strict=True)
    return [torch.tensor(np.array(part), requires_grad=True) for pair in pairs for part in pair]


def forward(config: Config, leaves: list[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(z, a) of the output layer, `[sample, output]`."""
    a = z = inputs
    for name, weights, bias in zip(config.activations, leaves[::2], leaves[1::2], strict=True):
        z = a @ weights + bias
        a = ACTIVATIONS[name](z, config)
    return z, a


def data_loss(config: Config, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """The mean loss as `torch.nn.functional` computes it, with the confidence penalty."""
    match config.loss:
        case "mse":
            loss = F.mse_loss(a, y)
        case "mae":
            loss = F.l1_loss(a, y)
        case "huber":
            loss = F.huber_loss(a, y, delta=config.huber_delta)
        case "binary_cross_entropy":
            loss = F.binary_cross_entropy_with_logits(z, y)
        case "cross_entropy":
            loss = F.cross_entropy(z, y.argmax(-1))
        case "hinge":
            loss = (1 - y * a).clamp(min=0).mean()
    if config.confidence_penalty:
        if config.output == "softmax":
            entropy = torch.distributions.Categorical(logits=z).entropy()
        else:
            entropy = torch.distributions.Bernoulli(logits=z).entropy().mean(-1)
        loss = loss - config.confidence_penalty * entropy.mean()
    return loss


def penalty(config: Config, leaves: list[Tensor]) -> Tensor:
    penalized = leaves if config.penalize_bias else leaves[::2]
    l1 = sum((w.abs().sum() for w in penalized), torch.zeros((), dtype=torch.float64))
    l2 = sum((w.pow(2).sum() for w in penalized), torch.zeros((), dtype=torch.float64))
    return config.l1 * l1 + 0.5 * config.l2 * l2


def optimizer_of(config: Config, leaves: list[Tensor]) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"lr": config.learning_rate}
    match config.optimizer:
        case "sgd":
            return torch.optim.SGD(leaves, **settings)
        case "momentum" | "nesterov":
            nesterov = config.optimizer == "nesterov"
            return torch.optim.SGD(leaves, momentum=config.momentum, nesterov=nesterov, **settings)
        case "rmsprop":
            return torch.optim.RMSprop(leaves, alpha=config.decay, eps=config.epsilon, **settings)
        case "adam":
            betas = (config.beta1, config.beta2)
            return torch.optim.Adam(leaves, betas=betas, eps=config.epsilon, **settings)
        case "adamw":
            betas = (config.beta1, config.beta2)
            groups = [
                {"params": leaves[::2], "weight_decay": config.weight_decay},
                {
                    "params": leaves[1::2],
                    "weight_decay": config.weight_decay if config.penalize_bias else 0.0,
                },
            ]
            return torch.optim.AdamW(groups, betas=betas, eps=config.epsilon, **settings)


def points(n: int, features: int, outputs: int, task: str, seed: int, test: int = 0) -> Dataset:
    """A data set of random points, `outputs` classes (2 for one output) or values."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(n, features))
    classes = () if task == "regression" else tuple(map(str, range(max(2, outputs))))
    targets = draw.normal(size=(n, outputs)) if not classes else draw.integers(0, len(classes), n)
    names = tuple(f"x{i}" for i in range(features))
    order = draw.permutation(n)
    return Dataset(
        "random",
        inputs,
        inputs,
        targets,
        task,
        classes,
        order[test:],
        order[:test],
        names,
        names,
        None,  # type: ignore[arg-type]
    )
