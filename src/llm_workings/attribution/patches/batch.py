"""The batch that is held as one unchanged activation and a crop a row, and how a network's calls meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Boxes, Crops, Ints, Pair, everywhere

Rule = Callable[..., Any]


class OtherCalls(Exception):
    """The network calls other operations for a batch than it did for one input: it has to be run whole."""


@dataclass
class Unchanged:
    """The activation of the unchanged input, `[1, channel, height, width]`, and what calls made of it.

    Attributes:
        reach: of every window, the box that it may change here.
        reads: how many calls it is in.
        norm: what a batch norm makes of it, with what that multiplies each channel by and adds.
        kernel: the weights and the bias that it was made with, and what they give: this, or what its norm
            makes of it where they have the norm in them.
        then: by the number of the call. A network that is run again makes the same calls again, so the next
            batch finds them here.
        trail: all that was made of the same input, in order.
    """

    values: Tensor
    reach: Boxes
    reads: int = 0
    norm: tuple[Unchanged, Tensor, Tensor] | None = None
    kernel: tuple[Unchanged, Tensor, Tensor | None] | None = None
    then: dict[int, tuple[Any, Unchanged]] = field(default_factory=dict)
    trail: list[Unchanged] = field(default_factory=list)

    @property
    def plane(self) -> Pair:
        return self.values.shape[-2], self.values.shape[-1]

    def alike(self) -> Ints:
        """The windows in an order in which those next to each other reach boxes of one size.

        They do at last, where the network is widest: at an edge a box is cut off.
        """
        sizes = self.reach.high - self.reach.low
        for made in self.trail:
            found = made.reach.high - made.reach.low
            if (found < np.array(made.plane)[:, None]).any():
                sizes = found
        return np.lexsort(sizes[::-1])


class Patched(Tensor):
    """A batch `[n, channel, height, width]`; its shape, dtype and device are what the network sees.

    Attributes:
        unchanged: the activation of the unchanged input; None once the batch has been pasted together.
        windows: which windows the rows are covered in.
        crops: `[n, channel, *region.size]`; None for the unchanged input alone, one row.
        region: the crops' places; each holds the box that its window reaches.
        calls: how many calls it was in; what `unchanged.then` counts by.
        ahead: what the only call that reads it makes of the unchanged input, where the crops are of that
            already.
        rules: what to do in a call of each function: `rule(function, *arguments)` gives the result, or
            NotImplemented where it must be made of the batch.
    """

    unchanged: Unchanged | None
    windows: Ints
    crops: Tensor | None
    region: Crops
    calls: int
    ahead: Unchanged | None
    rules: ClassVar[dict[Any, Rule]] = {}

    @staticmethod
    def of(unchanged: Unchanged, windows: Ints, crops: Tensor | None, region: Crops) -> Patched:
        shape = (1 if crops is None else len(crops), *unchanged.values.shape[1:])
        # On no device: what is done to it unseen fails, rather than giving numbers that mean nothing.
        made = torch.empty(shape, dtype=unchanged.values.dtype, device="meta").as_subclass(Patched)
        made.windows = windows
        return made.hold(unchanged, crops, region)

    @staticmethod
    def alone(unchanged: Unchanged) -> Patched:
        """The unchanged input by itself: what follows is worked out for it, and where windows reach."""
        return Patched.of(unchanged, NO_WINDOWS, None, everywhere(0, unchanged.plane))

    def hold(self, unchanged: Unchanged | None, crops: Tensor | None, region: Crops) -> Patched:
        self.unchanged, self.crops, self.region = unchanged, crops, region
        self.calls, self.ahead = 0, None
        return self

    @property
    def is_read_once(self) -> bool:
        """Whether nothing needs the crops after the call that they are in."""
        return self.crops is not None and self.unchanged is not None and self.unchanged.reads == 1

    @property
    def plane(self) -> Pair:
        return self.shape[-2], self.shape[-1]

    def look(self, where: Crops, outside: float = 0.0) -> Tensor:
        """`[n, channel, *where.size]`: the values in other crops, with `outside` beyond the plane."""
        assert self.crops is not None
        assert self.unchanged is not None
        if self.region.same(where):
            return self.crops
        return where.pasted(self.crops, self.region, self.unchanged.values, outside)

    def change(self) -> Tensor:
        """What the crops differ by from the unchanged input."""
        assert self.crops is not None
        assert self.unchanged is not None
        before = self.region.on(self.unchanged.values)
        return torch.sub(self.crops, before, out=before if len(before) > 1 else None)

    def tensor(self) -> Tensor:
        """Everything pasted together. It is kept, so that what an operation writes into it stays."""
        if self.unchanged is not None:
            whole = everywhere(len(self.windows), self.plane)
            batch = self.unchanged.values.clone() if self.crops is None else self.look(whole)
            self.hold(None, batch.contiguous(), whole)
        assert self.crops is not None
        return self.crops

    def after(self, reach: Callable[[Boxes, Pair], Boxes], func: Any, *args: Any, **kwargs: Any) -> Unchanged:
        """What a call that this is part of gives for the unchanged input; computed once.

        Args:
            reach: the boxes that windows reach there, of those here and the size of the plane there.
        """
        assert self.unchanged is not None
        kept = self.unchanged.then.get(self.calls)
        if kept is None or kept[0] is not func:
            values = func(*replaced(args, _unchanged), **kwargs)
            boxes = reach(self.unchanged.reach, (values.shape[-2], values.shape[-1]))
            made = Unchanged(values, boxes, trail=self.unchanged.trail)
            self.unchanged.trail.append(made)
            kept = self.unchanged.then[self.calls] = (func, made)
        return kept[1]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in OF_THE_SHAPE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if func is Tensor.device.__get__:
            (one,) = args
            return (one.crops if one.unchanged is None else one.unchanged.values).device
        met = patched_of(args)
        for one in met:
            one.calls += 1
            if one.ahead is not None and (func is not F.batch_norm or one.calls > 1):
                raise OtherCalls
            if one.unchanged is not None:
                one.unchanged.reads = max(one.unchanged.reads, one.calls)
        rule = cls.rules.get(func)
        if rule is not None and met and all(one.unchanged is not None for one in met):
            found = rule(func, *args, **kwargs)
            if found is not NotImplemented:
                return found
        result = func(*replaced(args, Patched.tensor), **replaced(kwargs, Patched.tensor))
        for one in met:
            if one.unchanged is None and result is one.crops:  # written over, or nothing was to be done
                return one
        return result


def patched_of(args: Sequence[Any]) -> list[Patched]:
    """Every `Patched` among arguments, and those in a list that comes first (`torch.cat`)."""
    first = args[0] if args and type(args[0]) in (tuple, list) else ()
    return [arg for arg in (*first, *args) if isinstance(arg, Patched)]


def replaced(given: Any, by: Callable[[Patched], Tensor]) -> Any:
    """Arguments with each `Patched` replaced, in lists, tuples and dictionaries too."""
    if isinstance(given, Patched):
        return by(given)
    if type(given) in (tuple, list):
        return type(given)([replaced(part, by) for part in given])
    return {key: replaced(part, by) for key, part in given.items()} if type(given) is dict else given


def _unchanged(one: Patched) -> Tensor:
    assert one.unchanged is not None
    return one.unchanged.values


NO_WINDOWS = np.zeros(0, np.int64)
OF_THE_SHAPE = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "requires_grad")),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_complex, Tensor.__len__),
    *(torch.is_floating_point, torch.is_complex, torch.numel),
}
