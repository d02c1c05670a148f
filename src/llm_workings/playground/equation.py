"""One line of the algebra of a step, and all of them as a document that can check itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .arithmetic import agrees, evaluate
from .expression import numbers_of_latex, numbers_of_text

Section = Literal["forward", "loss", "backward", "gradient", "penalty", "clip", "optimizer", "update"]
SECTIONS: tuple[Section, ...] = (
    "forward",
    "loss",
    "backward",
    "gradient",
    "penalty",
    "clip",
    "optimizer",
    "update",
)


@dataclass(frozen=True)
class Check:
    """A derivative, measured by moving its parameter both ways a little.

    Attributes:
        measured: (L(p + h) - L(p - h)) / 2h.
        difference: |measured - derived| / max(1, |derived|).
    """

    measured: float
    difference: float


@dataclass(frozen=True)
class Equation:
    """One line of the algebra. `text` re-evaluates to `result` at the digits shown.

    Attributes:
        id: its name in the document, such as `forward.z1.2` or `gradient.w1.0.2`.
        section: which part of a step it belongs to.
        layer, unit: the unit it is about (layer 1 is the first after the inputs; a weight or bias belongs
            to the unit it leads into); unit is -1 for a whole layer, and both are for the whole network.
        sample: of the batch, by its index in the record; None for what belongs to the whole batch.
        title: what happens, in a sentence.
        symbolic: LaTeX, in symbols, with what is worked out on the left.
        numeric: LaTeX, the right-hand side with the numbers in, and the result; begins with `=`.
        text: the numbers as plain arithmetic, without the result.
        result: at so many digits as it is shown with; "0" is exactly zero.
        value: the record's own number for it, unrounded (where the record keeps none, the formula's).
        places: what in the picture it is about; the first is where it stands.
        check: of a gradient, its finite difference.
    """

    id: str
    section: Section
    layer: int
    unit: int
    sample: int | None
    title: str
    symbolic: str
    numeric: str
    text: str
    result: str
    value: float
    places: tuple[str, ...]
    check: Check | None = None

    def adds_up(self) -> bool:
        """Whether the displayed numbers come to the displayed result, in the text and in the LaTeX."""
        in_numeric, in_text = numbers_of_latex(self.numeric), numbers_of_text(self.text)
        return agrees(evaluate(self.text), self.result) and in_numeric == [
            *in_text,
            *numbers_of_text(self.result),
        ]


@dataclass(frozen=True)
class Document:
    """The whole computation of one step, or the part of it that was asked for.

    Attributes:
        step: updates made before it.
        samples: the batch, as the record's `samples`.
        sample: whose forward and backward pass is written out: an index into `samples`.
        equations: section by section, in the order in which a step is computed.
        left_out: how many more the whole document has.
    """

    step: int
    samples: tuple[int, ...]
    sample: int
    equations: tuple[Equation, ...]
    left_out: int

    def check(self) -> list[str]:
        """The ids of the equations that do not re-evaluate to their results; empty when all add up."""
        return [equation.id for equation in self.equations if not equation.adds_up()]

    def __getitem__(self, id: str) -> Equation:
        return next(equation for equation in self.equations if equation.id == id)
