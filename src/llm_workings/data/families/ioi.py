"""Indirect object identification: of two people, the one who has not been named again gets the drink.

Wang et al. 2022, "Interpretability in the Wild" (arXiv:2211.00593), section 2 and appendix A.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from .alignment import Reads
from .base import Family, Option, PromptPair, Propose, fill, others, single_tokens

# A and B are the two names as they come first; S is the one that comes again.
TEMPLATES = (
    "When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to",
    "Then, {A} and {B} went to the {PLACE}. {S} gave a {OBJECT} to",
    "Then, {A} and {B} had a lot of fun at the {PLACE}. {S} gave a {OBJECT} to",
    "Then, {A} and {B} were working at the {PLACE}. {S} decided to give a {OBJECT} to",
    "Then, {A} and {B} were thinking about going to the {PLACE}. {S} wanted to give a {OBJECT} to",
    "After {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to",
    "When {A} and {B} got a {OBJECT} at the {PLACE}, {S} decided to give it to",
    "While {A} and {B} were commuting to the {PLACE}, {S} gave a {OBJECT} to",
    "After the lunch, {A} and {B} went to the {PLACE}. {S} gave a {OBJECT} to",
    "The {PLACE} {A} and {B} went to had a {OBJECT}. {S} gave it to",
    "Friends {A} and {B} found a {OBJECT} at the {PLACE}. {S} gave it to",
)
PLACES = ("store", "garden", "restaurant", "school", "hospital", "office", "house", "station")
OBJECTS = ("ring", "kiss", "bone", "basketball", "computer", "necklace", "drink", "snack")
_NAMES = """
    Aaron Adam Alan Alex Alice Amy Andre Andrew Andy Anna Anthony Arthur Austin Blake Brandon Brian
    Carter Charles Charlie Christian Christopher Clark Cole Connor Daniel David Dean Edward Elizabeth
    Emily Eric Eva Frank George Georgia Graham Grant Henry Ian Jack Jacob Jake James Jamie Jane Jason
    Jay Jennifer Jeremy Jessica John Jonathan Jordan Joseph Joshua Justin Kate Kelly Kevin Kyle Laura
    Leon Lewis Lisa Louis Luke Madison Marco Marcus Maria Mark Martin Mary Matthew Max Michael Michelle
    Morgan Patrick Paul Peter Rachel Richard Robert Roman Rose Ruby Russell Ryan Sarah Scott Sean Simon
    Stephen Steven Taylor Thomas Tyler Victoria Warren William
"""
NAMES = tuple(_NAMES.split())
VARIANTS = ("ABBA", "BABA")


def prepare(tokenizer: Reads, *, corruption: str, variant: str) -> Mapping[str, Propose]:
    names = single_tokens(tokenizer, NAMES, 5 if corruption == "abc" else 2, "names")
    wanted = VARIANTS if variant == "both" else (variant,)
    return {each: partial(propose, names, corruption, each) for each in wanted}


def propose(names: list[str], corruption: str, variant: str, draw: random.Random) -> PromptPair:
    template = draw.choice(TEMPLATES)
    subject, indirect = draw.sample(names, 2)
    thing = {"PLACE": draw.choice(PLACES), "OBJECT": draw.choice(OBJECTS)}

    def text_of(indirect: str, first: str, again: str) -> tuple[str, dict[str, tuple[int, int]]]:
        order = (indirect, first) if variant == "ABBA" else (first, indirect)
        return fill(template, A=order[0], B=order[1], S=again, **thing)

    clean, found = text_of(indirect, subject, subject)
    if corruption == "flip":
        corrupted, _ = text_of(indirect, subject, indirect)
    else:
        corrupted, _ = text_of(*draw.sample(others(names, subject, indirect), 3))
    io, s1 = ("A", "B") if variant == "ABBA" else ("B", "A")
    places = {"IO": found[io], "S1": found[s1], "S2": found["S"], "end": found["end"]}
    right, wrong = " " + indirect, " " + subject
    return PromptPair("ioi", corruption, variant, clean, corrupted, right, wrong, (right,), (wrong,), places)


IOI = Family(
    "ioi",
    "Indirect object identification",
    "Two people are named, and one of them again, who gives something to the other. The answer is the name "
    "that came once. In ABBA texts that name comes first, in BABA texts second.",
    "Wang et al. 2022, arXiv:2211.00593",
    prepare,
    {
        "corruption": Option(
            "flip",
            "flip: the name that comes again is the other one, so that the answers change places. "
            "abc: all three names are new and different, so that there is no answer (the paper's pABC).",
            ("flip", "abc"),
        ),
        "variant": Option("both", "the order of the names", ("both", *VARIANTS)),
    },
)
