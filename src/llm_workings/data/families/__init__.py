"""Families of prompts: pairs of texts that differ in one thing, made for the tokenizer at hand.

from llm_workings.data.families import FAMILIES

pair = FAMILIES["ioi"].make(model.tokenizer, n=1, seed=0)[0]
pair.clean, pair.corrupted, pair.right, pair.wrong
"""

from __future__ import annotations

from llm_workings.core.errors import unknown

from .agreement import AGREEMENT
from .alignment import check_alignment, check_token_alignment, positions_of
from .base import Family, Option, PromptPair, check_pair
from .docstring import DOCSTRING
from .facts import FACTS
from .greater_than import GREATER_THAN
from .ioi import IOI
from .pronouns import PRONOUNS
from .repeated import REPEATED

FAMILIES: dict[str, Family] = {
    family.name: family for family in (IOI, REPEATED, FACTS, GREATER_THAN, AGREEMENT, PRONOUNS, DOCSTRING)
}


def family_of(name: str) -> Family:
    """The family called `name`; `UnknownName`, with the nearest, if there is none."""
    if name not in FAMILIES:
        raise unknown("family of prompts", name, FAMILIES)
    return FAMILIES[name]


__all__ = [
    "FAMILIES",
    "Family",
    "Option",
    "PromptPair",
    "check_alignment",
    "check_pair",
    "check_token_alignment",
    "family_of",
    "positions_of",
]
