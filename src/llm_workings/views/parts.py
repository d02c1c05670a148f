"""The pieces that more than one picture's payload is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llm_workings.core.wire import Payload


class Token(Payload):
    """One token, exactly. Bytes that are no whole character are written `\\xNN` in `text`."""

    id: int
    text: str
    special: bool


class Guess(Payload):
    """One candidate for what stands at a position, as the model scores it."""

    token: Token
    probability: float
    logit: float
    rank: int
    """0 is the best."""


class HeadRef(Payload):
    """One attention head, by layer and index in it, both from 0."""

    layer: Annotated[int, Field(ge=0)]
    head: Annotated[int, Field(ge=0)]

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"


class ModelCard(Payload):
    """What a page says about a loaded model."""

    name: str
    title: str
    family: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    vocab_size: int
    parameters: int
    causal: bool
    answers: bool
    """False for an encoder without a language-model head."""
    mask_token: str | None
    """What a masked position is written as, if the model has such."""
    source: str
    """Where its weights came from, in words."""


Ablated = Annotated[
    list[HeadRef],
    Field(
        title="Ablated heads",
        max_length=10_000,
        description="The heads to switch off while the model reads the text.",
    ),
]
Ablation = Annotated[
    Literal["zero", "mean"],
    Field(
        title="Ablation",
        description="What a switched-off head's output is replaced by: zero, or its own mean over the text.",
    ),
]
AnswerToken = Annotated[
    str | None,
    Field(
        title="Answer",
        min_length=1,
        max_length=200,
        description="One token, its leading space included. Left out, it is the model's own best guess.",
    ),
]
WrongToken = Annotated[
    str | None,
    Field(
        title="Wrong answer",
        min_length=1,
        max_length=200,
        description="The token whose logit is taken off the answer's. Left out, nothing is.",
    ),
]


def quoted(token: Token) -> str:
    """A token as a sentence can say it: `" Mary"`, its spaces and line ends visible."""
    if token.special:
        return token.text
    return '"' + token.text.replace("\n", "\\n").replace("\t", "\\t") + '"'


def percent(probability: float) -> str:
    """0.9234 as `92.3%`, with as many digits as a small one needs: `0.00031%`."""
    return f"{100 * probability:.3g}%"
