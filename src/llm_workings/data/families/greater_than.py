"""Greater than: a war does not end before it began.

Hanna et al. 2023, "How does GPT-2 compute greater-than?" (arXiv:2305.00586), section 3. There a year is two
tokens of two digits, as GPT-2 reads it. Where digits are read one by one, the next digit is the answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from .alignment import Reads
from .base import Family, PromptPair, Propose, fill, is_one, too_few

TEMPLATE = "The {NOUN} lasted from the year {CENTURY}{YEAR} to the year {CENTURY}"
_NOUNS = """
    abduction accord affair agreement alliance attack ban battle blockade campaign celebration chase
    collaboration competition conference conflict conquest construction cooperation crisis crusade
    debate demonstration dispute dynasty effort emergency engagement epidemic exhibition expedition
    experiment famine feud festival fight flood friendship government hostility hunt illness invasion
    journey marriage mission movement mutiny negotiation occupation partnership plague program project
    protest quest raid rebellion reform reign relationship research revolt rule sanctions search session
    siege strike struggle study tour trade treaty trial truce uprising voyage war
"""
NOUNS = tuple(_NOUNS.split())
CENTURIES = ("11", "12", "13", "14", "15", "16", "17", "18")
YEARS = tuple(f"{year:02}" for year in range(2, 99))
LEAST = 20  # years


def prepare(tokenizer: Reads) -> Mapping[str, Propose]:
    known: dict[str, list[tuple[str, str]]] = {"two digits": [], "one digit": []}
    lacking = []
    for century in CENTURIES:
        for year in YEARS:
            kind = _kind(tokenizer, century, year)
            if kind:
                known[kind].append((century, year))
            else:
                lacking.append(f" {century}{year}")
    variant = max(known, key=lambda kind: len(known[kind]))
    if len(known[variant]) < LEAST:
        asked = len(CENTURIES) * len(YEARS)
        what = "years end in two digits that are one token, or one each,"
        raise too_few(tokenizer, lacking, len(known[variant]), asked, LEAST, what)
    return {variant: partial(propose, tokenizer, variant, known[variant])}


def propose(
    tokenizer: Reads, variant: str, years: list[tuple[str, str]], draw: random.Random
) -> PromptPair | None:
    century, year = draw.choice(years)
    noun = draw.choice(NOUNS)
    clean, found = fill(TEMPLATE, NOUN=noun, CENTURY=century, YEAR=year)
    corrupted, _ = fill(TEMPLATE, NOUN=noun, CENTURY=century, YEAR="01")
    if variant == "two digits":
        every = [text for text in map("{:02}".format, range(100)) if is_one(tokenizer, text)]
        rights = [text for text in every if text > year]
        wrongs = [text for text in every if text <= year]
    else:  # the same tens digit leaves it open, and is neither
        rights = [digit for digit in "0123456789" if digit > year[0]]
        wrongs = [digit for digit in "0123456789" if digit < year[0]]
    if not rights or not wrongs:
        return None
    right, wrong = draw.choice(rights), draw.choice(wrongs)
    begin, end = found["YEAR"]
    # Of a year read digit by digit, the tens digit is what decides.
    decides = (begin, end if variant == "two digits" else begin + 1)
    places = {"XX": found["CENTURY1"], "YY": decides, "end": found["end"]}
    return PromptPair(
        "greater_than",
        "01",
        variant,
        clean,
        corrupted,
        right,
        wrong,
        (right, *(text for text in rights if text != right)),
        (wrong, *(text for text in wrongs if text != wrong)),
        places,
    )


def _kind(tokenizer: Reads, century: str, year: str) -> str:
    """How the two last digits of a year are read: as one token, as one each, or "" for otherwise."""
    text = f"the year {century}{year}"
    spans = tokenizer.spans(text, special=False)
    n = len(text)
    if spans[-1] == (n - 2, n):
        return "two digits"
    return "one digit" if spans[-2:] == [(n - 2, n - 1), (n - 1, n)] else ""


GREATER_THAN = Family(
    "greater_than",
    "Greater than",
    "Something lasted from one year to a later one of the same century. Every later year is right and every "
    "earlier one wrong. Where the model reads digits one by one, the tens digit answers, and the one that "
    "both years may share is left out. In the corrupted text the first year ends in 01, which rules out "
    "nothing.",
    "Hanna et al. 2023, arXiv:2305.00586",
    prepare,
)
