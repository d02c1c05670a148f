"""Docstrings: the third argument to be described is the third one of the function.

Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer attention-only transformer".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from .alignment import Reads
from .base import Family, Option, PromptPair, Propose, fill, others, single_tokens

TEMPLATE = '''def {NAME}(self, {A_def}, {B_def}, {C_def}, {D_def}):
    """{W1} {W2} {W3}

    :param {A_doc}: {W4} {W5}
    :param {B_doc}: {W6} {W7}
    :param'''
_WORDS = """
    action address age amount animal answer area argument balance bank base bill board body book boy
    card case cell change charge child city client clock code color command content cost count
    country course date day death degree design detail device door effect end event example face fact
    family feature field file floor food force form frame game girl goal ground group half hand head
    health hour house idea image index input island item job key kind land law length letter level life
    limit line list load map mark matter message method mind model moment money month name nature night
    note number object office offer order output page paper parent part party path people period person
    piece place plan plant point policy port power price problem process product project purpose
    question range rate reason record report result road role room rule scale scene school score
    sense service shape share side sign size skill song space speed staff stage star state step stock
    store story street style surface system table target task team term test text theory time title
    token town trade tree type unit use user value version view voice wall water way week weight window
    word work world year
"""
WORDS = tuple(_WORDS.split())
LEAST = 18  # four arguments, a name, seven words of description, six of the corrupted text


def prepare(tokenizer: Reads, *, corruption: str) -> Mapping[str, Propose]:
    words = single_tokens(tokenizer, WORDS, LEAST, "words")
    return {"third argument": partial(propose, words, corruption)}


def propose(words: list[str], corruption: str, draw: random.Random) -> PromptPair:
    a, b, c, d, name, *described = draw.sample(words, 12)
    fixed = {f"W{number}": word for number, word in enumerate(described, 1)} | {"NAME": name}
    clean, found = fill(TEMPLATE, A_def=a, B_def=b, C_def=c, D_def=d, A_doc=a, B_doc=b, **fixed)
    new = draw.sample(others(words, a, b, c, d, name, *described), 6)
    if corruption == "answer":
        changed = {"A_def": a, "B_def": b, "C_def": new[2], "D_def": d, "A_doc": a, "B_doc": b}
        wrongs = [new[2], a, b, d]
    else:
        changed = dict(zip(("A_def", "B_def", "C_def", "D_def", "A_doc", "B_doc"), new, strict=True))
        wrongs = [d, a, b, *new]
    corrupted, _ = fill(TEMPLATE, **changed, **fixed)
    places = {place: found[place] for place in ("A_def", "B_def", "C_def", "D_def", "A_doc", "B_doc", "end")}
    answers = tuple(" " + word for word in wrongs)
    return PromptPair(
        "docstring",
        corruption,
        "third argument",
        clean,
        corrupted,
        " " + c,
        answers[0],
        (" " + c,),
        answers,
        places,
    )


DOCSTRING = Family(
    "docstring",
    "Docstring",
    "A Python function with four arguments, and a docstring that has described the first two. The answer is "
    "the third. Wrong answers are the other arguments, and those of the corrupted text.",
    "Heimersheim and Janiak 2023, A circuit for Python docstrings in a 4-layer attention-only transformer",
    prepare,
    {
        "corruption": Option(
            "answer",
            "answer: the third argument of the function is another, which then is the answer. "
            "random: all arguments are others, in the docstring others again, so that there is no answer.",
            ("answer", "random"),
        )
    },
)
