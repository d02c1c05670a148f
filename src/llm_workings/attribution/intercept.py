"""Stepping in where a network calls one of torch's functions, whether a module calls it or plain code does.

Guided backprop, DeepLift and LRP all replace the derivative of some operations. A `TorchFunctionMode` sees
`nn.ReLU()(x)`, `F.relu(x)` and `x.relu()` alike, each use of a module that is used twice by itself, and the
additions of a residual net; hooks on modules see only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
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
DIFFERENCES = (torch.sub, torch.subtract, Tensor.sub, Tensor.subtract, Tensor.__sub__)
DIFFERENCES_REVERSED = (torch.rsub, Tensor.__rsub__)
QUOTIENTS = (torch.div, torch.divide, torch.true_divide, Tensor.div, Tensor.divide, Tensor.__truediv__)
SUMS = (torch.sum, Tensor.sum)
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

    Raises `NotSupported` for an activation that writes over its input: its replacement could not; and, where
    `others` are given, for a function that is neither in the table nor called like one of them, where what it
    answers depends on the input.
    """

    def __init__(self, table: Mapping[Callable, Handler], others: Set[str] | None = None):
        super().__init__()
        self.table, self.others = table, others

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
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if self.others is not None and name not in self.others and _depends(result):
            raise NotSupported(
                f"The network calls {name}, for which there is no rule here.",
                hint="Write it with other operations, or take a method that reads gradients.",
                given={"function": name},
            )
        return result


def _depends(result: Any) -> bool:
    if isinstance(result, (tuple, list)):
        return any(map(_depends, result))
    return isinstance(result, Tensor) and result.requires_grad
