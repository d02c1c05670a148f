"""Gendered pronouns: "So Mary is a really great friend, isn't" is followed by " she".

Mathwin et al. 2023, "Identifying a Preliminary Circuit for Predicting Gendered Pronouns in GPT-2 Small".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from .alignment import Reads
from .base import Family, PromptPair, Propose, fill, single_tokens

TEMPLATES = (
    "So {NAME} is a really {GREAT} {FRIEND}, isn't",
    "Well, {NAME} is such a {GREAT} {FRIEND}, isn't",
    "I think that {NAME} is a {GREAT} {FRIEND}, isn't",
    "Everyone says that {NAME} was a {GREAT} {FRIEND}, wasn't",
    "And {NAME} has been a {GREAT} {FRIEND} for years, hasn't",
)
GREAT = ("great", "good", "nice", "wonderful", "bad", "funny", "careful", "brilliant")
FRIEND = (
    "friend", "cook", "singer", "teacher", "neighbor", "doctor", "student", "writer", "driver", "dancer",
    "leader", "nurse",
)  # fmt: skip
_WOMEN = """
    Mary Elizabeth Emily Anna Alice Jane Sarah Laura Lisa Jennifer Jessica Michelle Rachel Maria Amy
    Kate Emma Susan Linda Karen Nancy Margaret Helen Barbara Rebecca Hannah Rose Ruth Diana Julia
    Victoria
"""
WOMEN = tuple(_WOMEN.split())
_MEN = """
    John James Robert Michael William David Richard Thomas Charles Daniel Matthew Mark Paul Andrew Peter
    George Edward Brian Kevin Jason Eric Stephen Jonathan Scott Frank Patrick Henry Jack Adam Simon
"""
MEN = tuple(_MEN.split())
ANSWERS = {"she": WOMEN, "he": MEN}


def prepare(tokenizer: Reads) -> Mapping[str, Propose]:
    single_tokens(tokenizer, ANSWERS, 2, "pronouns")
    names = {
        pronoun: single_tokens(tokenizer, names, 2, f"names of those called {pronoun!r}")
        for pronoun, names in ANSWERS.items()
    }
    return {pronoun: partial(propose, names, pronoun) for pronoun in ANSWERS}


def propose(names: dict[str, list[str]], pronoun: str, draw: random.Random) -> PromptPair:
    other = "he" if pronoun == "she" else "she"
    template, words = draw.choice(TEMPLATES), {"GREAT": draw.choice(GREAT), "FRIEND": draw.choice(FRIEND)}
    clean, found = fill(template, NAME=draw.choice(names[pronoun]), **words)
    corrupted, _ = fill(template, NAME=draw.choice(names[other]), **words)
    right, wrong = " " + pronoun, " " + other
    places = {"name": found["NAME"], "end": found["end"]}
    return PromptPair(
        "pronouns", "other gender", pronoun, clean, corrupted, right, wrong, (right,), (wrong,), places
    )


PRONOUNS = Family(
    "pronouns",
    "Gendered pronouns",
    "A sentence about somebody ends in a question whose pronoun goes with the name. In the corrupted text "
    "the name is one that goes with the other pronoun.",
    "Mathwin et al. 2023, Identifying a Preliminary Circuit for Predicting Gendered Pronouns in GPT-2 Small",
    prepare,
)
