"""Boxes on a plane of places: which outputs read them, crops that hold them, and looking there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

Ints = np.ndarray  # int32
Pair = tuple[int, int]  # down and across
NONE = np.int32(2**29)  # an index beyond any; the sum of two is still an int32


@dataclass(frozen=True)
class Boxes:
    """One box a row: the places from `low` up to `high`, both `[2, n]`, down and across."""

    low: Ints
    high: Ints

    @cached_property
    def size(self) -> Pair:
        """The height of the tallest and the width of the widest."""
        height, width = (self.high - self.low).max(1)
        return int(height), int(width)

    def joined(self, other: Boxes) -> Boxes:
        return Boxes(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def moved(self, by: Ints) -> Boxes:
        return Boxes(self.low + by, self.high + by)

    def of(self, which: Ints) -> Boxes:
        return Boxes(self.low[:, which], self.high[:, which])

    def crops(self, plane: Pair) -> Crops:
        """Crops of one size that each hold a box and stay on the plane."""
        furthest = np.array([[plane[0] - self.size[0]], [plane[1] - self.size[1]]], np.int32)
        return Crops(np.minimum(self.low, furthest), self.size)


@dataclass(frozen=True, eq=False)
class Crops:
    """Where crops of one size lie: their corners `at`, `[2, n]`, maybe beyond the plane's edge."""

    at: Ints
    size: Pair

    def same(self, other: Crops) -> bool:
        return self is other or (self.size == other.size and bool((self.at == other.at).all()))

    @cached_property
    def places(self) -> tuple[Ints, Ints]:
        """The rows and the columns of each, `[n, height]` and `[n, width]`."""
        height, width = self.size
        return (
            self.at[0][:, None] + np.arange(height, dtype=np.int32),
            self.at[1][:, None] + np.arange(width, dtype=np.int32),
        )

    @cached_property
    def _indices(self) -> dict[int, Tensor]:
        return {}

    def on(self, values: Tensor) -> Tensor:
        """The crops of one plane, `[1, channel, height, width]`, on which they must lie."""
        width = values.shape[-1]
        if self.size == tuple(values.shape[-2:]):
            return values  # one for all
        index = self._indices.get(width)
        if index is None:
            down, across = self.places
            found = (down * np.int32(width))[:, :, None] + across[:, None]
            index = self._indices[width] = torch.from_numpy(found.reshape(-1)).to(values.device)
        return self._taken(_rows(values), index)

    def pasted(self, crops: Tensor, theirs: Crops, under: Tensor | None, outside: float) -> Tensor:
        """These crops of the planes that are `under`, with `crops` pasted on them where `theirs` lie.

        All rows of channels stand in one list: those of the crops, `outside`, those under; a place that is in
        a crop has the smallest index there.
        """
        down, across = self.places
        height, width = theirs.size
        count = len(crops) * height * width
        firsts = np.arange(0, count, height * width, dtype=np.int32)
        y, x = down - theirs.at[0][:, None], across - theirs.at[1][:, None]
        found = _or_none(y, height, y * np.int32(width) + firsts[:, None])[:, :, None]
        found = found + _or_none(x, width, x)[:, None]
        rows = [_rows(crops)]
        if int(found.max()) >= NONE:
            rows.append(crops.new_full((1, crops.shape[1]), outside))
            least: Ints | np.int32 = np.int32(count)
            if under is not None:
                height, width = under.shape[-2:]
                y = _or_none(down, height, down * np.int32(width) + np.int32(count + 1))
                least = y[:, :, None] + _or_none(across, width, across)[:, None]
                least = np.where(least >= NONE, np.int32(count), least)
                rows.append(_rows(under))
            found = np.where(found >= NONE, least, found)
        index = torch.from_numpy(found.reshape(-1)).to(crops.device)
        return self._taken(torch.cat(rows) if len(rows) > 1 else rows[0], index)

    def _taken(self, rows: Tensor, index: Tensor) -> Tensor:
        return rows.index_select(0, index).view(self.at.shape[1], *self.size, -1).permute(0, 3, 1, 2)


def everywhere(rows: int, plane: Pair) -> Crops:
    """Crops that are the whole plane."""
    return Crops(np.zeros((2, rows), np.int32), plane)


def _or_none(places: Ints, length: int, index: Ints) -> Ints:
    """The index where places lie from 0 up to a length, else one that counts as none."""
    return np.where((places >= 0) & (places < length), index, NONE)


def _rows(planes: Tensor) -> Tensor:
    """`[place, channel]` of all planes."""
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


@dataclass(frozen=True)
class Sliding:
    """A kernel that slides over a plane; `padding` is what is before the first place."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @cached_property
    def extent(self) -> Pair:
        """How far the last place that an output reads is from the first."""
        return (self.kernel[0] - 1) * self.dilation[0], (self.kernel[1] - 1) * self.dilation[1]

    def reached(self, boxes: Boxes, plane: Pair) -> Boxes:
        """The outputs, on a plane of that size, that read a place in the boxes: at least one."""
        low, high = np.empty_like(boxes.low), np.empty_like(boxes.high)
        for axis in (0, 1):
            stride, padding, last = self.stride[axis], self.padding[axis], plane[axis]
            begin = -((self.extent[axis] - padding - boxes.low[axis]) // stride)
            end = (boxes.high[axis] - 1 + padding) // stride + 1
            low[axis] = np.minimum(np.maximum(begin, 0), last - 1)
            high[axis] = np.maximum(np.minimum(end, last), low[axis] + 1)
        return Boxes(low, high)

    def read(self, crops: Crops) -> Crops:
        """What outputs in those crops read."""
        stride, padding = np.array([self.stride, self.padding], np.int32)[:, :, None]
        height, width = (
            (crops.size[axis] - 1) * self.stride[axis] + self.extent[axis] + 1 for axis in (0, 1)
        )
        return Crops(crops.at * stride - padding, (height, width))

    def spread(self, crops: Crops) -> Crops:
        """All that reads from those crops with a stride of 1."""
        by = np.array([[p - e] for p, e in zip(self.padding, self.extent, strict=True)], np.int32)
        height, width = (crops.size[axis] + self.extent[axis] for axis in (0, 1))
        return Crops(crops.at + by, (height, width))
