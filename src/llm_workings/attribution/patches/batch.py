"""The batch that is held as one unchanged activation and a crop a row, and how a network's calls meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from .boxes import Boxes, Crops, Pair, everywhere

Rule = Callable[..., Any]


@dataclass
class Unchanged:
    """The activation of the unchanged input, `[1, channel, height, width]`, and what calls made of it.

    Attributes:
        then: by the number of the call. A network that is run again makes the same calls again, so the next
            batch finds them here.
    """

    values: Tensor
    then: dict[int, tuple[Any, Unchanged]] = field(default_factory=dict)

    @property
    def plane(self) -> Pair:
        return self.values.shape[-2], self.values.shape[-1]


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a batch: their crops, `[n, channel, *where.size]`, which may be the whole plane.

    Attributes:
        where: the crops' places.
        reach: the boxes that the windows really reach, each within its crop.
    """

    crops: Tensor
    where: Crops
    reach: Boxes

    def look(self, unchanged: Tensor, where: Crops, outside: float = 0.0) -> Tensor:
        """`[n, channel, *where.size]`: the values in other crops, with `outside` beyond the plane."""
        return (
            self.crops if self.where.same(where) else where.pasted(self.crops, self.where, unchanged, outside)
        )

    def rows(self, which: slice) -> Part:
        return Part(self.crops[which], self.where.rows(which), self.reach.rows(which))


class Patched(Tensor):
    """A batch `[n, channel, height, width]`; its shape, dtype and device are what the network sees.

    Attributes:
        unchanged: the activation of the unchanged input; None once the batch has been pasted together.
        parts: rows with crops of one size each; all rows at first, one for each of `cuts` later on. None at
            all stands for the unchanged input alone, one row.
        cuts: which rows lie alike, so that their crops grow alike.
        calls: how many calls it was in; what `unchanged.then` counts by.
        rules: what to do in a call of each function: `rule(function, *arguments)` gives the result, or
            NotImplemented where it must be made of the batch.
    """

    unchanged: Unchanged | None
    parts: list[Part]
    cuts: list[slice]
    calls: int
    rules: ClassVar[dict[Any, Rule]] = {}

    @staticmethod
    def of(unchanged: Unchanged, parts: list[Part], cuts: list[slice]) -> Patched:
        shape: tuple[int, ...] = tuple(unchanged.values.shape)
        if parts:
            shape = (sum(len(part.crops) for part in parts), *shape[1:])
        # On no device: what is done to it unseen fails, rather than giving numbers that mean nothing.
        made = torch.empty(shape, dtype=unchanged.values.dtype, device="meta").as_subclass(Patched)
        return made.hold(unchanged, parts, cuts)

    def hold(self, unchanged: Unchanged | None, parts: list[Part], cuts: list[slice]) -> Patched:
        self.unchanged, self.parts, self.cuts, self.calls = unchanged, parts, cuts, 0
        return self

    @property
    def plane(self) -> Pair:
        return self.shape[-2], self.shape[-1]

    def cut(self) -> list[Part]:
        return [self.parts[0].rows(rows) for rows in self.cuts] if len(self.parts) == 1 else self.parts

    def tensor(self) -> Tensor:
        """Everything pasted together. It is kept, so that what an operation writes into it stays."""
        if self.unchanged is not None:
            values = self.unchanged.values
            whole = [part.look(values, everywhere(len(part.crops), self.plane)) for part in self.parts]
            batch = (torch.cat(whole) if whole else values.clone()).contiguous()
            self.hold(None, [Part(batch, NO_CROPS, NO_BOXES)], [])
        return self.parts[0].crops

    def after(self, func: Any, *args: Any, **kwargs: Any) -> Unchanged:
        """What a call that this is part of gives for the unchanged input; computed once."""
        assert self.unchanged is not None
        kept = self.unchanged.then.get(self.calls)
        if kept is None or kept[0] is not func:
            values = func(*replaced(args, _unchanged), **kwargs)
            kept = self.unchanged.then[self.calls] = (func, Unchanged(values))
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
            return (one.parts[0].crops if one.unchanged is None else one.unchanged.values).device
        met = patched_of(args)
        for one in met:
            one.calls += 1
        rule = cls.rules.get(func)
        if rule is not None and met and all(one.unchanged is not None for one in met):
            found = rule(func, *args, **kwargs)
            if found is not NotImplemented:
                return found
        result = func(*replaced(args, Patched.tensor), **replaced(kwargs, Patched.tensor))
        for one in met:
            if (
                one.unchanged is None and result is one.parts[0].crops
            ):  # written over, or nothing was to be done
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


NO_CROPS = everywhere(0, (0, 0))
NO_BOXES = Boxes(NO_CROPS.at, NO_CROPS.at)
OF_THE_SHAPE = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "requires_grad")),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_complex, Tensor.__len__),
    *(torch.is_floating_point, torch.is_complex, torch.numel),
}
