"""Subject-verb agreement: the verb agrees with its subject, not with the noun that stands nearer.

Linzen et al. 2016, "Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies"
(arXiv:1611.01368); Lakretz et al. 2019, "The emergence of number and syntax units in LSTM language models"
(arXiv:1903.07435), table 1, whose nounPP is `prepositional` here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from .alignment import Reads
from .base import Family, Option, PromptPair, Propose, fill, single_tokens, too_few

# D is the distractor, a noun of its own number between the subject and its verb.
TEMPLATES = {
    "prepositional": (
        "The {S} near the {D}",
        "The {S} behind the {D}",
        "The {S} next to the {D}",
        "The {S} in front of the {D}",
        "I know that the {S} near the {D}",
        "We heard that the {S} beside the {D}",
    ),
    "relative": (
        "The {S} that the {D} {V}",
        "I know that the {S} that the {D} {V}",
        "The {S} who the {D} {V}",
        "We heard that the {S} who the {D} {V}",
    ),
}
NOUNS = {
    "author": "authors", "teacher": "teachers", "doctor": "doctors", "farmer": "farmers", "boy": "boys",
    "girl": "girls", "man": "men", "woman": "women", "king": "kings", "pilot": "pilots", "driver": "drivers",
    "student": "students", "lawyer": "lawyers", "officer": "officers", "guard": "guards", "singer": "singers",
    "actor": "actors", "artist": "artists", "manager": "managers", "child": "children", "friend": "friends",
    "player": "players", "writer": "writers", "nurse": "nurses", "senator": "senators", "soldier": "soldiers",
    "worker": "workers", "dancer": "dancers", "minister": "ministers", "visitor": "visitors",
}  # fmt: skip
LIKES = {"likes": "like", "knows": "know", "loves": "love", "sees": "see", "follows": "follow"}
VERBS = {"is": "are", "was": "were", "has": "have"}
NUMBERS = {"singular": 0, "plural": 1}


def prepare(tokenizer: Reads, *, structure: str) -> Mapping[str, Propose]:
    """A variant for each structure and combination of numbers: "relative singular-plural" ..."""
    nouns = _pairs(tokenizer, NOUNS, 2, "nouns")
    verbs = _pairs(tokenizer, VERBS, 1, "verbs")
    structures = tuple(TEMPLATES) if structure == "both" else (structure,)
    return {
        f"{of} {subject}-{distractor}": partial(propose, of, nouns, verbs, subject, distractor)
        for subject in NUMBERS
        for distractor in NUMBERS
        for of in structures
    }


def propose(
    structure: str,
    nouns: list[tuple[str, str]],
    verbs: list[tuple[str, str]],
    subject: str,
    distractor: str,
    draw: random.Random,
) -> PromptPair:
    number, other = NUMBERS[subject], 1 - NUMBERS[subject]
    near = NUMBERS[distractor]
    head, attractor = draw.sample(nouns, 2)
    words = {"D": attractor[near]}
    if structure == "relative":
        words["V"] = draw.choice(list(LIKES.items()))[near]
    template = draw.choice(TEMPLATES[structure])
    clean, found = fill(template, S=head[number], **words)
    corrupted, _ = fill(template, S=head[other], **words)
    shuffled = draw.sample(verbs, len(verbs))
    rights, wrongs = (tuple(" " + verb[which] for verb in shuffled) for which in (number, other))
    places = {"subject": found["S"], "distractor": found["D"], "end": found["end"]}
    variant = f"{structure} {subject}-{distractor}"
    return PromptPair(
        "agreement", "other number", variant, clean, corrupted, rights[0], wrongs[0], rights, wrongs, places
    )


def _pairs(tokenizer: Reads, words: dict[str, str], least: int, what: str) -> list[tuple[str, str]]:
    """The words that are one token in both numbers."""
    single = set(single_tokens(tokenizer, [*words, *words.values()], 0, what))
    found = [pair for pair in words.items() if single.issuperset(pair)]
    if len(found) < least:
        lacking = [
            " " + word for pair in words.items() if pair not in found for word in pair if word not in single
        ]
        raise too_few(
            tokenizer, lacking, len(found), len(words), least, f"{what} are one token in both numbers"
        )
    return found


AGREEMENT = Family(
    "agreement",
    "Subject-verb agreement",
    "A subject, and between it and its verb another noun of the same or the other number. The verb goes "
    "with the subject. In the corrupted text the subject has the other number, so that the answers change "
    "places. The noun in between stands in a prepositional phrase or is the subject of a relative clause.",
    "Linzen et al. 2016, arXiv:1611.01368; Lakretz et al. 2019, arXiv:1903.07435",
    prepare,
    {"structure": Option("both", "what stands between subject and verb", ("both", *TEMPLATES))},
)
