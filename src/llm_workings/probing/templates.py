"""Labelled sentences made from templates: balanced, and with nothing to go by but the property.

Each sentence is read at its last word. That word does not carry the label (it is drawn apart from it),
all sentences of a template have the same number of words, and sentences that share a key word stay on one
side of a split: what a probe finds is what the model carried there from earlier in the sentence, of words
that the probe has not seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from llm_workings.core.errors import BadInput, unknown

from .alignment import Passage, locate
from .tasks import FEWEST_OF_CLASS, Task


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Their plural is the same word with an s.
THINGS = _words(
    "key dog book car boat ship tree house road bird horse king letter picture table river "
    "garden bridge teacher doctor student soldier farmer artist driver writer singer guard"
)
PLACES = _words("cabinet wall window hill lake tower field market village school station church gate shop")
NEAR = _words("near behind beside by")
PEOPLE = _words("doctor teacher farmer student writer king lawyer singer guard nurse")
VERBS = _words(
    "visit/visits/visited watch/watches/watched paint/paints/painted clean/cleans/cleaned "
    "enter/enters/entered open/opens/opened describe/describes/described photograph/photographs/photographed "
    "guard/guards/guarded sell/sells/sold leave/leaves/left build/builds/built draw/draws/drew "
    "choose/chooses/chose buy/buys/bought find/finds/found see/sees/saw love/loves/loved "
    "admire/admires/admired need/needs/needed"
)
FEELINGS = _words(
    "wonderful/terrible brilliant/awful excellent/horrible beautiful/ugly delightful/dreadful "
    "great/bad perfect/broken charming/boring superb/miserable fantastic/pathetic lovely/nasty "
    "exciting/dull pleasant/painful clever/stupid fresh/stale impressive/disappointing"
)
WORKS = _words("film book song play meal hotel concert story garden party show trip")
DENIALS = (("not", "now"), ("never", "always"), ("hardly", "clearly"))
STATES = _words("open closed empty full clean dirty warm cold wet dry safe dark quiet ready")
MOST_ROWS = 100_000
ORDER = ("first", "second", "third", "fourth", "fifth", "sixth")

Row = tuple[str, str, str]  # sentence, class, key word


def _number() -> Iterator[Row]:
    """Is the subject singular or plural, at the end of "The keys near the cabinet"?"""
    for thing, near, place in itertools.product(THINGS, NEAR, PLACES):
        for plural, many in itertools.product((False, True), repeat=2):
            subject, last = thing + "s" * plural, place + ("es" if place == "church" else "s") * many
            yield f"The {subject} {near} the {last}", "plural" if plural else "singular", thing


def _tense() -> Iterator[Row]:
    """Does the sentence tell of the present or the past, at the end of "The doctor visited the church"?"""
    for verb, person, place in itertools.product(VERBS, PEOPLE, PLACES):
        base, present, past = verb.split("/")
        for form, name in ((present, "present"), (past, "past")):
            yield f"The {person} {form} the {place}", name, base


def _sentiment() -> Iterator[Row]:
    """Was it praised or not, at the end of "The film was wonderful said the doctor"?"""
    for pair, work, person in itertools.product(FEELINGS, WORKS, PEOPLE):
        for word, name in zip(pair.split("/"), ("positive", "negative"), strict=True):
            yield f"The {work} was {word} said the {person}", name, pair


def _negation() -> Iterator[Row]:
    """Is it denied, at the end of "The window is not open"?"""
    for thing, state, pair in itertools.product((*THINGS, *PLACES), STATES, DENIALS):
        for word, name in zip(pair, ("negated", "affirmed"), strict=True):
            yield f"The {thing} is {word} {state}", name, thing


def _position(draw: np.random.Generator, n: int) -> Iterator[Row]:
    """Where among six words does this one stand? Any word stands anywhere."""
    words = np.array([*THINGS, *PLACES])
    for _ in range(n):
        text = " ".join(draw.choice(words, len(ORDER), replace=False))
        yield text, "", text


TEMPLATES: dict[str, Callable[[], Iterator[Row]]] = {
    "number": _number,
    "tense": _tense,
    "sentiment": _sentiment,
    "negation": _negation,
}
POSITION = "position"
NAMES = (*TEMPLATES, POSITION)


def template(name: str, n: int = 600, seed: int = 0) -> Task:
    """A task of made sentences, as many of each class.

    Args:
        name: "number" (of the subject, across a second noun), "tense", "sentiment", "negation", or
            "position" (which of six words it is; every word of n / 6 sentences).
        n: labelled words; the nearest number that the classes can share.
        seed: which of the possible sentences.

    Raises:
        UnknownName: no such template; suggests the nearest.
        BadInput: too few to share among the classes, or more than there are.
    """
    draw = np.random.default_rng(seed)
    if name == POSITION:
        _check(n, len(ORDER), MOST_ROWS)
        rows = list(_position(draw, n // len(ORDER)))
        passages = tuple(_passage(text) for text, _, _ in rows)
        at = np.arange(len(rows) * len(ORDER))
        place = at % len(ORDER)
        keys = tuple(key for _, _, key in rows)
        return Task(name, passages, at // len(ORDER), place, place, ORDER, keys, str(_position.__doc__))
    if name not in TEMPLATES:
        raise unknown("template", name, NAMES)
    every: dict[str, list[Row]] = {}
    for row in TEMPLATES[name]():
        every.setdefault(row[1], []).append(row)
    _check(n, len(every), sum(map(len, every.values())))
    chosen: list[Row] = []
    for rows in every.values():
        chosen += [rows[i] for i in draw.permutation(len(rows))[: n // len(every)]]
    chosen = [chosen[i] for i in draw.permutation(len(chosen))]
    classes = tuple(sorted(every))
    passages = tuple(_passage(text) for text, _, _ in chosen)
    return Task(
        name,
        passages,
        np.arange(len(chosen)),
        np.array([len(passage.forms) - 1 for passage in passages]),
        np.array([classes.index(label) for _, label, _ in chosen], np.int64),
        classes,
        tuple(key for _, _, key in chosen),
        str(TEMPLATES[name].__doc__),
    )


def most(name: str) -> int:
    """How many labelled words a template makes. Raises `UnknownName` for one that is not there."""
    if name == POSITION:
        return MOST_ROWS
    if name not in TEMPLATES:
        raise unknown("template", name, NAMES)
    return sum(1 for _ in TEMPLATES[name]())


def _passage(text: str) -> Passage:
    forms = tuple(text.split())
    return Passage(text, forms, locate(text, forms))


def _check(n: int, classes: int, most: int) -> None:
    if not FEWEST_OF_CLASS * classes <= n <= most:
        raise BadInput(
            f"{n} sentences were asked for; this template makes {FEWEST_OF_CLASS * classes} to {most:,}.",
            given={"n": n},
        )
