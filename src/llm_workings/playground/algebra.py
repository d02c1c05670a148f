"""The whole computation of one step: every formula of it in symbols, and with its numbers.

    document = explain(record, sample=0)
    document["forward.z1.2"].numeric      # = 0.5000\\cdot 1 - 0.2512\\cdot 0 + 0.1000 = 0.6000
    document.check()                      # [] : every line adds up at the digits shown

The lines are made from the record's numbers and the formulas of the field, not from the kernel's code: where
the kernel were wrong, a line would not add up. Derivatives are also measured, by finite differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice

from llm_workings.core.errors import BadInput

from .algebra_backward import backward, gradient, parameter_of
from .algebra_forward import forward, loss
from .algebra_update import clip, optimizer, penalty, update
from .differences import measure
from .equation import SECTIONS, Check, Document, Equation, Section
from .record import Parameters, StepRecord
from .scope import Scope, count
from .sheet import Sheet

__all__ = ["SECTIONS", "Check", "Document", "Equation", "Section", "explain"]

MOST = 400  # equations: what a page can set in a moment


def explain(
    record: StepRecord,
    sample: int = 0,
    places: Sequence[str] | None = None,
    *,
    loss_of: Callable[[Parameters], float] | None = None,
    most: int = MOST,
) -> Document:
    """A step as a document of equations, in the order in which it is computed.

    Args:
        record: the step.
        sample: whose forward and backward pass is written out, an index into `record.samples`. Gradients
            show every sample of the batch.
        places: only what belongs to these: `u1.2` (the unit, all that leads into it, and its parameters'
            update; of an input the weights that lead out of it), `w1.0.2`, `b1.2`. None: everything.
        loss_of: what finite differences are taken of; by default the batch's loss and confidence penalty,
            computed apart from the kernel.
        most: equations at most. Parts of long sums are left out first, then parameters, then units.

    Raises:
        BadInput: a place that is not in the network, a sample that is not in the batch.
    """
    n = len(record.samples)
    if not 0 <= sample < n:
        raise BadInput(
            f"Sample {sample} is asked for; the batch has {n}.",
            hint=f"Samples of a batch are counted from 0 to {n - 1}.",
            given={"sample": sample, "batch": n},
        )
    scope, clipped = Scope.of(record.config, places), record.clipped != 1.0
    whole = count(Scope.of(record.config), n, clipped)
    scope = scope.fitting(n, clipped, most)
    sheet = Sheet(record, sample, scope, room=max(0, most - count(scope, n, clipped).main))
    sections = (forward, loss, backward, gradient, penalty, clip, optimizer, update)
    lines = list(islice(chain.from_iterable(section(sheet) for section in sections), max(0, most)))
    return Document(
        step=record.step,
        samples=tuple(sheet.indices),
        sample=sample,
        equations=tuple(_checked(record, lines, loss_of)),
        left_out=whole.main + whole.parts - len(lines),
    )


def _checked(
    record: StepRecord, lines: list[Equation], loss_of: Callable[[Parameters], float] | None
) -> list[Equation]:
    """The lines, those of the gradient with their finite differences."""
    layers = record.config.layers
    wanted = {
        at: parameter
        for at, line in enumerate(lines)
        if line.section == "gradient" and (parameter := parameter_of(line.id, layers))
    }
    for at, check in zip(wanted, measure(record, list(wanted.values()), loss_of), strict=True):
        lines[at] = replace(lines[at], check=check)
    return lines
