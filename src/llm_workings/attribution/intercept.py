"""Stepping in where a network calls one of torch's functions, whether a module calls it or plain code does.

Guided backprop, DeepLift and LRP all replace the derivative of some operations. A `TorchFunctionMode` sees
`nn.ReLU()(x)`, `F.relu(x)` and `x.relu()` alike, each use of a module that is used twice by itself, and the
additions of a residual net; hooks on modules see only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llm_workings.core.errors import NotSupported

Handler = Callable[..., Any]

RELU = (F.relu, torch.relu, Tensor.relu)
ACTIVATIONS = (
    *RELU,
    *(F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus, F.prelu),
    *(F.hardtanh, F.hardswish, F.hardsigmoid, F.sigmoid, F.tanh, F.logsigmoid, F.softsign),
    *(torch.sigmoid, torch.tanh, torch.clamp, Tensor.sigmoid, Tensor.tanh, Tensor.clamp),
)
MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.adaptive_max_pool1d, F.adaptive_max_pool2d)
AVERAGE_POOLS = (F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)
ADDITIONS = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
ADDITIONS_IN_PLACE = (Tensor.__iadd__, Tensor.add_)
PRODUCTS = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
OVERWRITING = (
    torch.relu_,
    Tensor.relu_,
    F.relu_,
    torch.sigmoid_,
    Tensor.sigmoid_,
    Tensor.tanh_,
    Tensor.clamp_,
)


def each(functions: Iterable[Callable], handler: Handler) -> dict[Callable, Handler]:
    """The same handler for several functions."""
    return dict.fromkeys(functions, handler)


class Intercept(TorchFunctionMode):
    """Inside of `with Intercept(table):` a call goes to its handler: `handler(function, *args, **kwargs)`.

    Raises `NotSupported` for an activation that writes over its input: its replacement could not.
    """

    def __init__(self, table: Mapping[Callable, Handler]):
        super().__init__()
        self.table = table

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = self.table.get(func)
        if handler is not None:
            return handler(func, *args, **kwargs)
        if func in OVERWRITING:
            raise NotSupported(
                f"The network calls {func.__name__}, which writes over its input, so no rule can replace it.",
                hint=f"Call {func.__name__.rstrip('_')} instead, or use an nn module.",
            )
        return func(*args, **kwargs)
