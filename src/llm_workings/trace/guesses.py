"""What a model answers: its best guesses at a position, each token exactly as it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from llm_workings.models.tokens import Tokenizer


@dataclass(frozen=True)
class Guess:
    """One token as an answer.

    `probability` is after the softmax over the vocabulary, `rank` 1 for the best guess.
    """

    token: int
    piece: str
    probability: float
    logit: float
    rank: int

    def __str__(self) -> str:
        return f"{self.rank:>3}  {self.piece!r:<20} {self.probability:8.4f}  logit {self.logit:8.3f}"


class Guesses(tuple[Guess, ...]):
    """Guesses, best first. `asked` says after what."""

    asked: str

    def __new__(cls, guesses: Iterable[Guess], asked: str = "") -> Guesses:
        made = super().__new__(cls, guesses)
        made.asked = asked
        return made

    def __repr__(self) -> str:
        return "\n".join([self.asked, *map(str, self)] if self.asked else map(str, self))

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(repr(self))  # type: ignore[attr-defined]


def best(logits: Tensor, tokenizer: Tokenizer, count: int, asked: str = "") -> Guesses:
    """The `count` best guesses of one position's logits `[vocabulary]`."""
    logits = logits.detach().double()
    top = logits.topk(min(count, len(logits)))
    total = logits.logsumexp(0)
    return Guesses(
        (
            Guess(token, piece_of(tokenizer, token), float((logit - total).exp()), float(logit), rank)
            for rank, (logit, token) in enumerate(zip(top.values, top.indices.tolist(), strict=True), 1)
        ),
        asked,
    )


def guess_of(logits: Tensor, tokenizer: Tokenizer, token: int) -> Guess:
    """How one token stands among one position's logits `[vocabulary]`."""
    logits = logits.detach().double()
    logit = logits[token]
    rank = 1 + int((logits > logit).sum())
    return Guess(
        token, piece_of(tokenizer, token), float((logit - logits.logsumexp(0)).exp()), float(logit), rank
    )


def piece_of(tokenizer: Tokenizer, token: int) -> str:
    """The token's text. Embeddings are often padded past the vocabulary: such rows have none."""
    return tokenizer.piece(token) if token < tokenizer.vocab_size else f"<no token {token}>"
