"""DeepLift with the rescale rule: differences to a baseline, carried back through every operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_workings.core.errors import NotSupported

from .gradients import Baseline, baseline_of
from .intercept import (
    ACTIVATIONS,
    ELEMENTWISE,
    MATMULS,
    MAX_POOLS,
    MOVERS,
    PRODUCTS,
    QUOTIENTS,
    SOFTMAX,
    Intercept,
    depends,
    each,
    out_of_place,
)
from .result import Attribution, warnings_of
from .running import answer, check_input, explaining
from .targets import AnyTarget, as_target

_LINEAR = """
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear batch_norm
avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum cumsum
add __add__ __radd__ add_ __iadd__ sub __sub__ rsub __rsub__ sub_ __isub__ subtract neg __neg__ clone detach
interpolate upsample
"""
LINEAR = MOVERS | frozenset(_LINEAR.split())  # through which a multiplier goes as a gradient does
RECIPROCALS = (torch.reciprocal, Tensor.reciprocal, Tensor.__rtruediv__, Tensor.__rdiv__)
LOG_SOFTMAX = (F.log_softmax, torch.log_softmax, Tensor.log_softmax)
NEGLIGIBLE = 1e-10  # a smaller difference is taken as none, and the derivative stands in for the quotient


def deep_lift(module: nn.Module, x: Tensor, target: AnyTarget, *, baseline: Baseline = None) -> Attribution:
    """(x_i − b_i) · m_i, with multipliers m carried back by the rescale rule.

    Shrikumar et al. 2017 (arXiv 1704.02685). Input and baseline run through the network together. Back
    through a linear operation a multiplier goes as a gradient does; through an activation it is multiplied
    by Δout / Δin instead of a derivative. The difference of a max pooling is credited to the input's
    largest place as far as it rose above the baseline's largest and to the baseline's as far as it fell;
    that of a product of two by Δ(ab) = Δa (b + b₀)/2 + Δb (a + a₀)/2; a softmax, a LayerNorm, a quotient are
    taken apart into these. All of them keep the sum, score(x) − score(baseline), in each row by itself. Of
    any other operation the derivative is used: `notes` names it, and `error` tells what it costs.
    """
    x, target = check_input(module, x), as_target(target)
    base = baseline_of(x, baseline)
    n = len(x)
    unknown: set[str] = set()
    table: dict[Callable, Callable[..., Any]] = {
        **each((*ACTIVATIONS, *ELEMENTWISE, *RECIPROCALS), partial(_activation, unknown)),
        **each(MAX_POOLS, _max_pool),
        **each((*PRODUCTS, *MATMULS), partial(_product, unknown)),
        **each(QUOTIENTS, partial(_quotient, unknown)),
        **each(SOFTMAX, _softmax),
        **each(LOG_SOFTMAX, _log_softmax),
        F.layer_norm: _layer_norm,
    }
    rows = torch.arange(n, device=x.device).repeat(2)
    both = None
    with explaining(module), torch.enable_grad():
        leaf = torch.cat((x, base)).requires_grad_()
        with Intercept(table, LINEAR, unknown):  # around the forward only: the backward calls the plain ones
            value = target.of(answer(module, leaf.clone()), rows)
        if value.requires_grad:
            (both,) = torch.autograd.grad(value[:n].sum(), leaf, allow_unused=True)
    multiplier = torch.zeros_like(x) if both is None else both[:n]
    value = value.detach()
    notes = warnings_of(x, multiplier)
    if unknown:
        notes = (*notes, f"No rule for {', '.join(sorted(unknown))}: the derivative stands in for it.")
    return Attribution((x - base) * multiplier, value[:n], "DeepLift", value[:n] - value[n:], notes)


def _activation(unknown: set[str], function: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Of one value; where another argument depends on the input too, an exponent say, there is no rule."""
    args, kwargs = out_of_place(function, args, kwargs)
    if depends((*args, *kwargs.values())):
        unknown.add(function.__name__)
        return function(value, *args, **kwargs)
    if not depends(value):
        return function(value, *args, **kwargs)
    return _Rescale.apply(value, lambda inner: function(inner, *args, **kwargs))


class _Rescale(torch.autograd.Function):
    """An elementwise function of `[inputs; baselines]` whose slope is Δout / Δin."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        result = function(value)
        ctx.save_for_backward(value, result)
        ctx.function = function
        return result

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        value, result = ctx.saved_tensors
        (inner, base), (outer, _) = value.chunk(2), result.chunk(2)
        rise, run = outer - result.chunk(2)[1], inner - base
        with torch.enable_grad():
            leaf = inner.detach().requires_grad_()
            (local,) = torch.autograd.grad(ctx.function(leaf).sum(), leaf)
        none = run.abs() < NEGLIGIBLE
        factor = torch.where(none, local, rise / torch.where(none, 1, run))
        mine = slope.chunk(2)[0] * factor
        return torch.cat((mine, torch.zeros_like(mine))), None


def _max_pool(function: Any, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if kwargs.pop("return_indices", False):
        raise NotSupported("DeepLift does not go through a max pooling that returns its indices.")
    return _MaxPool.apply(value, lambda inner: function(inner, *args, return_indices=True, **kwargs))


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, function: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        result, where = function(value)
        ctx.save_for_backward(value, result, where)
        return result

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        value, result, where = ctx.saved_tensors
        (inner, base), (outer, before) = value.chunk(2), result.chunk(2)
        at_input, at_base = (part.flatten(2) for part in where.chunk(2))
        mine = slope.chunk(2)[0]
        higher = torch.maximum(outer, before)
        credit = torch.zeros_like(inner).flatten(2)
        credit.scatter_add_(2, at_input, (mine * (higher - before)).flatten(2))
        credit.scatter_add_(2, at_base, (mine * (outer - higher)).flatten(2))
        run = inner - base
        none = run.abs() < NEGLIGIBLE
        found = torch.where(none, 0, credit.view_as(inner) / torch.where(none, 1, run))
        return torch.cat((found, torch.zeros_like(found))), None


def _product(unknown: set[str], function: Any, left: Any, right: Any, **kwargs: Any) -> Any:
    """Of two that both depend on the input, and whose rows are the inputs' and the baselines'."""
    if not (depends(left) and depends(right)):
        return function(left, right, **kwargs)
    if len(left) != len(right) or left.dim() != right.dim() or kwargs:
        unknown.add(function.__name__)
        return function(left, right, **kwargs)
    return _Product.apply(left, right, torch.matmul if function in MATMULS else torch.mul)


def _quotient(unknown: set[str], function: Any, left: Any, right: Any, **kwargs: Any) -> Any:
    if not depends(right) or kwargs:
        unknown.update({function.__name__} if depends(right) else ())
        return function(left, right, **kwargs)
    return _product(unknown, torch.mul, left, _Rescale.apply(right, torch.reciprocal))


class _Product(torch.autograd.Function):
    """A product of numbers or of matrices, linear in each of the two; back, each times the other's mean."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.times = times
        return times(left, right)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors

        def mean(value: Tensor) -> Tensor:
            inner, base = value.chunk(2)
            return ((inner + base) / 2).repeat(2, *[1] * (value.dim() - 1))

        if ctx.times is torch.mul:
            to_left, to_right = slope * mean(right), slope * mean(left)
        else:
            to_left, to_right = slope @ mean(right).mT, mean(left).mT @ slope
        return to_left.sum_to_size(left.shape), to_right.sum_to_size(right.shape), None


def _powers(value: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """exp, its sum, and what both are shifted by: the larger of the two largest, so that none overflows."""
    inner, base = value.detach().chunk(2)
    top = torch.maximum(inner.amax(dim, keepdim=True), base.amax(dim, keepdim=True))
    top = torch.cat((top, top))
    powers = _Rescale.apply(value - top, torch.exp)
    return powers, powers.sum(dim, keepdim=True), top


def _softmax(function: Any, value: Tensor, dim: int = -1, **kwargs: Any) -> Tensor:
    if not depends(value):
        return function(value, dim, **kwargs)
    powers, total, _ = _powers(value, dim)
    return _Product.apply(powers, _Rescale.apply(total, torch.reciprocal), torch.mul)


def _log_softmax(function: Any, value: Tensor, dim: int = -1, **kwargs: Any) -> Tensor:
    if not depends(value):
        return function(value, dim, **kwargs)
    _, total, top = _powers(value, dim)
    return value - top - _Rescale.apply(total, torch.log)


def _layer_norm(
    function: Any,
    value: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The centred values times one over their deviation."""
    if not depends(value):
        return function(value, shape, weight, bias, eps)
    axes = list(range(-len(shape), 0))
    centred = value - value.mean(axes, keepdim=True)
    variance = _Rescale.apply(centred, torch.square).mean(axes, keepdim=True)
    normed = _Product.apply(centred, _Rescale.apply(variance, lambda v: (v + eps).rsqrt()), torch.mul)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias
