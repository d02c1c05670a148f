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
ELEMENTWISE = (
    *(torch.neg, torch.abs, torch.exp, torch.log, torch.sqrt, torch.rsqrt, torch.square, torch.pow),
    *(Tensor.neg, Tensor.abs, Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.rsqrt, Tensor.square, Tensor.pow),
    *(Tensor.__neg__, Tensor.__abs__, Tensor.__pow__),
)
MATMULS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm)
_MOVERS = """
view reshape flatten unflatten permute transpose swapaxes movedim squeeze unsqueeze expand expand_as
repeat cat concat concatenate stack hstack vstack split chunk tensor_split unbind __getitem__ gather
index_select narrow select roll flip pixel_shuffle pixel_unshuffle channel_shuffle pad contiguous to
float double type __get__ dropout dropout1d dropout2d dropout3d alpha_dropout
"""
MOVERS = frozenset(_MOVERS.split())  # what they answer is numbers of their input, in other places
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

    Args:
        others: the names of functions that need no handler. One that is neither in the table nor called so is
            not known, if what it answers depends on the input. None: all are.
        unknown: takes the names of those that are not known. None: they are refused.

    Raises `NotSupported` for an activation that writes over its input: its replacement could not; and for
    what is not known and refused.
    """

    def __init__(
        self,
        table: Mapping[Callable, Handler],
        others: Set[str] | None = None,
        unknown: set[str] | None = None,
    ):
        super().__init__()
        self.table, self.others, self.unknown = table, others, unknown

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
        if self.others is not None and name not in self.others and depends(result):
            if self.unknown is not None:
                self.unknown.add(name)
                return result
            raise NotSupported(
                f"The network calls {name}, for which there is no rule here.",
                hint="Write it with other operations, or take a method that reads gradients.",
                given={"function": name},
            )
        return result


def depends(given: Any) -> bool:
    """Whether a value, or one of several, depends on the input."""
    if isinstance(given, (tuple, list)):
        return any(map(depends, given))
    return isinstance(given, Tensor) and given.requires_grad


def out_of_place(function: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """An elementwise function's further arguments, less the one that lets it write over its input."""
    if function is not F.hardtanh:  # whose third argument is a bound
        args = tuple(arg for arg in args if not isinstance(arg, bool))
    return args, {name: value for name, value in kwargs.items() if name != "inplace"}
