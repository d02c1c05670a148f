"""LRP through a network as it is written: operations are met as they are called, no module is changed.

Relevance is carried where autograd carries gradients: each operation is replaced by one with the same answer
whose "derivative" hands relevance on. So a layer's relevance is the gradient at its answer, and reshaping,
concatenating, dropping out and winner-take-all max pooling need no rule of their own.

LRP is, by the LXT authors' README, patented and free for personal and scientific use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_workings.attribution.intercept import (
    ACTIVATIONS,
    ADDITIONS,
    ADDITIONS_IN_PLACE,
    AVERAGE_POOLS,
    DIFFERENCES,
    DIFFERENCES_REVERSED,
    ELEMENTWISE,
    MATMULS,
    MOVERS,
    PRODUCTS,
    QUOTIENTS,
    SOFTMAX,
    SUMS,
    Handler,
    Intercept,
    depends,
    each,
    out_of_place,
)
from llm_workings.attribution.result import Attribution, warnings_of
from llm_workings.attribution.running import answer, check_input, explaining, layer_named, layout, watching
from llm_workings.attribution.targets import AnyTarget, as_target
from llm_workings.core.errors import NotSupported

from .composites import Composite, Kind, as_composite
from .convolution import convolution
from .rules import Layer, Pull, Rule, divided
from .weights import Norm

SILENT = "The relevance is zero everywhere: the score is zero, or none of its relevance arrives."
CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MEANS = (torch.mean, Tensor.mean)
_MAXIMA = (
    "max amax max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
)
# Whose derivative hands relevance on as it is: what they answer is numbers of their input.
CARRIERS = MOVERS | frozenset(_MAXIMA.split())
REFUSED = (
    *SOFTMAX,
    *(F.layer_norm, F.group_norm, F.instance_norm, F.scaled_dot_product_attention),
    *(*MATMULS, torch.einsum),
)


def lrp(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    composite: str | Rule | Composite = "EpsilonPlus",
) -> Attribution:
    """The score's relevance, handed back to the input by the rules of a composite (Bach et al. 2015).

    It starts as scores · ∂target/∂scores, which for a logit or a difference of two adds up to the target;
    `expected` is that sum. What arrives is less by what the rules gave to biases and stabilizers: `error`.

    Args:
        composite: a name of `composites.COMPOSITES`, a `Composite`, or one `Rule` for all layers.

    Raises:
        NotSupported: an operation that these rules do not cover (attention, LayerNorm, softmax).
        UnknownName: no composite, or no layer of that name.
    """
    return relevances(module, x, target, composite)[""]


def relevances(
    module: nn.Module,
    x: Tensor,
    target: AnyTarget,
    composite: str | Rule | Composite = "EpsilonPlus",
    layers: Sequence[str] = (),
) -> dict[str, Attribution]:
    """The relevance of the input (under "") and of the named layers' answers, in one pass; see `lrp`."""
    x, target, composite = check_input(module, x), as_target(target), as_composite(composite)
    for name in composite.named:
        layer_named(module, name)
    pass_back = _Propagation(composite)
    order = layout(module, x)
    with explaining(module), torch.enable_grad(), watching(module, layers) as seen:
        leaf = x.detach().requires_grad_()
        with pass_back.names(module), Intercept(pass_back.table(), CARRIERS):
            scores = answer(module, leaf.clone(memory_format=order))
        if not scores.requires_grad:  # nothing of them is the input's, and there is relevance all the same
            scores = scores.detach().requires_grad_()
        places = [leaf, *(seen[name] for name in layers), scores]
        score = target.of(_Started.apply(scores))
        found: Sequence[Tensor | None] = [None] * len(places)
        if score.requires_grad:
            found = torch.autograd.grad(score.sum(), places, allow_unused=True)
    *found, start = found
    expected = torch.zeros_like(score) if start is None else start.flatten(1).sum(1)
    notes: tuple[str, ...] = ()
    if target.kind in ("probability", "function"):
        notes = ("Relevance starts as scores times the target's slope, which need not add up to the target.",)
    result = {}
    for name, place, part in zip(("", *layers), places[:-1], found, strict=True):
        value = torch.zeros_like(place) if part is None else part
        silent = () if bool(value.any()) else (SILENT,)
        own = (*warnings_of(x), *silent, *notes)
        values = value.detach().contiguous()
        result[name] = Attribution(values, score.detach(), f"LRP {composite.name}", expected.detach(), own)
    return result


class _Started(torch.autograd.Function):
    """The scores; back, where relevance starts: scores · ∂target/∂scores."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        ctx.save_for_backward(scores)
        return scores.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (scores,) = ctx.saved_tensors
        return scores * slope


class _Propagation:
    """The operations' replacements for one forward under one composite."""

    def __init__(self, composite: Composite):
        self.composite = composite
        self.first_is_ahead = True
        self.layers: list[Layer] = []
        self.within: list[str] = []

    def table(self) -> dict[Callable, Handler]:
        """What is called in place of what. Not kept: its methods hold `self`, and so all layers."""
        return {
            **_THE_SAME_IN_ANY,
            **each(CONVOLUTIONS, self.convolution),
            **each(TRANSPOSED, self.transposed),
            F.linear: self.linear,
            **each((*AVERAGE_POOLS, *MEANS, *SUMS), self.pooled),
            **each(ADDITIONS, self.added),
            **each(ADDITIONS_IN_PLACE, self.added_in_place),
            **each(DIFFERENCES, self.subtracted),
            **each(DIFFERENCES_REVERSED, self.subtracted_from),
        }

    @contextmanager
    def names(self, module: nn.Module) -> Iterator[None]:
        """Inside, know which of the layers with a rule of their own is running."""
        handles = []
        for name in self.composite.named:
            part = module.get_submodule(name)
            handles.append(part.register_forward_pre_hook(lambda *_, name=name: self.within.append(name)))
            handles.append(part.register_forward_hook(lambda *_: self.within.pop() and None))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def convolution(self, function: Any, x: Tensor, weight: Tensor, *args: Any, **more: Any) -> Tensor:
        fused = 1 if weight.shape[1] == x.shape[1] else None  # no groups
        if x.dim() != 4 or isinstance(args[2] if len(args) > 2 else more.get("padding", 0), str):
            return self._linear("convolution", function, x, weight, args, more, fused=fused)
        bias = args[0] if args else more.pop("bias", None)
        at = convolution(*args[1:], **more)
        return self._linear("convolution", at.run, x, weight, (bias,), {}, fused=fused, pull=at.pull)

    def transposed(self, function: Any, x: Tensor, weight: Tensor, *args: Any, **more: Any) -> Tensor:
        return self._linear("convolution", function, x, weight, args, more, outputs=1)

    def linear(self, function: Any, x: Tensor, weight: Tensor, *args: Any, **more: Any) -> Tensor:
        return self._linear("linear", function, x, weight, args, more, fused=-1, pull=_pulled)

    def _linear(
        self,
        kind: Kind,
        function: Any,
        x: Tensor,
        weight: Tensor,
        args: tuple,
        more: dict[str, Any],
        *,
        fused: int | None = None,
        pull: Pull | None = None,
        outputs: int = 0,
    ) -> Tensor:
        """`fused`, `pull`: see `Layer`; `outputs`: the weight's axis of outputs, for a batch norm."""
        bias = args[0] if args else more.pop("bias", None)
        args = args[1:]
        if not x.requires_grad:
            return function(x, weight, bias, *args, **more)
        is_first = self.first_is_ahead and kind in self.composite.first_of
        self.first_is_ahead &= not is_first
        rule = self.composite.rule(kind, self.within[-1] if self.within else "", is_first)
        run = partial(_called, function, args, more) if args or more else function
        graph = rule.keeps_graph and pull is None
        keep = {"graph": graph, "reads_answer": rule.reads_answer}
        layer = Layer(run, x, weight, bias, **keep, fused=fused, pull=pull)
        self.layers.append(layer)
        return _Use(x, layer, rule, outputs).answering(None)

    def pooled(self, function: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
        if not x.requires_grad:
            return function(x, *args, **more)
        layer = Layer(lambda given, w, b: function(given, *args, **more), x, None, None, graph=True)
        self.layers.append(layer)
        return _Shared.apply(x, layer, self.composite.sums)

    def added(self, function: Any, left: Any, right: Any, **more: Any) -> Any:
        tensors = [part for part in (left, right) if depends(part)]
        if not tensors:
            return function(left, right, **more)
        if more.get("alpha", 1) != 1 or more.get("out") is not None:
            raise NotSupported("LRP does not cover an addition with alpha or out.")
        a, b = (part if isinstance(part, Tensor) else tensors[0].new_tensor(part) for part in (left, right))
        return _Added.apply(a, b, self.composite.sums.epsilon, False)

    def subtracted(self, function: Any, left: Any, right: Any, **more: Any) -> Any:
        negative = _pass(torch.neg, right) if isinstance(right, Tensor) else -right
        return self.added(torch.add, left, negative, **more)

    def subtracted_from(self, function: Any, left: Any, right: Any, **more: Any) -> Any:
        return self.subtracted(function, right, left, **more)

    def added_in_place(self, function: Any, left: Tensor, right: Any, **more: Any) -> Any:
        if not depends((left, right)):
            return function(left, right, **more)
        for layer in self.layers:  # what a layer answered must still be known when relevance comes back
            if layer.answer is not None and layer.answer.data_ptr() == left.data_ptr():
                layer.answer = layer.answer.clone()
        if more.get("alpha", 1) != 1:
            raise NotSupported("LRP does not cover an addition with alpha.")
        right = right if isinstance(right, Tensor) else left.new_tensor(right)
        return _Added.apply(left, right, self.composite.sums.epsilon, True)


class _Use:
    """One use of a layer, known to the tensors that it answers: what reads them can be made a part of it.

    A batch norm goes into the layer's weights. An elementwise function hands relevance on as it is, so what
    it answers has the layer's own rule for a derivative, a step less on the way back.

    Args:
        x: the layer's input, in its graph.
        outputs: see `_Propagation._linear`.
    """

    def __init__(self, x: Tensor, layer: Layer, rule: Rule, outputs: int):
        self.x, self.layer, self.rule, self.outputs = x, layer, rule, outputs

    def answering(self, value: Tensor | None) -> Tensor:
        """The tensor that goes on; None: what the layer itself answered, else what was made of it."""
        own = value is None
        if value is not None:
            self.layer.made = value
        result = _Shared.apply(self.x, self.layer, self.rule)
        # A graph that the layer keeps can be gone back through once.
        result.lrp_use = (self, result.grad_fn, own, self.layer.graph is None)
        return result


def _use_behind(x: Tensor) -> tuple[_Use | None, bool, bool]:
    """The layer's use whose answer this is, whether as it is, and whether more can be made a part of it.

    None for what has been written over since (`x += y`): its relevance is not the layer's alone.
    """
    use, node, own, open_ = getattr(x, "lrp_use", (None, None, False, False))
    return (use, own, open_) if use is not None and node is x.grad_fn else (None, False, False)


class _Shared(torch.autograd.Function):
    """A layer's answer; back, its rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer, rule: Rule) -> Tensor:
        ctx.layer, ctx.rule = layer, rule
        made, layer.made = layer.made, None
        assert made is not None
        return made

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        layer, ctx.layer = ctx.layer, None  # what it holds is free for the layers before it
        return ctx.rule.relevance(layer, relevance), None, None


class _Passed(torch.autograd.Function):
    """An elementwise function; back, relevance as it is: all of a unit's relevance is its input's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance, None


class _Added(torch.autograd.Function):
    """left + right; back, each its share, left / (left + right)."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, stabilizer: float, in_place: bool) -> Tensor:
        before = left.clone() if in_place else left
        total = left.add_(right) if in_place else left + right
        if in_place:
            ctx.mark_dirty(left)
        ctx.save_for_backward(before, right, total.clone() if in_place else total)
        ctx.stabilizer = stabilizer
        return total

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, Tensor, None, None]:
        left, right, total = ctx.saved_tensors
        quotient = divided(relevance, total, ctx.stabilizer)
        return (
            (quotient * left).sum_to_size(left.shape),
            (quotient * right).sum_to_size(right.shape),
            None,
            None,
        )


class _Halved(torch.autograd.Function):
    """left · right; back, half to each, the uniform rule (Achtibat et al. 2024, arXiv 2402.05602)."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.shapes = left.shape, right.shape
        return left * right

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.shapes
        half = relevance / 2
        return half.sum_to_size(left), half.sum_to_size(right)


def _pulled(quotient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """A linear layer's product back."""
    return quotient @ weight


def _called(function: Any, args: tuple, more: dict[str, Any], *given: Any) -> Tensor:
    return function(*given, *args, **more)


def _pass(function: Any, x: Any, *args: Any, **more: Any) -> Any:
    """Of one value; where another argument varies too, an exponent say, no rule says what is whose."""
    args, more = out_of_place(function, args, more)
    if depends((*args, *more.values())):
        return _refused(function, x, *args, *more.values())
    if not depends(x):
        return function(x, *args, **more)
    result = function(x.detach(), *args, **more)
    use, _, goes_on = _use_behind(x)
    if use is not None and goes_on and result.shape == x.shape:  # not where it was repeated (x ** exponents)
        return use.answering(result)
    return _Passed.apply(x, lambda given: result)


def _batch_norm(
    function: Any,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Behind a linear layer a batch norm is a part of it; elsewhere relevance passes it as it is."""
    if not x.requires_grad:
        return function(x, mean, variance, weight, bias, training, momentum, eps)
    if training:
        raise NotSupported(
            "The network has a batch norm without running statistics: what it answers depends on the batch.",
            hint="Make it with track_running_stats=True, the default, and train it.",
        )
    use, own, goes_on = _use_behind(x)
    if use is not None and own and not use.layer.is_normed:
        result = use.layer.merge(Norm(mean, variance, weight, bias, eps), x.detach(), use.outputs)
    else:
        result = function(x.detach(), mean, variance, weight, bias, training, momentum, eps)
    return use.answering(result) if use is not None and goes_on else _Passed.apply(x, lambda given: result)


def _halved(function: Any, left: Any, right: Any, **more: Any) -> Any:
    if depends(left) and depends(right):
        return _Halved.apply(left, right)
    if depends(left):
        return _scaled(left, right, lambda given: function(given, right, **more))
    return _scaled(right, left, lambda given: function(left, given, **more))


def _quotient(function: Any, left: Any, right: Any, **more: Any) -> Any:
    """By a constant. One by what varies is refused: its parts are no shares of it."""
    if depends(right):
        return _refused(function, left, right, **more)
    return _scaled(left, right, lambda given: function(given, right, **more))


def _scaled(x: Any, constant: Any, scale: Callable[[Tensor], Tensor]) -> Any:
    """All relevance is that of what varies, which may be the smaller of the two."""
    if not depends(x):
        return scale(x)
    if isinstance(constant, Tensor):
        x = x.expand(torch.broadcast_shapes(x.shape, constant.shape))
    return _Passed.apply(x, scale)


def _cloned(function: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
    result = function(x, *args, **more)
    use, own, _ = _use_behind(x)
    if use is not None:  # the copy is for someone who reads its relevance: no function goes past it
        result.lrp_use = (use, result.grad_fn, own, False)
    return result


def _refused(function: Any, *args: Any, **more: Any) -> Any:
    if not depends(args):
        return function(*args, **more)
    raise NotSupported(
        f"The network calls {function.__name__}, which LRP's rules for convolutional nets do not cover.",
        hint="Leave out a softmax at the end and explain the logit; for transformers see attribution.tokens.",
    )


_THE_SAME_IN_ANY: dict[Callable, Handler] = {
    **each((*ACTIVATIONS, *ELEMENTWISE), _pass),
    F.batch_norm: _batch_norm,
    **each(PRODUCTS, _halved),
    **each(QUOTIENTS, _quotient),
    **each(REFUSED, _refused),
    Tensor.clone: _cloned,
}
