"""What stands in the place of what a view takes out: zero, or what the part writes in other texts.

Which other texts, and how many, decides a result as much as what was taken out: a payload says it (`Stood`).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.wire import Payload

if TYPE_CHECKING:
    from llm_workings.causal.ablation import Replacement
    from llm_workings.causal.base import Base

    from .lab import Lab

Way = Literal["zero", "mean", "resample"]
Source = Literal[
    "written", "ioi", "repeated", "facts", "greater_than", "agreement", "pronouns", "docstring", "own"
]
Instead = Annotated[
    Way,
    Field(
        title="In its place",
        description="What stands in the place of a part that is taken out: zero, the mean of what it writes "
        "in other texts, or what it writes in one of them.",
    ),
]
TextsFrom = Annotated[
    Source,
    Field(
        title="Other texts",
        description="Where the other texts come from: written (by the model itself, from this text's first "
        "token on), a prompt family, or own.",
    ),
]
OwnTexts = Annotated[
    list[str],
    Field(
        title="Own texts",
        max_length=200,
        description="Texts of your own to take the mean over or to draw from; with source 'own'.",
    ),
]
Seed = Annotated[
    int,
    Field(title="Seed", ge=0, le=2**31 - 1, description="Of what is drawn: the texts, and which one."),
]
MANY = 12  # texts
TRIES = 3  # times as many, where some end early
KEPT = 4  # of a text, so that a click finds the means that the picture took
_made: WeakKeyDictionary[Base, dict[Hashable, tuple[Replacement, Stood]]] = WeakKeyDictionary()


class Stood(Payload):
    """What stood in the place of what was taken out."""

    instead: Way
    source: Source
    seed: int
    said: str
    """In words, exactly: `the mean at the same position over 12 texts of 14 tokens ...`."""
    texts: list[str]
    """The other texts themselves; none for zero."""


def replacement(
    lab: Lab, base: Base, instead: Way, source: Source, texts: list[str], seed: int
) -> tuple[Replacement, Stood]:
    """What to put in a part's place, and what to say of it.

    A mean is by position where the other texts all have as many tokens as this one, else one for all
    positions; a resampled text is taken whole where one has as many, else position by position.

    Raises:
        BadInput: no texts of one's own, or none that fits the tokenizer.
        NotSupported: a model that cannot write texts, as one that reads both ways cannot.
    """
    kept = _made.setdefault(base, {})
    key = (instead, source, tuple(texts), seed)
    if key not in kept:
        while len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = _make(lab, base, instead, source, texts, seed)
    return kept[key]


def _make(
    lab: Lab, base: Base, instead: Way, source: Source, texts: list[str], seed: int
) -> tuple[Replacement, Stood]:
    from llm_workings.causal.ablation import ZERO, MeanOf, Resample
    from llm_workings.causal.replacements import aligned

    if instead == "zero":
        return ZERO, Stood(instead=instead, source=source, seed=seed, said="zero", texts=[])
    model = base.model
    others, shown, form = _texts(lab, base, source, texts, seed)
    lengths = [len(row) for row in others]
    of = f"{len(others)} texts of {_span(lengths)} tokens, {form}"
    found: Replacement
    if instead == "mean":
        by_position = aligned(model, others, base.n)
        found = MeanOf(model, others, by_position=by_position)
        said = f"its mean over {of}" + (
            ", position by position" if by_position else ", one for all positions"
        )
    else:
        by_position = base.n in lengths
        found = Resample(model, others, seed=seed, by_position=by_position)
        drawn = found.drawn(base.n)
        if by_position:
            said = f"what it writes in another text, number {drawn[0][0] + 1} of {of}"
        else:
            said = f"what it writes at positions drawn from {of}, none of which has {base.n}"
    return found, Stood(instead=instead, source=source, seed=seed, said=said, texts=shown)


def _span(lengths: list[int]) -> str:
    return str(lengths[0]) if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"


def _texts(
    lab: Lab, base: Base, source: Source, texts: list[str], seed: int
) -> tuple[list[list[int]], list[str], str]:
    """The other texts as tokens and as they are, and where they come from in words."""
    model = base.model
    if source == "own":
        given = [text for text in texts if text]
        if not given:
            raise BadInput(
                "There are no texts of your own to take values from.",
                hint="Give some, one a line, or take another source.",
            )
        return [model.tokens(text) for text in given], given, "given by you"
    if source == "written":
        rows = _written(lab, base, seed)
        shown = ["".join(token.text for token in lab.tokens(model, row)) for row in rows]
        return rows, shown, f"written by the model from this text's first token on, seed {seed}"
    from llm_workings.data.families import FAMILIES

    drawn = [pair.clean for pair in FAMILIES[source].make(model.tokenizer, MANY, seed)]
    return [model.tokens(text) for text in drawn], drawn, f"drawn from the family {source}, seed {seed}"


def _written(lab: Lab, base: Base, seed: int) -> list[list[int]]:
    model, n = base.model, base.n
    if not model.spec.causal:
        raise NotSupported(
            f"{model.name} reads both ways: it writes no texts to take values from.",
            hint="Give texts of your own, or take zero.",
        )
    first = base.tokens[:1]
    if n == 1:
        return [first]
    rows: list[list[int]] = []
    for number in range(MANY * TRIES):
        lab.progress.report("writing other texts", len(rows), MANY)
        text = [
            guess.token for guess in model.stream([first], n - 1, temperature=1.0, seed=seed * 1000 + number)
        ]
        if len(text) == n - 1 or number >= MANY * (TRIES - 1):
            rows.append([*first, *text])
        if len(rows) == MANY:
            break
    return rows
