"""How Hugging Face's tensors lie in ours: four layouts, each with its way back."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from llm_workings.models.spec import Attention

Shape = tuple[int, ...]


class Layout(Protocol):
    """Both ways between their tensors and one of ours, exactly; biases (1-D) as well as weights."""

    def pack(self, theirs: list[Tensor], attention: Attention) -> Tensor:
        """Our tensor out of theirs."""

    def unpack(self, ours: Tensor, attention: Attention) -> list[Tensor]:
        """Their tensors out of ours."""

    def shapes(self, ours: Shape, attention: Attention) -> list[Shape]:
        """The shapes that theirs must have for ours to have this one."""


class AsIs:
    """The same tensor."""

    def pack(self, theirs: list[Tensor], attention: Attention) -> Tensor:
        return theirs[0]

    def unpack(self, ours: Tensor, attention: Attention) -> list[Tensor]:
        return [ours]

    def shapes(self, ours: Shape, attention: Attention) -> list[Shape]:
        return [ours]


class Transposed:
    """GPT-2 keeps its matrices as `[in, out]` (Conv1D), a linear layer `[out, in]`."""

    def pack(self, theirs: list[Tensor], attention: Attention) -> Tensor:
        return theirs[0].t().contiguous()

    def unpack(self, ours: Tensor, attention: Attention) -> list[Tensor]:
        return [ours.t().contiguous()]

    def shapes(self, ours: Shape, attention: Attention) -> list[Shape]:
        return [ours[::-1]]


class Stacked:
    """Queries, keys and values apart; ours are one below the other."""

    def pack(self, theirs: list[Tensor], attention: Attention) -> Tensor:
        return torch.cat(theirs)

    def unpack(self, ours: Tensor, attention: Attention) -> list[Tensor]:
        return [part.clone() for part in ours.split(_widths(attention))]  # each with memory of its own

    def shapes(self, ours: Shape, attention: Attention) -> list[Shape]:
        return [(width, *ours[1:]) for width in _widths(attention)]


class Interleaved:
    """GPT-NeoX: rows run head by head, and in a head query, key, value; ours query, key, value first."""

    def pack(self, theirs: list[Tensor], attention: Attention) -> Tensor:
        by_head = theirs[0].unflatten(0, (attention.n_heads, 3, attention.d_head))
        return by_head.transpose(0, 1).flatten(0, 2).contiguous()

    def unpack(self, ours: Tensor, attention: Attention) -> list[Tensor]:
        by_part = ours.unflatten(0, (3, attention.n_heads, attention.d_head))
        return [by_part.transpose(0, 1).flatten(0, 2).contiguous()]

    def shapes(self, ours: Shape, attention: Attention) -> list[Shape]:
        return [ours]


def _widths(attention: Attention) -> list[int]:
    keys = attention.n_key_value_heads * attention.d_head
    return [attention.n_heads * attention.d_head, keys, keys]


AS_IS, TRANSPOSED, STACKED, INTERLEAVED = AsIs(), Transposed(), Stacked(), Interleaved()
