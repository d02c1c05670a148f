"""What every method gives: a value an input, the score it explains, and whether the values add up."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO = "The gradient is zero everywhere: no small change changes the score, so nothing is shown."
CONSTANT = "The input is constant: every place holds the same value, so there is nothing to tell apart."


@dataclass(frozen=True)
class Attribution:
    """One method's answer for a batch of inputs.

    Attributes:
        values: what each input has to do with the score: the input's shape, or `[row, height, width]` of a
            layer for a class activation map. Signed, except where the method's docstring says otherwise.
        score: the target that is explained, `[row]`.
        method: its name.
        expected: what the values should add up to, `[row]`, where the method promises a sum; else None.
        notes: what the reader must know to read the picture, in sentences.
    """

    values: Tensor
    score: Tensor
    method: str
    expected: Tensor | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def sum(self) -> Tensor:
        """What the values add up to, `[row]`."""
        return self.values.flatten(1).sum(1)

    @property
    def error(self) -> Tensor | None:
        """`sum` minus `expected`, `[row]`; None where the method promises no sum."""
        return None if self.expected is None else self.sum - self.expected

    @property
    def map(self) -> Tensor:
        """One signed value a place, `[row, height, width]`: the channels of an image added up."""
        return self.values.sum(1) if self.values.dim() == 4 else self.values

    def picture(self, size: tuple[int, int] | None = None) -> Tensor:
        """What supports the score, from 0 to 1: the map's positive part over its largest value.

        `[row, height, width]`, enlarged bilinearly to `size`. All zero where nothing is positive.
        """
        positive = self.map.clamp(min=0)
        if size is not None and positive.shape[-2:] != size:
            positive = F.interpolate(positive[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        top = positive.flatten(1).amax(1).view(-1, 1, 1)
        return torch.where(top > 0, positive / top, 0)


def warnings_of(x: Tensor, gradient: Tensor | None = None) -> tuple[str, ...]:
    """The notes that an input and its gradient call for."""
    notes = []
    if x.numel() and torch.equal(*torch.aminmax(x)):
        notes.append(CONSTANT)
    if gradient is not None:
        moved = gradient.flatten(1).any(1)
        if not bool(moved.any()):
            notes.append(ZERO)
        elif not bool(moved.all()):
            silent = (~moved).nonzero().flatten().tolist()
            notes.append(f"Rows {silent}: {ZERO[0].lower()}{ZERO[1:]}")
    return tuple(notes)
