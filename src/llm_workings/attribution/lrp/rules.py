"""The rules of LRP: how a linear layer's relevance is shared among its inputs.

A layer answers z_k = Σ_j x_j w_jk + b_k and has the relevance R_k. Each rule is a choice of the shares in
R_j = Σ_k share_jk · R_k. All of them are one product forward, a quotient, and one product back, so autograd
does the second: Σ_k w_jk s_k is the gradient of Σ_k s_k z_k.

x⁺ = max(x, 0), x⁻ = min(x, 0), likewise for weights and biases. A denominator is kept away from zero by a
stabilizer of its own sign, z + ε·sign(z) with sign(0) = 1. What goes to a bias is lost to the inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape

from .weights import Choice, Forms, Norm, Weights, negative, positive, weights

STABILIZER = 1e-6
Run = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
Pull = Callable[[Tensor, Tensor, Tensor], Tensor]
Term = tuple[Tensor, Tensor | None, Tensor | None]


class Layer:
    """One use of a linear layer in a forward: its input, its answer, and how to run it with other weights.

    What is held is what the forward holds anyway; the rest is made when relevance comes back.

    Args:
        run: the layer, of (input, weight, bias). A pooling has neither weight nor bias.
        given: the input, `[row, ...]`.
        graph: hold the graph of the forward itself, for a rule that needs no other weights.
        reads_answer: hold the answer.
        fused: the input's axis of channels, where each is read by every unit (no groups): then products with
            several inputs can be one; else None.
        pull: the product back, of (quotient, input, weight), where it is known; else autograd takes it.
    """

    def __init__(
        self,
        run: Run,
        given: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        *,
        graph: bool,
        reads_answer: bool = True,
        fused: int | None = None,
        pull: Pull | None = None,
    ):
        self.fused, self.pull = fused, pull
        self.run = run
        self.given = given.detach()
        self.weights: Weights | None = None
        self.forms: Forms | None = None  # the batch norm behind the layer in them, if there is one
        if weight is not None:
            images = weight.dim() == 4 and self.given.is_contiguous(memory_format=torch.channels_last)
            self.weights = weights(weight, bias, images)
            self.forms = self.weights.plain
            weight = self.forms.weight
        self.graph: tuple[Tensor, Tensor] | None = None
        if graph:
            with torch.enable_grad():
                leaf = self.given.requires_grad_()
                answer = run(leaf, weight, bias)
            self.graph = leaf, answer
        else:  # neither the input nor the weights ask for a gradient
            answer = run(self.given, weight, bias)
        self.answer = answer.detach() if reads_answer else None
        # What the network goes on with. It will know its layer, so the layer must not hold it: a cycle of the
        # two would keep all answers until Python looks for cycles.
        self.made: Tensor | None = answer.detach()

    @cached_property
    def nothing_negative(self) -> bool:
        """Whether no input is negative, as behind a ReLU: then the products with x⁻ are left out."""
        return self.given.amin().item() >= 0

    @property
    def weight(self) -> Tensor | None:
        """The weights of `forms`."""
        return None if self.forms is None else self.forms.weight

    @property
    def bias(self) -> Tensor | None:
        """The biases of `forms`."""
        return None if self.forms is None else self.forms.bias

    def chosen(
        self, choice: Choice, other: Choice | None = None, raised: float = 0.0
    ) -> tuple[Tensor | None, Tensor | None]:
        """What a rule chooses of the weights and of the biases; see `Forms.of`."""
        return (None, None) if self.forms is None else self.forms.of(choice, other, raised)

    @property
    def is_normed(self) -> bool:
        """Whether a batch norm is a part of it already."""
        return self.forms is not None and self.forms.scaled is not None

    def merge(self, norm: Norm, answer: Tensor, outputs: int) -> Tensor:
        """Take a batch norm behind the layer into its weights. Returns what the two answer.

        Args:
            answer: what the layer answers, `[row, output, ...]`.
            outputs: the weights' axis of outputs.
        """
        assert self.weights is not None
        self.forms = self.weights.normed(norm, outputs)
        assert self.forms.scaled is not None
        factor, shift = (part.view(-1, *[1] * (answer.dim() - 2)) for part in self.forms.scaled)
        result = torch.addcmul(shift, answer, factor)
        if self.answer is not None:
            self.answer = result
        return result

    def shared(self, relevance: Tensor, stabilizer: float) -> Tensor:
        """The shares x_j w_jk / z_k of the forward's own product."""
        assert self.answer is not None
        quotient = divided(relevance, self.answer, stabilizer)
        if self.pull is not None and self.weight is not None:
            return self.pull(quotient, self.given, self.weight).mul_(self.given)
        assert self.graph is not None
        leaf, answer = self.graph
        if self.forms is not None and self.forms.scaled is not None:
            quotient = quotient * self.forms.scaled[0].view(-1, *[1] * (quotient.dim() - 2))
        (slope,) = torch.autograd.grad(answer, leaf, quotient)
        return slope * self.given  # a sum's slope is one number seen many times: not in place

    def share(self, terms: list[Term], relevance: Tensor, stabilizer: float | None) -> Tensor:
        """Σ over terms of x_j w_jk / (Σ over terms of all inputs' x_i w_ik + b_k) · R_k, summed over k.

        A stabilizer of None: no denominator is negative, and the biases have it already.
        """
        if self.fused is not None and len(terms) > 1:  # side by side, as more channels
            of_all = torch.cat([w for _, w, _ in terms if w is not None], 1)
            biases = [b for _, _, b in terms if b is not None]
            total_bias = torch.stack(biases).sum(0) if biases else None
            return self._beside([x for x, _, _ in terms], of_all, total_bias, relevance, stabilizer)
        given, weight, bias = terms[0]
        if self.pull is not None and len(terms) == 1 and weight is not None:  # a quarter faster than autograd
            z = self.run(given, weight, bias)
            return self.pull(divided(relevance, z, stabilizer), given, weight).mul_(given)
        with torch.enable_grad():
            leaves = [given.detach().requires_grad_() for given, _, _ in terms]
            total = sum(self.run(leaf, w, b) for leaf, (_, w, b) in zip(leaves, terms, strict=True))
            assert isinstance(total, Tensor)
            slopes = torch.autograd.grad(total, leaves, divided(relevance, total.detach(), stabilizer))
        found = [slope * given for slope, (given, _, _) in zip(slopes, terms, strict=True)]
        return found[0] if len(found) == 1 else torch.stack(found).sum(0)

    def _beside(
        self,
        inputs: list[Tensor],
        weight: Tensor | None,
        bias: Tensor | None,
        relevance: Tensor,
        stabilizer: float | None,
    ) -> Tensor:
        """`share` where every unit reads all inputs, of several of them with the weights for all."""
        assert self.fused is not None
        term = torch.cat(inputs, self.fused), weight, bias
        first, *others = self.share([term], relevance, stabilizer).chunk(len(inputs), self.fused)
        return sum(others, first)

    def by_sign(
        self, first: Choice, second: Choice, relevance: Tensor, stabilizer: float, *, rising: bool = False
    ) -> Tensor:
        """`share` of positive inputs with one choice of weights and biases, of negative ones with another.

        `rising`: no denominator is negative, so the stabilizer's sign is known.
        """
        x, raised = self.given, 0.0
        left: float | None = stabilizer
        if rising and stabilizer and self.pull is not None:  # its weights have a row for each unit
            raised, left = stabilizer, None
        if self.nothing_negative:
            return self.share([(x, *self.chosen(first, raised=raised))], relevance, left)
        up, down = x.clamp(min=0), x.clamp(max=0)
        if self.fused is None:
            terms = [(up, *self.chosen(first, raised=raised)), (down, self.chosen(second)[0], None)]
            return self.share(terms, relevance, left)
        return self._beside([up, down], *self.chosen(first, second, raised), relevance, left)


def divided(relevance: Tensor, z: Tensor, stabilizer: float | None) -> Tensor:
    """R / (z + ε sign(z)), and 0 where there is neither (a rule without stabilizer, 0).

    None: z has it already, and is not read again.
    """
    if stabilizer is None:
        return torch.div(relevance, z, out=z)
    if stabilizer:  # copysign, since a `where` takes longer here than a small convolution
        return relevance / torch.copysign(z.new_tensor(stabilizer), z).add_(z)
    return torch.where(z == 0, 0, relevance / torch.where(z == 0, 1, z))


class Rule(ABC):
    """One way to share a layer's relevance among its inputs."""

    keeps_graph = False  # whether the forward's own graph is enough
    reads_answer = True  # whether it needs to know what the layer answered

    @abstractmethod
    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        """From the relevance of a layer's answer, that of its input."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-ε: share = x_j w_jk / (z_k + ε sign z_k) (Bach et al. 2015, doi 10.1371/journal.pone.0130140).

    ε = 0 is LRP-0. A large ε takes relevance away from weak and contradictory shares.
    """

    epsilon: float = STABILIZER
    keeps_graph = True

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        return layer.shared(relevance, self.epsilon)


def zero() -> Epsilon:
    """LRP-0: share = x_j w_jk / z_k (Bach et al. 2015); input x gradient in a ReLU net without biases."""
    return Epsilon(0.0)


@dataclass(frozen=True)
class ZPlus(Rule):
    """z⁺: only what pushes up, x⁺w⁺ and x⁻w⁻, shares.

    Bach et al. 2015; Montavon et al. 2017 (arXiv 1512.02479). Behind a ReLU no
    input is negative, and one product is enough.
    """

    stabilizer: float = STABILIZER
    reads_answer = False

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        return layer.by_sign(positive, negative, relevance, self.stabilizer, rising=True)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """αβ: α times the shares of what pushes up minus β times those of what pushes down, α − β = 1.

    Bach et al. 2015. Raises `BadInput` for other α and β.
    """

    alpha: float = 2.0
    beta: float = 1.0
    stabilizer: float = STABILIZER
    reads_answer = False

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or self.alpha - self.beta != 1:
            raise BadInput(
                f"alpha {self.alpha:g} and beta {self.beta:g} keep no sum.",
                hint="alpha - beta is 1 and neither is negative.",
            )

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        found = layer.by_sign(positive, negative, relevance, self.stabilizer, rising=True) * self.alpha
        if self.beta:
            found -= layer.by_sign(negative, positive, relevance, self.stabilizer) * self.beta
        return found


@dataclass(frozen=True)
class Gamma(Rule):
    """γ: weights w + γ w⁺, so that what pushes up counts more (Montavon et al. 2019).

    For inputs of both signs in the general form of Andéol et al. 2021 (arXiv 2110.12108): where z > 0 the
    shares are those of x⁺(w + γ w⁺) and x⁻(w + γ w⁻), where z < 0 of x⁺(w + γ w⁻) and x⁻(w + γ w⁺).
    """

    gamma: float = 0.25
    stabilizer: float = STABILIZER

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        assert layer.answer is not None
        up, down = partial(_mixed, self.gamma, positive), partial(_mixed, self.gamma, negative)
        found = torch.zeros_like(layer.given)
        for here, first, second in ((layer.answer > 0, up, down), (layer.answer < 0, down, up)):
            part = relevance * here
            if bool(part.any()):  # behind a ReLU there is none where z < 0
                found += layer.by_sign(first, second, part, self.stabilizer)
        return found


@dataclass(frozen=True)
class WSquare(Rule):
    """w²: share = w_jk² / (Σ w_ik² + b_k²), whatever the input is; for a first layer of unbounded inputs.

    Montavon et al. 2017 (arXiv 1512.02479).
    """

    stabilizer: float = STABILIZER
    reads_answer = False

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        w, b = (None if part is None else part * part for part in (layer.weight, layer.bias))
        return layer.share([(torch.ones_like(layer.given), w, b)], relevance, self.stabilizer)


@dataclass(frozen=True)
class Flat(Rule):
    """Flat: every input that a unit reads has the same share (Lapuschkin et al. 2019); for a first layer."""

    stabilizer: float = STABILIZER
    reads_answer = False

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        ones = None if layer.weight is None else torch.ones_like(layer.weight)
        return layer.share([(torch.ones_like(layer.given), ones, None)], relevance, self.stabilizer)


@dataclass(frozen=True)
class ZBox(Rule):
    """z-box: share of x_j w_jk − low_j w⁺_jk − high_j w⁻_jk, for inputs that lie between low and high.

    Montavon et al. 2017 (arXiv 1512.02479), for pixels.

    Args:
        low, high: the smallest and largest values that an input can have: numbers, or tensors that fit it
            (`[1, channel, 1, 1]` for normalized images).
    """

    low: Any
    high: Any
    stabilizer: float = STABILIZER
    reads_answer = False

    def relevance(self, layer: Layer, relevance: Tensor) -> Tensor:
        x, w, b = layer.given, layer.weight, layer.bias
        low, high = (-_expanded(end, x) for end in (self.low, self.high))
        terms: list[Term] = [
            (x, w, b),
            (low, layer.chosen(positive)[0], None if b is None else -b.clamp(min=0)),
            (high, layer.chosen(negative)[0], None if b is None else -b.clamp(max=0)),
        ]
        return layer.share(terms, relevance, self.stabilizer)


# --- what they are made of -------------------------------------------------------------------
def _mixed(gamma: float, choice: Choice, part: Tensor | None) -> Tensor | None:
    chosen = choice(part)
    return None if part is None or chosen is None else part + gamma * chosen


def _expanded(end: Any, x: Tensor) -> Tensor:
    end = torch.as_tensor(end, dtype=x.dtype, device=x.device)
    try:
        return end.expand_as(x)
    except RuntimeError:
        raise BadShape(
            f"A bound of shape {list(end.shape)} does not fit inputs of shape {list(x.shape)}."
        ) from None
