"""What a family of prompts is: pairs of texts that differ in one thing, and the answers it decides.

A family draws `PromptPair`s by seed for the tokenizer at hand. It proposes, and what it proposes is
checked here: the two texts align token by token, the answers are one token each and differ, and the
first of them continues the text as that token. What does not pass is drawn again.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.seeds import python_generator

from .alignment import Reads, check_alignment, positions_of

TRIES = 300  # for one more pair of a variant, before it is said that there is none


@dataclass(frozen=True)
class PromptPair:
    """A text, the same text with one thing changed, and what each should be answered with.

    Attributes:
        family: whose it is ("ioi").
        kind: what was changed ("flip").
        variant: which form of the family the text has ("ABBA").
        clean, corrupted: the two texts, equally many tokens long.
        right, wrong: the answer that the clean text asks for and the one it is measured against, as
            text with its space (" Mary"); one token each.
        rights, wrongs: every right and every wrong answer, `right` and `wrong` first among them.
        places: named stretches of the clean text ("S1", "IO", "end"): begin and end in characters. They
            stand at the same tokens in the corrupted text.
    """

    family: str
    kind: str
    variant: str
    clean: str
    corrupted: str
    right: str
    wrong: str
    rights: tuple[str, ...]
    wrongs: tuple[str, ...]
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)

    def positions(self, tokenizer: Reads) -> dict[str, tuple[int, ...]]:
        """The token positions of each place, those around the text (BOS, [CLS]) counted."""
        return {
            name: positions_of(tokenizer, self.clean, begin, end)
            for name, (begin, end) in self.places.items()
        }


@dataclass(frozen=True)
class Option:
    """Something that can be chosen of a family: one of some words, or a number from `least` to `most`."""

    default: str | int
    about: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0

    def check(self, family: str, name: str, value: object) -> str | int:
        """`value`, if it can be chosen; else `BadInput` or `UnknownName` with what can."""
        if self.choices:
            if value not in self.choices:
                raise unknown(f"{name} of {family}", str(value), self.choices)
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise BadInput(
                f"The {name} of {family} is {value!r}, not a whole number from {self.least} to {self.most}.",
                given={name: str(value)},
            )
        return value


Propose = Callable[[random.Random], PromptPair | None]
"""Draws a pair, which may turn out not to fit; None where the draw itself led nowhere."""


@dataclass(frozen=True)
class Family:
    """Prompt pairs of one kind.

    Attributes:
        name: what it is asked for by ("ioi").
        title: the same in words.
        about: what the pairs are and what answering them takes.
        source: the paper that introduced or made use of it.
        prepare: for a tokenizer and options, one way to propose pairs for each variant. It raises
            `BadInput` where too few words are single tokens.
        options: what can be chosen, by name.
    """

    name: str
    title: str
    about: str
    source: str
    prepare: Callable[..., Mapping[str, Propose]]
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)

    def make(self, tokenizer: Reads, n: int, seed: int = 0, **options: str | int) -> list[PromptPair]:
        """`n` different pairs, the variants in equal parts and in turn; the same seed makes the same ones.

        Args:
            tokenizer: the model's; what has to be one token is one to it.
            n: how many pairs.
            seed: which ones.
            options: those of `options` that are not to be as usual.

        Raises:
            BadInput: `n` below 1, a number out of range, too few words that are one token (with how the
                others split), or fewer than `n` pairs that pass the checks.
            UnknownName: an option that the family does not have, or a choice it does not offer.
        """
        if n < 1:
            raise BadInput(f"{n} pairs of {self.name} were asked for.", hint="Ask for one or more.")
        for name in options:
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, self.options)
        chosen = {
            name: option.check(self.name, name, options.get(name, option.default))
            for name, option in self.options.items()
        }
        draw = python_generator(seed)
        ways = list(self.prepare(tokenizer, **chosen).values())
        pairs: dict[tuple[str, str], PromptPair] = {}
        while len(pairs) < n:
            propose = ways[len(pairs) % len(ways)]
            pair = next(
                (
                    pair
                    for _ in range(TRIES)
                    if (pair := propose(draw)) is not None
                    and (pair.clean, pair.corrupted) not in pairs
                    and not _objection(tokenizer, pair)
                ),
                None,
            )
            if pair is None:
                raise BadInput(
                    f"No more than {len(pairs)} different pairs of {self.name} were found for this "
                    f"tokenizer; {n} were asked for.",
                    hint=f"Ask for {len(pairs)} or fewer." if pairs else "Choose another family.",
                    given={"family": self.name, "n": n, "found": len(pairs), "seed": seed},
                )
            pairs[pair.clean, pair.corrupted] = pair
        return list(pairs.values())


def check_pair(tokenizer: Reads, pair: PromptPair) -> None:
    """Raise `BadInput` unless the pair is what a patch can be made with, saying what is wrong with it.

    The two texts align and differ; every answer is one token; none is both right and wrong; and the
    clean text with the right answer after it reads as its own tokens and that one.
    """
    if not check_alignment(tokenizer, pair.clean, pair.corrupted):
        raise BadInput(f"The clean and the corrupted text are the same: {pair.clean!r}.")
    rights, wrongs = (
        {tokenizer.one(text) for text in texts}
        for texts in ((pair.right, *pair.rights), (pair.wrong, *pair.wrongs))
    )
    if rights & wrongs:
        both = tokenizer.pieces(sorted(rights & wrongs))
        raise BadInput(f"Among the answers to {pair.clean!r}, {both} are right and wrong.")
    read = tokenizer.encode(pair.clean + pair.right, special=False)
    if read != [*tokenizer.encode(pair.clean, special=False), tokenizer.one(pair.right)]:
        raise BadInput(
            f"{pair.right!r} does not stay a token of its own after {pair.clean!r}: "
            f"{tokenizer.pieces(read)[-3:]}.",
            hint="Mind the space between the two.",
        )


def _objection(tokenizer: Reads, pair: PromptPair) -> str:
    try:
        check_pair(tokenizer, pair)
    except BadInput as error:
        return error.message
    return ""


# ---- what families are made with -----------------------------------------------------------------


def is_one(tokenizer: Reads, text: str) -> bool:
    """Whether a text is one token, and not the one for what the vocabulary lacks."""
    ids = tokenizer.encode(text, special=False)
    return len(ids) == 1 and not tokenizer.is_special(ids[0])


def single_tokens(tokenizer: Reads, words: Iterable[str], least: int, what: str) -> list[str]:
    """Those of `words` that are one token with a space before them, without that space, in order.

    Raises:
        BadInput: fewer than `least`; it says how the others split.
    """
    words = list(words)
    found = [word for word in words if is_one(tokenizer, " " + word)]
    if len(found) < least:
        lacking = [" " + word for word in words if word not in found]
        raise too_few(tokenizer, lacking, len(found), len(words), least, f"{what} are one token")
    return found


def too_few(
    tokenizer: Reads, lacking: Sequence[str], found: int, asked: int, least: int, what: str
) -> BadInput:
    """The error for a vocabulary in which too few texts are what they must be, with how the others split."""
    splits = {text: tokenizer.pieces(tokenizer.encode(text, special=False)) for text in lacking}
    said = ", ".join(f"{text!r} is {pieces}" for text, pieces in list(splits.items())[:8])
    more = f" and {len(splits) - 8} more" if len(splits) > 8 else ""
    return BadInput(
        f"Only {found} of {asked} {what} to this tokenizer, and at least {least} are needed: {said}{more}.",
        hint="Choose another family, or a model with a larger vocabulary.",
        given={"single": found, "needed": least, "splits": splits},
    )


def fill(template: str, **values: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The template with its `{name}`s filled in, and where each of them stands, in characters.

    "end" is the last character, where the answer is read off. A name that comes again ("S") is called
    "S2", and its first "S1".
    """
    text = ""
    stretches: dict[str, list[tuple[int, int]]] = {}
    for before, name, _, _ in string.Formatter().parse(template):
        text += before
        if name is not None:
            stretches.setdefault(name, []).append((len(text), len(text) + len(values[name])))
            text += values[name]
    places = {}
    for name, found in stretches.items():
        for number, stretch in enumerate(found, 1):
            places[name if len(found) == 1 else f"{name}{number}"] = stretch
    places["end"] = (len(text) - 1, len(text))
    return text, places


def others(words: Sequence[str], *taken: str) -> list[str]:
    """The words that are not among `taken`."""
    return [word for word in words if word not in taken]
