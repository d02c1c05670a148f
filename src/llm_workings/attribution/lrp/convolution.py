"""A convolution of images and its product back, by oneDNN where it is there.

For one small image torch takes a loop of its own, which is slower. And oneDNN lays the weights out anew in
each call, a fifth of such an image's time: weights that are kept are laid out once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .weights import made_of, remember

SMALL = 2**13  # numbers of a weight that is turned in no time
Pair = tuple[int, int]
Sides = int | Sequence[int]


class Convolution:
    """A convolution of images by its stride, padding, dilation and groups."""

    def __init__(self, stride: Pair, padding: Pair, dilation: Pair, groups: int):
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.at = padding, stride, dilation, groups  # in oneDNN's order
        self.turns = groups == 1 and stride == (1, 1)

    def run(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the layer answers."""
        if not _has_onednn(x):
            return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        made, packing = made_of(weight), _packing()
        if made is None or packing is None or (x.requires_grad and torch.is_grad_enabled()):
            return torch.mkldnn_convolution(x, weight, bias, *self.at)
        pack, multiply = packing
        shape, by, packed = made.get("packed", (None, None, None))
        if by is not self or shape != x.shape:  # it would do for another size too, but be laid out anew
            packed = pack(weight, *self.at, list(x.shape))
            made["packed"] = x.shape, self, packed
        return multiply(x, packed, bias, *self.at, "none", [], "")

    def pull(self, quotient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Σ over outputs of quotient · weight, in the input's shape."""
        if self.turns and _has_onednn(x):
            back = self._back(weight)
            if back is not None:
                convolution, kernel = back
                return convolution.run(quotient, kernel, None)
        rest = (self.stride, self.padding, self.dilation, False, [0, 0], self.groups, [True, False, False])
        return torch.ops.aten.convolution_backward(quotient, x, weight, None, *rest)[0]

    def _back(self, weight: Tensor) -> tuple[Convolution, Tensor] | None:
        """The convolution that is this one's product back, with the kernel turned round.

        For weights that are small or whose forms are kept; else None, since to turn them takes longer.
        """
        made = made_of(weight)
        known = None if made is None else made.get("back")
        if known is not None and known[0] is self:
            return known[1:]
        sides = zip(weight.shape[2:], self.padding, self.dilation, strict=True)
        up, left = (reach * (size - 1) - pad for size, pad, reach in sides)
        if min(up, left) < 0 or (made is None and weight.numel() > SMALL):
            return None
        kernel = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        back = _known((1, 1), (up, left), self.dilation, 1)
        if made is not None:
            made["back"] = self, back, remember(kernel)
        return back, kernel


def convolution(stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1, groups: int = 1) -> Convolution:
    """By the arguments of `F.conv2d`."""
    return _known(_pair(stride), _pair(padding), _pair(dilation), groups)


@lru_cache(1024)
def _known(stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Convolution:
    return Convolution(stride, padding, dilation, groups)


def _pair(value: Sides) -> Pair:
    if isinstance(value, int):
        return value, value
    first, *_, last = (*value, *value)
    return first, last


@cache
def _packing() -> tuple[Callable[..., Tensor], Callable[..., Tensor]] | None:
    """What lays weights out, and what multiplies with them: operators of torch's compiler, if it has them."""
    here = torch.ops.mkldnn
    if not all(hasattr(here, name) for name in ("_reorder_convolution_weight", "_convolution_pointwise")):
        return None
    return here._reorder_convolution_weight.default, here._convolution_pointwise.default


def _has_onednn(x: Tensor) -> bool:
    return x.is_cpu and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
