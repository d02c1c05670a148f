"""What a sweep measures: one number for each edited run, from the logits it reads and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

    from .base import Base

Word = str | int


@dataclass(frozen=True)
class Metric:
    """A number to read off an edited run.

    Attributes:
        name: what to call it.
        unit: what it is counted in: logits, nats, probability, ranks.
        position: where the answer is read, counted in the text; -1 is the last token. None reads every
            position.
        tokens: the only tokens whose logits are needed, or None for all of them.
        value: `[row, position, logit] -> [row]`, of the positions and tokens named.
    """

    name: str
    unit: str
    position: int | None
    tokens: tuple[int, ...] | None
    value: Callable[[Tensor], Tensor]

    def positions(self, n: int) -> list[int]:
        """The positions read, in a text of `n` tokens."""
        if self.position is None:
            return list(range(n))
        if not -n <= self.position < n:
            raise BadInput(
                f"The metric reads position {self.position}; the text has positions 0 to {n - 1}.",
                given={"position": self.position, "tokens": n},
            )
        return [self.position % n]


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.element_size() < 4 else logits


def logit(model: LanguageModel, token: Word, position: int = -1) -> Metric:
    """A token's logit."""
    return Metric("logit", "logits", position, (model.token(token),), lambda x: x[:, 0, 0])


def logit_difference(model: LanguageModel, right: Word, wrong: Word, position: int = -1) -> Metric:
    """logit(right) − logit(wrong): the log of the odds between the two (Wang et al. 2022, section 3).

    Raises `BadInput` for a text that is not one token, with how it splits, and for the same one twice.
    """
    ids = model.token(right), model.token(wrong)
    if ids[0] == ids[1]:
        raise BadInput(f"The right and the wrong answer are the same token: {right!r}.")
    return Metric("logit difference", "logits", position, ids, lambda x: x[:, 0, 0] - x[:, 0, 1])


def mean_logit_difference(
    model: LanguageModel, right: list[Word], wrong: list[Word], position: int = -1
) -> Metric:
    """The mean logit of some tokens minus that of others."""
    if not right or not wrong:
        raise BadInput("A difference needs at least one right and one wrong token.")
    ids = tuple(model.token(word) for word in (*right, *wrong))
    k = len(right)
    return Metric(
        "mean logit difference",
        "logits",
        position,
        ids,
        lambda x: x[:, 0, :k].mean(-1) - x[:, 0, k:].mean(-1),
    )


def log_probability(model: LanguageModel, token: Word, position: int = -1) -> Metric:
    """The logarithm of a token's probability, in nats."""
    index = model.token(token)
    return Metric(
        "log probability", "nats", position, None, lambda x: _wide(x[:, 0]).log_softmax(-1)[:, index]
    )


def probability(model: LanguageModel, token: Word, position: int = -1) -> Metric:
    """A token's probability."""
    index = model.token(token)
    return Metric(
        "probability", "probability", position, None, lambda x: _wide(x[:, 0]).softmax(-1)[:, index]
    )


def rank(model: LanguageModel, token: Word, position: int = -1) -> Metric:
    """How many tokens have a higher logit; 0 is the best."""
    index = model.token(token)
    return Metric(
        "rank", "ranks", position, None, lambda x: (x[:, 0] > x[:, 0, index, None]).sum(-1).to(x.dtype)
    )


def divergence(base: Base, position: int = -1) -> Metric:
    """KL(unedited ‖ edited) of the next token's distribution, in nats."""
    where = position % base.n
    reference = _wide(base.logits[where]).log_softmax(-1)
    weights = reference.exp()
    return Metric(
        "KL divergence",
        "nats",
        position,
        None,
        lambda x: (weights * (reference - _wide(x[:, 0]).log_softmax(-1))).sum(-1),
    )


def loss(base: Base) -> Metric:
    """The mean loss on the text itself, in nats a token; causal models only."""
    if not base.spec.causal:
        raise BadInput(f"{base.model.name} reads both ways: it predicts no next token.")
    if base.n < 2:
        raise BadInput("The text is one token long: nothing in it is predicted.")
    following = torch.tensor(base.tokens[1:], device=base.model.device)

    def value(logits: Tensor) -> Tensor:
        logs = _wide(logits[:, :-1]).log_softmax(-1)
        return -logs.gather(-1, following.expand(len(logits), -1)[..., None])[..., 0].mean(-1)

    return Metric("loss", "nats a token", None, None, value)


def function(name: str, value: Callable[[Tensor], Tensor], position: int = -1, unit: str = "") -> Metric:
    """Any function of the logits `[row, vocabulary]` at a position, that gives `[row]`."""

    def checked(logits: Tensor) -> Tensor:
        found = value(logits[:, 0])
        if not isinstance(found, Tensor) or found.shape != (len(logits),):
            shown = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise BadInput(
                f"The metric {name!r} was given {len(logits)} rows of logits and returned {shown}.",
                hint="Return one number a row.",
            )
        return found

    return Metric(name, unit, position, None, checked)
