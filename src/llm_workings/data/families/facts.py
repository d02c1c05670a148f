"""Facts: the capital of a country, its language, its money, its continent, where a landmark stands.

Completions of this form are what Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(arXiv:2202.05262), and Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive
Language Models" (arXiv:2304.14767), took apart. The facts here are written by hand.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from .alignment import Reads
from .base import Family, Option, PromptPair, Propose, fill, is_one, too_few


@dataclass(frozen=True)
class Relation:
    """Facts of one kind: texts with `{SUBJECT}` that ask for the answer, and subjects with theirs."""

    templates: tuple[str, ...]
    facts: Mapping[str, str]


CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "England": "London", "Ireland": "Dublin", "Scotland": "Edinburgh", "Austria": "Vienna",
    "Greece": "Athens", "Sweden": "Stockholm", "Norway": "Oslo", "Denmark": "Copenhagen",
    "Finland": "Helsinki", "Poland": "Warsaw", "Hungary": "Budapest", "Russia": "Moscow", "Turkey": "Ankara",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Iran": "Tehran", "Iraq": "Baghdad", "Syria": "Damascus",
    "Lebanon": "Beirut", "Japan": "Tokyo", "China": "Beijing", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "Indonesia": "Jakarta", "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago",
    "Australia": "Canberra", "Afghanistan": "Kabul", "Belgium": "Brussels",
}  # fmt: skip
LANGUAGES = {
    "France": "French", "Germany": "German", "Italy": "Italian", "Spain": "Spanish", "Portugal": "Portuguese",
    "England": "English", "Greece": "Greek", "Sweden": "Swedish", "Norway": "Norwegian", "Denmark": "Danish",
    "Poland": "Polish", "Russia": "Russian", "Turkey": "Turkish", "Egypt": "Arabic", "Iran": "Persian",
    "Japan": "Japanese", "China": "Chinese", "Thailand": "Thai", "Brazil": "Portuguese", "Mexico": "Spanish",
    "Argentina": "Spanish", "Australia": "English", "Austria": "German", "Hungary": "Hungarian",
    "Vietnam": "Vietnamese",
}  # fmt: skip
CURRENCIES = {
    "France": "euro", "Germany": "euro", "Italy": "euro", "Spain": "euro", "Ireland": "euro",
    "England": "pound", "Egypt": "pound", "Syria": "pound", "Japan": "yen", "China": "yuan", "India": "rupee",
    "Pakistan": "rupee", "Nepal": "rupee", "Mexico": "peso", "Chile": "peso", "Argentina": "peso",
    "Cuba": "peso", "Canada": "dollar", "Australia": "dollar", "Singapore": "dollar", "Jamaica": "dollar",
    "Iraq": "dinar", "Jordan": "dinar", "Kuwait": "dinar", "Switzerland": "franc",
}  # fmt: skip
CONTINENTS = {
    "France": "Europe", "Germany": "Europe", "Italy": "Europe", "Spain": "Europe", "Poland": "Europe",
    "Sweden": "Europe", "Portugal": "Europe", "Hungary": "Europe", "Kenya": "Africa", "Nigeria": "Africa",
    "Ghana": "Africa", "Ethiopia": "Africa", "Uganda": "Africa", "Zimbabwe": "Africa", "Egypt": "Africa",
    "Morocco": "Africa", "Japan": "Asia", "China": "Asia", "India": "Asia", "Thailand": "Asia",
    "Vietnam": "Asia", "Nepal": "Asia", "Mongolia": "Asia", "Pakistan": "Asia",
}  # fmt: skip
LANDMARKS = {
    "Eiffel Tower": "Paris", "Louvre Museum": "Paris", "Arc de Triomphe": "Paris", "Big Ben": "London",
    "Tower Bridge": "London", "Buckingham Palace": "London", "British Museum": "London",
    "Colosseum": "Rome", "Trevi Fountain": "Rome", "Sistine Chapel": "Rome", "Brandenburg Gate": "Berlin",
    "Berlin Wall": "Berlin", "Acropolis": "Athens", "Parthenon": "Athens", "Red Square": "Moscow",
    "Bolshoi Theatre": "Moscow", "Forbidden City": "Beijing", "Sagrada Familia": "Barcelona",
    "Sydney Opera House": "Sydney", "Prado Museum": "Madrid", "Anne Frank House": "Amsterdam",
    "Burj Khalifa": "Dubai", "Blue Mosque": "Istanbul", "Hagia Sophia": "Istanbul",
    "Charles Bridge": "Prague", "Rialto Bridge": "Venice", "Uffizi Gallery": "Florence",
    "Space Needle": "Seattle", "Willis Tower": "Chicago", "White House": "Washington",
}  # fmt: skip
YOUNG = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "bear": "cub", "lion": "cub",
    "goose": "gosling", "duck": "duckling", "deer": "fawn", "frog": "tadpole", "pig": "piglet",
    "horse": "foal", "chicken": "chick", "wolf": "cub", "elephant": "calf", "whale": "calf",
}  # fmt: skip
RELATIONS = {
    "capital": Relation(
        ("The capital of {SUBJECT} is", "The capital city of {SUBJECT} is the city of"), CAPITALS
    ),
    "language": Relation(
        ("The official language of {SUBJECT} is", "In {SUBJECT}, most people speak"), LANGUAGES
    ),
    "currency": Relation(
        ("The currency of {SUBJECT} is the", "In {SUBJECT}, people pay with the"), CURRENCIES
    ),
    "continent": Relation(
        ("{SUBJECT} is a country on the continent of", "The country of {SUBJECT} is in"), CONTINENTS
    ),
    "landmark": Relation(
        ("The {SUBJECT} is in the city of", "If you want to see the {SUBJECT}, travel to the city of"),
        LANDMARKS,
    ),
    "young": Relation(("A young {SUBJECT} is called a",), YOUNG),
}
LEAST = 2  # facts of a relation with a subject of the same length and another answer


def prepare(tokenizer: Reads, *, relation: str) -> Mapping[str, Propose]:
    wanted = list(RELATIONS) if relation == "all" else [relation]
    ways: dict[str, Propose] = {}
    for name in wanted:
        groups = _groups(tokenizer, RELATIONS[name].facts)
        if groups:
            ways[name] = partial(propose, name, groups)
    if not ways:
        answers = list(dict.fromkeys(answer for name in wanted for answer in RELATIONS[name].facts.values()))
        lacking = [" " + answer for answer in answers if not is_one(tokenizer, " " + answer)]
        found = len(answers) - len(lacking)
        raise too_few(tokenizer, lacking, found, len(answers), LEAST, "answers are one token")
    return ways


def propose(relation: str, groups: list[dict[str, str]], draw: random.Random) -> PromptPair | None:
    group = draw.choices(groups, weights=[len(group) for group in groups])[0]
    subject, other = draw.sample(list(group), 2)
    if group[subject] == group[other]:
        return None
    template = draw.choice(RELATIONS[relation].templates)
    clean, found = fill(template, SUBJECT=subject)
    corrupted, _ = fill(template, SUBJECT=other)
    right, wrong = " " + group[subject], " " + group[other]
    return PromptPair(
        "facts",
        "other subject",
        relation,
        clean,
        corrupted,
        right,
        wrong,
        (right,),
        (wrong,),
        {"subject": found["SUBJECT"], "end": found["end"]},
    )


def _groups(tokenizer: Reads, facts: Mapping[str, str]) -> list[dict[str, str]]:
    """The facts whose answer is one token, by the length of their subject; lengths with two answers."""
    groups: dict[int, dict[str, str]] = {}
    for subject, answer in facts.items():
        if is_one(tokenizer, " " + answer):
            length = len(tokenizer.encode(" " + subject, special=False))
            groups.setdefault(length, {})[subject] = answer
    return [group for _, group in sorted(groups.items()) if len(set(group.values())) >= LEAST]


FACTS = Family(
    "facts",
    "Facts",
    "A sentence about a country, a landmark or an animal that stops before the answer. In the corrupted text "
    "the subject is another one of as many tokens, whose answer is the wrong one.",
    "Meng et al. 2022, arXiv:2202.05262; Geva et al. 2023, arXiv:2304.14767",
    prepare,
    {"relation": Option("all", "what is asked", ("all", *RELATIONS))},
)
