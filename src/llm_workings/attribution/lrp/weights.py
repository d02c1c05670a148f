"""A layer's weights in the forms that rules multiply with, made once for as long as the weights stay.

To make them takes as long as a small image's product. They are used again only where the weights are, number
by number, those that they were made of; a version counter would not see `weight.data.mul_(2)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

Choice = Callable[[Tensor | None], Tensor | None]
LARGEST = 2**22  # numbers of a weight whose forms are kept: each form takes as much memory as the weight
SMALL = 2**13  # numbers of a weight that is turned in no time
_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_turned: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def positive(part: Tensor | None) -> Tensor | None:
    """max(w, 0)."""
    return None if part is None else part.clamp(min=0)


def negative(part: Tensor | None) -> Tensor | None:
    """min(w, 0)."""
    return None if part is None else part.clamp(max=0)


class Forms:
    """Weights as they are multiplied with, and what rules choose of them; `keeps`: for the next time too."""

    def __init__(self, weight: Tensor, keeps: bool):
        self.weight, self.keeps = weight, keeps
        self._made: dict[Choice, Tensor] = {}

    def of(self, choice: Choice) -> Tensor:
        """What a rule chooses of the weights."""
        found = self._made.get(choice)
        if found is None:
            chosen = choice(self.weight)
            assert chosen is not None
            found = chosen
            if self.keeps and choice in (positive, negative):
                self._made[choice] = found
                _turned[found] = None
        return found


class Weights:
    """A layer's weights as they were, and their forms.

    Args:
        own: the layer's.
        channels_last: the order in memory, where a convolution's images have it.
    """

    def __init__(self, own: Tensor, channels_last: bool):
        self.channels_last = channels_last
        self.keeps = isinstance(own, nn.Parameter) and own.numel() <= LARGEST
        self.own = own.detach().clone() if self.keeps else own.detach()
        order = torch.channels_last if channels_last else torch.contiguous_format
        self.plain = Forms(self.own.contiguous(memory_format=order), self.keeps)
        self._scaled: tuple[Tensor, int, Forms] | None = None

    def still_of(self, own: Tensor, channels_last: bool) -> bool:
        """Whether the layer's weights are what they were."""
        return self.channels_last == channels_last and _same(self.own, own)

    def forms(self, scale: Tensor | None, outputs: int) -> Forms:
        """The forms with a factor for each output, on the axis `outputs`; None: with none."""
        if scale is None:
            return self.plain
        known = self._scaled
        if known is not None and known[1] == outputs and _same(known[0], scale):
            return known[2]
        shape = [1] * self.own.dim()
        shape[outputs] = -1
        made = Forms(self.plain.weight * scale.view(shape), self.keeps)
        self._scaled = (scale.detach(), outputs, made)
        return made


def weights(own: Tensor, channels_last: bool) -> Weights:
    """These weights: those of the last time, or new ones."""
    known: Weights | None = _kept.get(own)
    if known is not None and known.still_of(own, channels_last):
        return known
    made = Weights(own, channels_last)
    if made.keeps:
        _kept[own] = made
    return made


def _same(a: Tensor, b: Tensor) -> bool:
    if (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
        return False
    if a.device.type == "cpu" and a.dtype in (torch.float32, torch.float64):
        return np.array_equal(a.numpy(), b.detach().numpy())  # a fifth of torch.equal's time
    return torch.equal(a, b)


def turned(weight: Tensor) -> Tensor | None:
    """The kernel, `[input, output, height, width]`, whose convolution is a convolution's product back.

    For weights that are small or whose forms are kept; else None, since to turn them takes longer.
    """
    found: Tensor | None = _turned.get(weight)
    if found is None and (weight.numel() <= SMALL or weight in _turned):
        found = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        if weight in _turned:
            _turned[weight] = found
    return found
