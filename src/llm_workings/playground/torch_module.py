"""A network as a PyTorch module, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_workings.core.errors import NotSupported

from .config import Config
from .record import Array, Parameters

if TYPE_CHECKING:
    from torch import nn

LOSSES = {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}  # else mse
EXACT = 40.0  # softplus: torch returns z itself above this; e^-40 is below float64's resolution of it
TAKEN = "Linear, ReLU, LeakyReLU, Tanh, Sigmoid, Softplus, GELU, SiLU, Identity, Softmax (the last)"


def to_torch(config: Config, parameters: Parameters) -> nn.Sequential:
    """An `nn.Sequential` in float64 that answers as the network does, to 1e-12.

    Its last module is the output's activation: for `nn.CrossEntropyLoss` or `nn.BCEWithLogitsLoss`, which
    take what comes before it, leave that off (`module[:-1]`).
    """
    import torch
    from torch import nn

    modules: list[nn.Module] = []
    for name, weights, biases in zip(config.activations, parameters.weights, parameters.biases, strict=True):
        linear = nn.Linear(weights.shape[0], weights.shape[1], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(weights.T)))
            linear.bias.copy_(torch.from_numpy(np.array(biases)))
        modules += [linear, _activation(name, config)]
    return nn.Sequential(*modules)


def _activation(name: str, config: Config) -> nn.Module:
    from torch import nn

    match name:
        case "linear":
            return nn.Identity()
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU(config.leaky_slope)
        case "tanh":
            return nn.Tanh()
        case "sigmoid":
            return nn.Sigmoid()
        case "softplus":
            return nn.Softplus(threshold=EXACT)
        case "gelu":
            return nn.GELU()
        case "silu":
            return nn.SiLU()
        case "sine":
            return _sine()()
        case _:
            return nn.Softmax(dim=-1)


_made: list[Any] = []


def _sine() -> Any:
    """The class of a module that torch lacks, made where torch is first needed."""
    import torch
    from torch import nn

    if not _made:

        class Sine(nn.Module):
            """sin(z)."""

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                return torch.sin(z)

        _made.append(Sine)
    return _made[0]


def from_torch(module: nn.Module, **settings: Any) -> tuple[Config, Parameters]:
    """The network that an `nn.Sequential` of `Linear` and activations is, and its parameters.

    Args:
        module: may hold other `nn.Sequential`s. A `Linear` without bias has biases of 0 here.
        **settings: fields of the config that the module does not say: learning_rate, optimizer ... The loss
            is by default what goes with the last activation.

    Raises:
        NotSupported: a module that such a network cannot have, named, with what it can.
        BadInput, TooLarge: as `Config.of`.
    """
    from torch import nn

    if not isinstance(module, nn.Sequential):
        raise NotSupported(
            f"{type(module).__name__} is no nn.Sequential.", hint=f"Give an nn.Sequential of {TAKEN}."
        )
    weights, biases, activations = list[Array](), list[Array](), list[str]()
    slopes: dict[str, float] = {}
    for where, each in _flat(module):
        if isinstance(each, nn.Linear):
            if len(activations) < len(weights):
                activations.append("linear")
            if weights and weights[-1].shape[1] != each.in_features:
                raise NotSupported(
                    f"Module {where} (Linear) reads {each.in_features} inputs; what comes before it gives "
                    f"{weights[-1].shape[1]}."
                )
            weights.append(_numbers(each.weight).T.copy())
            biases.append(np.zeros(each.out_features) if each.bias is None else _numbers(each.bias))
            continue
        name = _name(where, each)
        if len(activations) == len(weights):
            if name == "linear":
                continue
            after = "comes after another activation" if weights else "comes before the first Linear"
            raise NotSupported(
                f"Module {where} ({type(each).__name__}) {after}.", hint="A layer is a Linear and then one."
            )
        activations.append(name)
        if isinstance(each, nn.LeakyReLU):
            slopes[where] = each.negative_slope
    if not weights:
        raise NotSupported("The module has no Linear.", hint=f"Give an nn.Sequential of {TAKEN}.")
    if len(activations) < len(weights):
        activations.append("linear")
    if len(set(slopes.values())) > 1:
        said = ", ".join(f"{slope:g} at module {where}" for where, slope in slopes.items())
        raise NotSupported(f"The slopes of LeakyReLU differ ({said}); here a network has one.")
    if slopes:
        settings = {"leaky_slope": next(iter(slopes.values())), **settings}
    settings = {"loss": LOSSES.get(activations[-1], "mse"), **settings}
    layers = [weights[0].shape[0], *(matrix.shape[1] for matrix in weights)]
    return Config.of(layers=layers, activations=activations, **settings), Parameters(
        tuple(weights), tuple(biases)
    )


def _flat(module: nn.Module, inside: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules in order with their names, such as 1.0."""
    from torch import nn

    for name, each in module.named_children():
        if isinstance(each, nn.Sequential):
            yield from _flat(each, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", each


def _numbers(tensor: Any) -> Array:
    return np.array(tensor.detach().cpu().double().numpy())


def _name(where: str, module: nn.Module) -> str:
    """The activation that a module is."""
    from torch import nn

    plain = {
        nn.Identity: "linear",
        nn.ReLU: "relu",
        nn.LeakyReLU: "leaky_relu",
        nn.Tanh: "tanh",
        nn.Sigmoid: "sigmoid",
        nn.SiLU: "silu",
        _sine(): "sine",
    }
    why = f"Only these can be: {TAKEN}."
    match module:
        case nn.GELU():
            if module.approximate == "none":
                return "gelu"
            why = "Only the exact GELU can be: approximate='none'."
        case nn.Softplus():
            if module.beta == 1:
                return "softplus"
            why = "Only a Softplus of beta 1 can be."
        case nn.Softmax():
            if module.dim in (-1, 1):
                return "softmax"
            why = "Only a Softmax over the units can be: dim=-1."
        case _ if type(module) in plain:
            return plain[type(module)]
    raise NotSupported(f"Module {where} is {module!r}, which a network here cannot have.", hint=why)
