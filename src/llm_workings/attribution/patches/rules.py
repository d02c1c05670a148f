"""What each operation does to a batch held in crops, and where such a batch begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .batch import Patched, Rule, Unchanged, patched_of, replaced
from .boxes import Boxes, Crops, Ints, Pair, Sliding, everywhere

CROWDED = 0.8  # of a plane: crops that take up more save less than looking costs
DENSE = 0.7  # of a plane: a convolution of more is not worth the looking before and after
HEAVY = 64  # products an output: from there on, those of zeros around a crop are worth leaving out


def covered(x: Unchanged, baseline: Tensor, low: Ints, high: Ints, windows: Ints) -> Patched:
    """Copies of one input, each covered with a baseline `[channel, height, width]` in a box.

    Args:
        x: the input; its `reach` are the boxes of all windows, down and across.
        low, high: int32, `[3, n]`: the box's first place and the one after its last: channel, down, across.
        windows: which of all windows these are.
    """
    where = x.reach.of(windows).crops(x.plane)
    channels = np.arange(x.values.shape[1], dtype=np.int32)[None]
    within = [
        torch.from_numpy((places >= low[axis][:, None]) & (places < high[axis][:, None]))
        for axis, places in enumerate((channels, *where.places))
    ]
    inside = within[0][:, :, None, None] & within[1][:, None, :, None] & within[2][:, None, None]
    crops = where.on(baseline[None]).expand(len(windows), -1, -1, -1)
    if not bool(inside.all()):
        crops = torch.where(inside.to(baseline.device), crops, where.on(x.values))
    return Patched.of(x, windows, crops.contiguous(memory_format=torch.channels_last), where)


def _same(boxes: Boxes, plane: Pair) -> Boxes:
    return boxes


# --- kernels that slide ----------------------------------------------------------------------
def _share(where: Crops | Boxes, plane: Pair) -> float:
    return where.size[0] * where.size[1] / (plane[0] * plane[1])


def _slide(
    x: Patched,
    unchanged: Unchanged,
    sliding: Sliding,
    whole: Callable[[Tensor], Tensor],
    bare: Callable[[Tensor], Tensor],
    outside: float = 0.0,
    linear: bool = False,
) -> Patched:
    """An operation on what the reached outputs read.

    Where it is linear with a stride of 1, it is what the unchanged input gives and what the difference to it
    adds: that is zero around its crop, and zeros that a convolution pads with are not multiplied.

    Args:
        whole: the operation on whole planes.
        bare: without padding; where linear, with all that reads from a crop and without what is constant.
        outside: what it pads with.
    """
    if x.crops is None:
        return Patched.alone(unchanged)
    plane = unchanged.plane
    where = _crops(unchanged, x.windows)
    if linear and _share(x.region, x.plane) < DENSE:
        crops, spread = bare(x.change()), sliding.spread(x.region)
        if not spread.same(where):
            crops = where.pasted(crops, spread, None, 0.0)
        crops.add_(where.on(unchanged.values))
    elif linear or where.size == plane:
        where = everywhere(len(x.windows), plane)
        crops = whole(x.look(everywhere(len(x.windows), x.plane)))
    else:
        crops = bare(x.look(sliding.read(where), outside))
    return Patched.of(unchanged, x.windows, crops, where)


def _crops(unchanged: Unchanged, windows: Ints) -> Crops:
    reach = unchanged.reach.of(windows)
    if _share(reach, unchanged.plane) > CROWDED:
        return everywhere(len(windows), unchanged.plane)
    return reach.crops(unchanged.plane)


def _conv2d(
    func: Any,
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    if not isinstance(x, Patched) or isinstance(weight, Patched) or isinstance(bias, Patched):
        return NotImplemented
    kernel, dilation = (weight.shape[2], weight.shape[3]), _pair(dilation)
    before = {"same": [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)], "valid": 0}
    first = before[padding] if isinstance(padding, str) else padding
    sliding = Sliding(kernel, _pair(stride), _pair(first), dilation)
    linear = kernel != (1, 1) and sliding.stride == (1, 1) and weight[0].numel() >= HEAVY
    unchanged = x.after(sliding.reached, func, x, weight, bias, stride, padding, dilation, groups)
    if x.crops is None:
        return Patched.alone(unchanged)
    given, weight, bias = _kernel(unchanged, weight, bias)
    constant, around = (None, sliding.extent) if linear else (bias, 0)
    made = _slide(
        x,
        given,
        sliding,
        lambda planes: func(planes, weight, bias, stride, padding, dilation, groups),
        lambda crops: func(crops, weight, constant, stride, around, dilation, groups),
        linear=linear,
    )
    if given is not unchanged:
        made.unchanged, made.ahead = unchanged, given
    return made


def _kernel(
    unchanged: Unchanged, weight: Tensor, bias: Tensor | None
) -> tuple[Unchanged, Tensor, Tensor | None]:
    """What to convolve with, laid as the crops are, and what that makes of the unchanged input.

    Where a batch norm is all that reads the result, its factors are in the weights.
    """
    if unchanged.kernel is None:
        given = unchanged
        if unchanged.norm is not None and unchanged.reads == 1:
            given, scale, shift = unchanged.norm
            weight = weight * scale[:, None, None, None]
            bias = shift if bias is None else bias * scale + shift
        unchanged.kernel = given, weight.contiguous(memory_format=torch.channels_last), bias
    return unchanged.kernel


def _max_pool2d(
    func: Any,
    x: Patched,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices:
        return NotImplemented
    stride = stride or kernel_size
    sliding = Sliding(_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation))
    return _slide(
        x,
        x.after(sliding.reached, func, x, kernel_size, stride, padding, dilation, ceil_mode),
        sliding,
        lambda planes: func(planes, kernel_size, stride, padding, dilation, ceil_mode),
        lambda crops: func(crops, kernel_size, stride, 0, dilation),
        -torch.inf,
    )


def _avg_pool2d(
    func: Any,
    x: Patched,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    if ceil_mode or (any(_pair(padding)) and not count_include_pad):
        return NotImplemented  # what a mean is divided by is another at the edge
    stride = stride or kernel_size
    sliding = Sliding(_pair(kernel_size), _pair(stride), _pair(padding), (1, 1))
    return _slide(
        x,
        x.after(sliding.reached, func, x, kernel_size, stride, padding, divisor_override=divisor_override),
        sliding,
        lambda planes: func(planes, kernel_size, stride, padding, divisor_override=divisor_override),
        lambda crops: func(crops, kernel_size, stride, divisor_override=divisor_override),
    )


def _pair(given: Any) -> Pair:
    return (int(given[0]), int(given[-1])) if isinstance(given, Sequence) else (int(given), int(given))


def _pad(
    func: Any, x: Patched, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Any:
    left, right, top, bottom, *others = [*pad, 0, 0, 0, 0][: max(4, len(pad))]
    if mode != "constant" or min(left, right, top, bottom) < 0 or others:
        return NotImplemented
    by = np.array([[top], [left]], np.int32)
    unchanged = x.after(lambda boxes, plane: boxes.moved(by), func, x, pad, mode, value)
    unchanged.reads = 2  # its crops are those of x, which may be read again
    return Patched.of(unchanged, x.windows, x.crops, Crops(x.region.at + by, x.region.size))


def _mean(func: Any, x: Patched, places: Any) -> Any:
    """The mean of whole planes: the unchanged input's, and what the crops add to it."""
    if places not in (1, (1, 1), [1, 1]):
        return NotImplemented
    assert x.unchanged is not None
    if x.crops is None or x.region.size == x.plane:
        return func(x.unchanged.values if x.crops is None else x.crops, 1)
    share = x.change().sum((2, 3), keepdim=True) / (x.plane[0] * x.plane[1])
    return share + func(x.unchanged.values, 1)


# --- each place by itself --------------------------------------------------------------------
def _alone(func: Any, x: Patched, *args: Any, **kwargs: Any) -> Patched:
    unchanged = x.after(_same, func, x, *args, **kwargs)
    if x.crops is None:
        return Patched.alone(unchanged)
    if func in OVERWRITING and x.is_read_once:
        kwargs["inplace"], x.ahead = True, unchanged
    return Patched.of(unchanged, x.windows, func(x.crops, *args, **kwargs), x.region)


def _together(func: Any, met: list[Patched], *args: Any, **kwargs: Any) -> Patched:
    """A function of several, in boxes that hold the boxes of all."""
    unchanged = met[0].after(
        lambda boxes, plane: reduce(Boxes.joined, (_reach(one) for one in met)), func, *args, **kwargs
    )
    if met[0].crops is None:
        return Patched.alone(unchanged)
    where = _crops(unchanged, met[0].windows)
    crops = func(*replaced(args, lambda one: one.look(where)), **kwargs)
    return Patched.of(unchanged, met[0].windows, crops, where)


def _reach(one: Patched) -> Boxes:
    assert one.unchanged is not None
    return one.unchanged.reach


def _elementwise(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Of one `Patched` or more, and of numbers and tensors that are the same in all rows and places."""
    inplace = kwargs.pop("inplace", False)
    met = patched_of(args)
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, Tensor) and not isinstance(arg, Patched) and not _is_even(arg, func):
            return NotImplemented
    if any(isinstance(arg, Patched) for arg in kwargs.values()) or len({one.plane for one in met}) > 1:
        return NotImplemented
    if len(met) > 1:
        found = _together(func, met, *args, **kwargs)
    elif args[0] is met[0]:
        found = _alone(func, *args, **kwargs)
    else:
        return NotImplemented
    return _into(met[0], found) if inplace else found


def _is_even(given: Tensor, func: Any) -> bool:
    """Whether a tensor does the same to each place of each row."""
    if func in (F.prelu, torch.prelu):
        return given.dim() <= 1
    return given.numel() == 1 or (
        given.shape[-2:] == (1, 1) and (given.dim() == 3 or (given.dim() == 4 and len(given) == 1))
    )


def _batch_norm(
    func: Any,
    x: Patched,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None:
        return NotImplemented
    if x.ahead is not None:
        return Patched.of(x.ahead, x.windows, x.crops, x.region)
    made = _alone(func, x, running_mean, running_var, weight, bias, False, momentum, eps)
    if x.crops is None:
        assert x.unchanged is not None
        assert made.unchanged is not None
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - running_mean * scale
        x.unchanged.norm = made.unchanged, scale, shift
    return made


def _dropout(func: Any, x: Patched, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return NotImplemented if training else x


def _contiguous(func: Any, x: Patched, **kwargs: Any) -> Any:
    return NotImplemented if kwargs else x


def _cat(func: Any, parts: Sequence[Any], dim: int = 0) -> Any:
    met = patched_of([parts])
    if dim not in (1, -3) or len(met) < len(parts) or len({one.plane for one in met}) > 1:
        return NotImplemented
    return _together(func, met, parts, dim)


def _writing(plain: Any) -> Rule:
    """The rule of a function that writes over its input, by the one that does not."""

    def rule(func: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(target, Patched):
            return NotImplemented
        return _into(target, Patched.rules[plain](plain, target, *args, **kwargs))

    return rule


def _into(target: Patched, found: Any) -> Any:
    if found is NotImplemented:
        return found
    return target.hold(found.unchanged, found.crops, found.region)


OVERWRITING = {
    F.relu,
    F.relu6,
    F.leaky_relu,
    F.elu,
    F.selu,
    F.celu,
    F.silu,
    F.mish,
    F.hardswish,
    F.hardsigmoid,
}
FUNCTIONS = (
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus, F.prelu),
    *(F.hardtanh, F.hardswish, F.hardsigmoid, F.sigmoid, F.tanh, F.logsigmoid, F.softsign),
    *(torch.relu, torch.sigmoid, torch.tanh, torch.clamp, torch.abs, torch.exp, torch.square, torch.neg),
    *(torch.prelu, torch.clone, Tensor.clone, Tensor.neg, Tensor.__neg__, Tensor.square, Tensor.relu),
    *(Tensor.sigmoid, Tensor.tanh, Tensor.clamp, Tensor.abs, Tensor.exp),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum),
    *(Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.pow, torch.pow, Tensor.__pow__),
    *(Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__, Tensor.__mul__, Tensor.__rmul__),
    *(Tensor.__truediv__, Tensor.__rtruediv__),
)
WRITING = {
    torch.relu_: torch.relu,
    F.relu_: torch.relu,
    Tensor.relu_: torch.relu,
    torch.sigmoid_: torch.sigmoid,
    Tensor.sigmoid_: torch.sigmoid,
    Tensor.tanh_: torch.tanh,
    Tensor.clamp_: torch.clamp,
    Tensor.add_: torch.add,
    Tensor.__iadd__: torch.add,
    Tensor.sub_: torch.sub,
    Tensor.__isub__: torch.sub,
    Tensor.mul_: torch.mul,
    Tensor.__imul__: torch.mul,
    Tensor.div_: torch.div,
    Tensor.__itruediv__: torch.div,
}
Patched.rules = {
    **dict.fromkeys(FUNCTIONS, _elementwise),
    **dict.fromkeys((F.conv2d, torch.conv2d), _conv2d),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), _max_pool2d),
    **dict.fromkeys((F.dropout, F.dropout2d), _dropout),
    F.avg_pool2d: _avg_pool2d,
    F.adaptive_avg_pool2d: _mean,
    F.pad: _pad,
    F.batch_norm: _batch_norm,
    Tensor.contiguous: _contiguous,
    torch.cat: _cat,
    **{func: _writing(plain) for func, plain in WRITING.items()},
}
