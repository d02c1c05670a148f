"""A layer's weights in the forms that rules multiply with, made once for as long as the weights stay.

To make them takes as long as a small image's product. They are used again only where the weights are, number
by number, those that they were made of; a version counter would not see `weight.data.mul_(2)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

Choice = Callable[[Tensor | None], Tensor | None]
LARGEST = 2**22  # numbers of a weight whose forms are kept: each form takes as much memory as the weight
FEW = 2**12  # numbers that torch.equal compares in less time than NumPy
_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def positive(part: Tensor | None) -> Tensor | None:
    """max(w, 0)."""
    return None if part is None else part.clamp(min=0)


def negative(part: Tensor | None) -> Tensor | None:
    """min(w, 0)."""
    return None if part is None else part.clamp(max=0)


_KEPT_CHOICES = {positive, negative, None}


class Norm(NamedTuple):
    """A batch norm behind a layer, y -> (y - mean) / sqrt(variance + eps) · weight + bias."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def scaled(self) -> tuple[Tensor, Tensor]:
        """What it multiplies each output with, and what it adds."""
        factor = (self.variance + self.eps).rsqrt()
        if self.weight is not None:
            factor = factor * self.weight
        shift = -self.mean * factor
        return factor, shift if self.bias is None else shift + self.bias

    def is_still(self, other: Norm) -> bool:
        """Whether it is the other, number by number."""
        return self.eps == other.eps and all(map(_same, self[:4], other[:4]))

    def copy(self) -> Norm:
        """Itself, as it is now."""
        weight, bias = (part if part is None else part.detach().clone() for part in self[2:4])
        return Norm(self.mean.clone(), self.variance.clone(), weight, bias, self.eps)


class Forms:
    """Weights and biases as they are multiplied with, and what rules choose of them.

    Args:
        keeps: for the next time too, and with each form what is made of it (`made_of`).
        scaled: what a batch norm in them multiplies each output with and adds to it; None: there is none.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        keeps: bool,
        scaled: tuple[Tensor, Tensor] | None = None,
    ):
        self.weight, self.bias, self.keeps, self.scaled = weight, bias, keeps, scaled
        self._made: dict[tuple[Choice, Choice | None, float], tuple[Tensor, Tensor | None]] = {}
        if keeps:
            remember(weight)

    def of(
        self, choice: Choice, other: Choice | None = None, raised: float = 0.0
    ) -> tuple[Tensor, Tensor | None]:
        """What a rule chooses of the weights, and of the biases.

        Args:
            other: for a second half of the inputs, what it chooses of the weights alone.
            raised: what is added to the biases, one for each row of the weights.
        """
        found = self._made.get((choice, other, raised))
        if found is None:
            parts = [chosen(self.weight) for chosen in (choice, other) if chosen is not None]
            weight = torch.cat([part for part in parts if part is not None], 1) if other else parts[0]
            assert weight is not None
            bias = choice(self.bias)
            if raised:
                bias = weight.new_full((len(weight),), raised) if bias is None else bias + raised
            found = weight, bias
            if self.keeps and {choice, other} <= _KEPT_CHOICES:
                self._made[choice, other, raised] = found
                remember(weight)
        return found


class Weights:
    """A layer's weights and biases as they were, and their forms.

    Args:
        own, bias: the layer's.
        channels_last: the order in memory, where a convolution's images have it.
    """

    def __init__(self, own: Tensor, bias: Tensor | None, channels_last: bool):
        self.channels_last = channels_last
        self.keeps = isinstance(own, nn.Parameter) and own.numel() <= LARGEST
        self.own = own.detach().clone() if self.keeps else own.detach()
        self.bias = bias if bias is None else bias.detach().clone()
        order = torch.channels_last if channels_last else torch.contiguous_format
        self.plain = Forms(self.own.contiguous(memory_format=order), self.bias, self.keeps)
        self._normed: tuple[Norm, int, Forms] | None = None

    def still_of(self, own: Tensor, bias: Tensor | None, channels_last: bool) -> bool:
        """Whether the layer's weights are what they were."""
        return self.channels_last == channels_last and _same(self.own, own) and _same(self.bias, bias)

    def normed(self, norm: Norm, outputs: int) -> Forms:
        """The forms with a batch norm in them; `outputs`: the weights' axis of outputs.

        Guillemot et al. 2020 (arXiv 2002.11018).
        """
        known = self._normed
        if known is not None and known[1] == outputs and norm.is_still(known[0]):
            return known[2]
        factor, shift = norm.scaled()
        bias = shift if self.bias is None else self.bias * factor + shift
        shape = [1] * self.own.dim()
        shape[outputs] = -1
        made = Forms(self.plain.weight * factor.view(shape), bias, self.keeps, (factor, shift))
        self._normed = (norm.copy(), outputs, made)
        return made


def weights(own: Tensor, bias: Tensor | None, channels_last: bool) -> Weights:
    """These weights: those of the last time, or new ones."""
    known: Weights | None = _kept.get(own)
    if known is not None and known.still_of(own, bias, channels_last):
        return known
    made = Weights(own, bias, channels_last)
    if made.keeps:
        _kept[own] = made
    return made


def made_of(form: Tensor) -> dict[str, Any] | None:
    """What was made of a form (turned round, packed) and stays with it; None where nothing is to stay."""
    return vars(form).get("lrp_made")


def remember(form: Tensor) -> Tensor:
    """From now on what is made of it stays with it."""
    vars(form)["lrp_made"] = {}
    return form


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.dtype != b.dtype or a.device != b.device:
        return False
    if a.numel() > FEW and a.is_cpu and a.dtype in (torch.float32, torch.float64):
        return np.array_equal(a.detach().numpy(), b.detach().numpy())  # a fifth of torch.equal's time
    return torch.equal(a, b)
