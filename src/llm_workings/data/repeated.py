"""Repeated random tokens: text whose second copy only the first can explain.

The standard material for induction: nothing learned about language helps, so what a model gains
on the second copy it gains by looking back (Elhage et al. 2021; Olsson et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.seeds import generator


def repeated_tokens(
    ids: int | Sequence[int],
    n: int,
    *,
    copies: int = 2,
    batch: int = 1,
    seed: int = 0,
    begin: int | None = None,
    distinct: bool = False,
) -> Tensor:
    """`[batch, (1 if begin) + n * copies]` ids: in each row a random segment of `n`, said `copies` times.

    Args:
        ids: what to draw from, uniformly: these ids, or all below a number (a vocabulary's size).
        n: tokens in a segment.
        copies: how often the segment is said.
        seed: which segments; the same seed draws the same ones.
        begin: an id put before the first copy (a begin-of-text token), if any.
        distinct: draw no token twice in a segment, so that each has one continuation. In a small
            vocabulary it makes the difference between one place to look back to and several.

    Raises:
        BadInput: nothing to draw from or to draw, or fewer ids than a distinct segment needs.
    """
    pool = torch.arange(ids) if isinstance(ids, int) else torch.as_tensor(list(ids), dtype=torch.long)
    given = {"ids": len(pool), "n": n, "copies": copies, "batch": batch}
    if min(len(pool), n, copies, batch) < 1:
        raise BadInput(
            f"Repeated tokens need at least one of each, got {len(pool)} ids, n = {n}, "
            f"copies = {copies}, batch = {batch}.",
            given=given,
        )
    if distinct and n > len(pool):
        raise BadInput(
            f"A segment of {n} distinct tokens cannot be drawn from {len(pool)}.",
            hint=f"Take n = {len(pool)} or fewer, or distinct=False.",
            given=given,
        )
    draw = generator(seed)
    if distinct:
        which = torch.rand(batch, len(pool), generator=draw).argsort(-1)[:, :n]
    else:
        which = torch.randint(len(pool), (batch, n), generator=draw)
    tokens = pool[which].repeat(1, copies)
    return tokens if begin is None else torch.cat((torch.full((batch, 1), begin), tokens), dim=1)


class Writes(Protocol):
    """What is needed of a tokenizer: `llm_workings.models.tokens.Tokenizer` has it."""

    @property
    def vocab_size(self) -> int: ...
    def encode(self, text: str, *, special: bool = True) -> list[int]: ...
    def decode(self, ids: list[int]) -> str: ...
    def is_special(self, index: int) -> bool: ...


def repeated_text(tokenizer: Writes, n: int, *, seed: int = 0, tries: int = 20_000) -> str:
    """A text that a tokenizer reads as `n` random tokens said twice: `repeated_tokens` to type in.

    Tokens are drawn uniformly, and one is kept when the text so far still reads as exactly the
    tokens drawn (most random ids do not survive being written down and read again).

    Raises:
        BadInput: `n` below 1, or no such text was found in `tries` draws.
    """
    if n < 1:
        raise BadInput(f"A text of {n} random tokens said twice has nothing in it.", given={"n": n})
    draw = generator(seed)
    ids: list[int] = []
    for _ in range(tries):
        index = int(torch.randint(tokenizer.vocab_size, (), generator=draw))
        text = tokenizer.decode([*ids, index])
        if tokenizer.is_special(index) or not text.isprintable() or "\ufffd" in text:
            continue
        if tokenizer.encode(text, special=False) != [*ids, index]:
            continue
        # The last token is kept only if the second copy begins where the first ends.
        twice = text + text
        if len(ids) + 1 == n and tokenizer.encode(twice, special=False) != [*ids, index] * 2:
            continue
        ids.append(index)
        if len(ids) == n:
            return twice
    raise BadInput(
        f"No text that reads as {n} random tokens said twice was found in {tries} draws.",
        hint="Ask for fewer tokens, or use repeated_tokens, which needs no text.",
        given={"n": n, "seed": seed},
    )
