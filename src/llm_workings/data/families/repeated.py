"""Repeated random tokens: what followed this token the last time follows again.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Olsson et al. 2022, "In-context
Learning and Induction Heads" (arXiv:2209.11895). The texts are `data.repeated`'s.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

from llm_workings.core.seeds import LARGEST
from llm_workings.data.repeated import repeated_text

from .alignment import Reads
from .base import Family, Option, PromptPair, Propose


def prepare(tokenizer: Reads, *, corruption: str, length: int) -> Mapping[str, Propose]:
    return {"random": partial(propose, tokenizer, corruption, length)}


def propose(tokenizer: Reads, corruption: str, length: int, draw: random.Random) -> PromptPair | None:
    segment, other = (_segment(tokenizer, length, draw) for _ in range(2))
    at = draw.randrange(1, length)
    again, source = segment[:at], segment[at]
    replaced = other[at]
    # Only where the token came once is there one place to look back to, and one answer.
    if segment.count(segment[at - 1]) > 1 or replaced == source:
        return None
    changed = other if corruption == "random" else [*segment[:at], replaced, *segment[at + 1 :]]
    clean, corrupted = tokenizer.decode([*segment, *again]), tokenizer.decode([*changed, *again])
    right, wrong = tokenizer.decode([source]), tokenizer.decode([replaced])
    if (
        tokenizer.encode(clean, special=False) != [*segment, *again]
        or tokenizer.encode(corrupted, special=False) != [*changed, *again]
        or tokenizer.encode(right, special=False) != [source]
        or tokenizer.encode(wrong, special=False) != [replaced]
    ):
        return None
    spans = tokenizer.spans(clean, special=False)
    places = {"before": spans[at - 1], "source": spans[at], "end": spans[-1]}
    return PromptPair(
        "repeated", corruption, "random", clean, corrupted, right, wrong, (right,), (wrong,), places
    )


def _segment(tokenizer: Reads, length: int, draw: random.Random) -> list[int]:
    text = repeated_text(tokenizer, length, seed=draw.randint(0, LARGEST))
    return tokenizer.encode(text, special=False)[:length]


REPEATED = Family(
    "repeated",
    "Repeated random tokens",
    "Random tokens, and then the first of them again. The answer is what followed the last token before: "
    "nothing else than looking back can find it, which is what induction heads do.",
    "Elhage et al. 2021; Olsson et al. 2022, arXiv:2209.11895",
    prepare,
    {
        "corruption": Option(
            "answer",
            "answer: another token follows in the first copy, which then is the answer. "
            "random: the whole first copy is other random tokens, so that there is no answer.",
            ("answer", "random"),
        ),
        "length": Option(12, "tokens in the first copy", least=2, most=200),
    },
)
