"""A second text for a text that somebody typed: the same with one thing changed, where its form says what.

Three forms are known, of three families: two names of which one comes again (`ioi`), a fact of `facts`, and
a text whose last token came before (`repeated`). What is proposed passes the check that every pair of a
family passes; a text of another form has no proposal, for what to change in it is then the asker's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_workings.core.errors import BadInput

from .alignment import Reads
from .base import PromptPair, check_pair, fill
from .facts import RELATIONS
from .ioi import NAMES
from .pronouns import MEN, WOMEN

LONGEST = 2_000  # characters of a text in which a form is looked for
PEOPLE = frozenset((*NAMES, *WOMEN, *MEN))
CHANGES = {
    "ioi": "the name that comes again is the other one",
    "facts": "another subject of as many tokens",
    "repeated": "another token followed the last one the time before",
}
"""By family, what is changed, in words."""


def second_text(tokenizer: Reads, text: str) -> PromptPair | None:
    """The pair that a text and a proposed second one make; None where no proposal passes the checks."""
    if len(text) > LONGEST:
        return None
    for pair in (*_of_names(text), *_of_facts(text), *_of_repetition(tokenizer, text)):
        try:
            check_pair(tokenizer, pair)
        except BadInput:
            continue
        return pair
    return None


def _pair(family: str, clean: str, corrupted: str, right: str, wrong: str) -> PromptPair:
    return PromptPair(family, CHANGES[family], "", clean, corrupted, right, wrong, (right,), (wrong,))


def _of_names(text: str) -> Iterator[PromptPair]:
    """Two people, one of them named again, later: the later name becomes the other person's."""
    found = [match for match in re.finditer(r"\b[A-Z][a-z]+\b", text) if match[0] in PEOPLE]
    names = list(dict.fromkeys(match[0] for match in found))
    if len(names) != 2 or len(found) != 3:
        return
    again = found[-1]
    other = names[1 - names.index(again[0])]
    if found[0][0] == found[1][0]:
        return  # the third name is not one that comes again
    corrupted = text[: again.start()] + other + text[again.end() :]
    yield _pair("ioi", text, corrupted, " " + other, " " + again[0])


def _of_facts(text: str) -> Iterator[PromptPair]:
    """A fact of the list: the subject becomes another one, with another answer."""
    for relation in RELATIONS.values():
        for template in relation.templates:
            before, after = template.split("{SUBJECT}")
            subject = text[len(before) : len(text) - len(after)]
            if subject not in relation.facts or fill(template, SUBJECT=subject)[0] != text:
                continue
            answer = relation.facts[subject]
            for other, another in relation.facts.items():
                if another != answer:
                    changed = fill(template, SUBJECT=other)[0]
                    yield _pair("facts", text, changed, " " + answer, " " + another)


def _of_repetition(tokenizer: Reads, text: str) -> Iterator[PromptPair]:
    """The last token came before: what followed it there becomes another token of the text."""
    ids = tokenizer.encode(text, special=False)
    if tokenizer.decode(ids) != text:
        return
    for at in reversed(range(len(ids) - 2)):
        if ids[at] != ids[-1]:
            continue
        source = ids[at + 1]
        for other in dict.fromkeys(reversed(ids)):
            if other in (source, ids[-1]):
                continue
            changed = [*ids[: at + 1], other, *ids[at + 2 :]]
            right, wrong = tokenizer.decode([source]), tokenizer.decode([other])
            if right.strip() and wrong.strip() and tokenizer.encode(right, special=False) == [source]:
                yield _pair("repeated", text, tokenizer.decode(changed), right, wrong)
        return
