"""Which contrast a page steers by: a built-in set or own texts, with words to count and prompts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from llm_workings.core.errors import BadInput, LabError
from llm_workings.data.contrasts import CONTRASTS, SEA

if TYPE_CHECKING:
    from llm_workings.causal.steering import Directions
    from llm_workings.trace.model import LanguageModel

    from .lab import Lab

LONGEST = 20_000  # characters of one side of a contrast
WORDS = 8  # of a side, whose odds are measured
KEPT = 4  # contrasts of a model that stay in memory

ContrastName = Annotated[
    Literal["sea", "sentiment", "own"],
    Field(
        title="Contrast",
        description="sea (from money), sentiment (positive from negative), or own.",
    ),
]
Firsts = Annotated[
    str,
    Field(
        title="Texts with it",
        max_length=LONGEST,
        description="Of your own contrast: what to steer to, a text a line. With as many lines on the other "
        "side the texts are pairs, line by line.",
    ),
]
Seconds = Annotated[
    str,
    Field(
        title="Texts with its opposite",
        max_length=LONGEST,
        description="Of your own contrast: what to steer away from, a text a line.",
    ),
]
SteerLayer = Annotated[
    int | None,
    Field(
        title="Layer",
        ge=0,
        description="After which block it is added, from 0; by default the middle one.",
    ),
]
Seed = Annotated[
    int, Field(title="Seed", ge=0, le=2**31 - 1, description="Of the random directions and of the draws.")
]


@dataclass(frozen=True)
class Contrast:
    """What a page steers by.

    Attributes:
        name, sides: what it is called, and what its first and second texts are.
        firsts, seconds: the texts.
        paired: whether the i-th texts belong together.
        prompts: beginnings to try it on.
        next_words: tokens of the first and of the second side that may come next.
        lexicon: words that count for each side in a written text, lower case.
    """

    name: str
    sides: tuple[str, str]
    firsts: tuple[str, ...]
    seconds: tuple[str, ...]
    paired: bool
    prompts: tuple[str, ...]
    next_words: tuple[tuple[str, ...], tuple[str, ...]]
    lexicon: tuple[frozenset[str], frozenset[str]]

    def tally(self, text: str) -> int:
        """How many words of the first side a text has, less how many of the second."""
        return sum((word in self.lexicon[0]) - (word in self.lexicon[1]) for word in words_of(text))


def words_of(text: str) -> list[str]:
    """The words of a text, lower case."""
    return re.findall(r"\w+", text.lower())


def contrast_of(model: LanguageModel, name: str, firsts: str, seconds: str) -> Contrast:
    """The contrast that a page names, for this model.

    Raises:
        BadInput: own texts where none are meant, an empty side, a text on both sides, texts that the
            model's vocabulary cannot write.
    """
    if name != "own":
        if firsts.strip() or seconds.strip():
            raise BadInput(f"The contrast {name!r} has its own texts.", hint="For yours: contrast='own'.")
        known = CONTRASTS[name]
        if not _writes(model, [*known.firsts, *known.seconds]):
            raise BadInput(
                f"The vocabulary of {model.name} cannot write the texts of the contrast {name!r}, such as "
                f"{known.firsts[0]!r}.",
                hint="Steer it by texts that it can write: contrast='own', with firsts and seconds.",
                given={"contrast": name, "model": model.name},
            )
        words = tuple(_single(model, side) for side in known.next_words)
        if not all(words):
            words = _telling(model, known.firsts, known.seconds)
        return Contrast(
            known.name,
            known.sides,
            known.firsts,
            known.seconds,
            True,
            known.prompts,
            (words[0], words[1]),
            known.lexicon,
        )
    sides = _lines(firsts, "with it"), _lines(seconds, "with its opposite")
    if both := set(sides[0]) & set(sides[1]):
        raise BadInput(
            f"{min(both)[:60]!r} is on both sides: there it makes no difference.", hint="Leave it out."
        )
    counts = [{word for text in side for word in words_of(text)} for side in sides]
    lexicon = (frozenset(counts[0] - counts[1]), frozenset(counts[1] - counts[0]))
    prompts = SEA.prompts if _writes(model, SEA.prompts) else _beginnings([*sides[0], *sides[1]])
    paired = len(sides[0]) == len(sides[1])
    return Contrast(
        "own", ("yours", "its opposite"), *sides, paired, prompts, _telling(model, *sides), lexicon
    )


def directions_of(lab: Lab, model: LanguageModel, contrast: Contrast) -> Directions:
    """The contrast's direction at each layer, read at the texts' last tokens; the last few are kept."""
    from llm_workings.causal.steering import contrastive_pairs, difference_of_means

    kept = _FOUND.setdefault(model, {})
    key = (contrast.firsts, contrast.seconds)
    if key not in kept:
        if contrast.paired:
            pairs = list(zip(contrast.firsts, contrast.seconds, strict=True))
            found = contrastive_pairs(model, pairs, name=contrast.name, progress=lab.progress)
        else:
            texts = contrast.firsts, contrast.seconds
            found = difference_of_means(model, *texts, over="last", name=contrast.name, progress=lab.progress)
        while len(kept) >= KEPT:
            del kept[next(iter(kept))]
        kept[key] = found
    return kept[key]


_FOUND: WeakKeyDictionary[LanguageModel, dict[tuple[tuple[str, ...], ...], Directions]] = WeakKeyDictionary()


def layer_of(model: LanguageModel, layer: int | None) -> int:
    """The layer that was asked for, or the middle one. Raises `BadInput` for one that is not there."""
    n = model.spec.n_layers
    if layer is not None and layer >= n:
        raise BadInput(
            f"There is no layer {layer}: {model.name} has {n}, from 0 to {n - 1}.", given={"layer": layer}
        )
    return (n - 1) // 2 if layer is None else layer


def _lines(text: str, said: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise BadInput(
            f"Your contrast has no texts {said}.",
            hint="Write a text a line on each side; ten or more are better.",
        )
    return found


def _single(model: LanguageModel, words: Sequence[str]) -> tuple[str, ...]:
    """Those of the words that are one token of this model."""
    found = []
    for word in words:
        try:
            model.token(word)
        except LabError:  # it splits, or cannot be written
            continue
        found.append(word)
    return tuple(found)


def _telling(
    model: LanguageModel, firsts: Sequence[str], seconds: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of each side, the commonest tokens that stand in none of the other side's texts."""
    sides = [
        Counter(token for text in side for token in model.tokenizer.encode(text))
        for side in (firsts, seconds)
    ]
    mine = [
        tuple(
            piece
            for token, _ in sorted(side.items(), key=lambda item: (-item[1], item[0]))
            if token not in other and not model.tokenizer.is_special(token)
            for piece in _single(model, [model.tokenizer.piece(token)])
        )[:WORDS]
        for side, other in (sides, sides[::-1])
    ]
    return mine[0], mine[1]


def _writes(model: LanguageModel, texts: Sequence[str]) -> bool:
    try:
        model.tokenizer.encode_batch(list(texts))
    except BadInput:  # a letter that a toy's vocabulary has not
        return False
    return True


def _beginnings(texts: Sequence[str]) -> tuple[str, ...]:
    """The first halves of the texts, each once."""
    return tuple(dict.fromkeys(text[: max(1, len(text) // 2)] for text in texts))
