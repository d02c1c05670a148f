"""DeepLift with the rescale rule: differences to a baseline, carried back through every operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from llm_workings.core.errors import NotSupported

from .gradients import Baseline, baseline_of
from .intercept import ACTIVATIONS, MAX_POOLS, PRODUCTS, SOFTMAX, Intercept, each
from .result import Attribution, warnings_of
from .running import answer, check_input, explaining
from .targets import AnyTarget, as_target

NEGLIGIBLE = 1e-10  # a smaller difference is taken as none, and the derivative stands in for the quotient


def deep_lift(module: nn.Module, x: Tensor, target: AnyTarget, *, baseline: Baseline = None) -> Attribution:
    """(x_i − b_i) · m_i, with multipliers m carried back by the rescale rule.

    Shrikumar et al. 2017 (arXiv 1704.02685). Input and baseline run through the network together. Back
    through a linear operation a multiplier goes as a gradient does; through an activation it is multiplied
    by Δout / Δin instead of a derivative. The difference of a max pooling is credited to the input's
    largest place as far as it rose above the baseline's largest and to the baseline's as far as it fell;
    that of a product of two by Δ(ab) = Δa (b + b₀)/2 + Δb (a + a₀)/2; a softmax is taken apart into exp,
    sum and quotient. All of these keep the sum, score(x) − score(baseline), in each row by itself. A
    LayerNorm is none of them: its derivative is used, and `error` tells.
    """
    x, target = check_input(module, x), as_target(target)
    base = baseline_of(x, baseline)
    n = len(x)
    table: dict[Callable, Callable[..., Any]] = {
        **each(ACTIVATIONS, _activation),
        **each(MAX_POOLS, _max_pool),
        **each(PRODUCTS, _product),
        **each(SOFTMAX, _softmax),
    }
    rows = torch.arange(n, device=x.device).repeat(2)
    both = None
    with explaining(module), torch.enable_grad():
        leaf = torch.cat((x, base)).requires_grad_()
        with Intercept(table):  # around the forward only: the backward calls the plain functions
            value = target.of(answer(module, leaf.clone()), rows)
        if value.requires_grad:
            (both,) = torch.autograd.grad(value[:n].sum(), leaf, allow_unused=True)
    multiplier = torch.zeros_like(x) if both is None else both[:n]
    value = value.detach()
    return Attribution(
        (x - base) * multiplier, value[:n], "DeepLift", value[:n] - value[n:], warnings_of(x, multiplier)
    )


def _activation(function: Any, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    kwargs.pop("inplace", None)
    args = tuple(arg for arg in args if not isinstance(arg, bool))
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


def _product(function: Any, left: Any, right: Any, **kwargs: Any) -> Any:
    both = isinstance(left, Tensor) and isinstance(right, Tensor)
    if not both or not (left.requires_grad and right.requires_grad) or left.dim() != right.dim():
        return function(left, right, **kwargs)
    return _Product.apply(left, right)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return left * right

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.saved_tensors

        def mean(value: Tensor) -> Tensor:
            inner, base = value.chunk(2)
            return ((inner + base) / 2).repeat(2, *[1] * (value.dim() - 1))

        return (slope * mean(right)).sum_to_size(left.shape), (slope * mean(left)).sum_to_size(right.shape)


def _softmax(function: Any, value: Tensor, dim: int = -1, **kwargs: Any) -> Tensor:
    """exp, sum and quotient, shifted by the larger of the two largest so that none overflows."""
    inner, base = value.detach().chunk(2)
    top = torch.maximum(inner.amax(dim, keepdim=True), base.amax(dim, keepdim=True))
    powers = _Rescale.apply(value - torch.cat((top, top)), torch.exp)
    return _Product.apply(powers, _Rescale.apply(powers.sum(dim, keepdim=True), torch.reciprocal))
