"""The residual stream tracker: what each attention and MLP adds, and what the stream says after it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Position, Prompt, view
from .lab import Lab
from .parts import ModelCard, Token, percent, quoted

Grid = Annotated[np.ndarray, Tensor("float32", "stop position")]
IndexGrid = Annotated[np.ndarray, Tensor("int32", "stop position")]
Answer = Annotated[
    str | None,
    Field(
        title="Answer",
        min_length=1,
        max_length=200,
        description="One token, its leading space included, that is followed along the stream. Left out, "
        "it is the model's own best answer.",
    ),
]
Wrong = Annotated[
    str | None,
    Field(
        title="Wrong answer",
        min_length=1,
        max_length=200,
        description="One token whose logit is taken off the answer's: what is then attributed is the "
        "difference of the two.",
    ),
]
At = Annotated[
    Position | None,
    Field(
        title="Position",
        description="The token whose stream is drawn, from 0. Left out, it is the last, or the first mask "
        "of a masked-language model.",
    ),
]


class StreamStop(Payload):
    """A place where something is added to the stream."""

    name: str
    """`embed`, `attention.3`, `mlp.3`."""
    kind: Literal["embed", "attention", "mlp"]
    layer: int | None
    site: str
    """Where an edit changes what is added here: `attn_out.3`."""


class Standing(Payload):
    """How one token stands among all, if the model stopped at each stop."""

    token: Token
    probability: Grid
    rank: IndexGrid
    """0 is the best: how many tokens have a higher logit."""
    logit: Grid


class StreamLens(Payload):
    """What the model's own final norm and head make of the stream after each stop. What is not read
    yet is NaN, its `best` and ranks -1."""

    vocabulary: list[Token]
    """Each token named in `best`, once."""
    best: IndexGrid
    """The best guess, as an index into `vocabulary`."""
    probability: Grid
    """Of the best guess."""
    answer: Standing
    wrong: Standing | None


class Constant(Payload):
    """What is added to the logit at the end, whatever the text."""

    name: str
    """`final_norm.bias` or `unembed.bias`."""
    value: float


class StreamShares(Payload):
    """What each stop adds to the logit (or the difference of two) by itself. At every position the shares
    and the constants add up to it; `error` is what is left over."""

    what: str
    """`logit of ' Mary'`, or `logit difference ' Mary' − ' John'`."""
    share: Annotated[np.ndarray, Tensor("float64", "stop position")]
    constants: list[Constant]
    logit: Annotated[np.ndarray, Tensor("float64", "position")]
    """What the model itself said."""
    error: Annotated[np.ndarray, Tensor("float64", "position")]
    """Sum of the shares and constants, less the logit: rounding."""
    scale: Annotated[np.ndarray, Tensor("float64", "position")]
    """What the final norm divides by."""
    norm: str
    """How the final norm is treated, in a sentence, at the position drawn."""


class Residual(Payload):
    """The stream of every token at every stop: a row a stop, a column a position."""

    model: ModelCard
    tokens: list[Token]
    answer: str | None
    """As it was asked; None for the model's own best."""
    wrong: str | None
    position: int
    """Whose stream is drawn first."""
    answer_position: int | None
    """Where the model answers: the last position, or the first mask; None where it answers nothing."""
    stops: list[StreamStop]
    combines: Literal["one after the other", "side by side", "normed"]
    """How a layer's parts are put together: the MLP reads what attention added; both read the same stream
    (the stop between them is then a sum that nothing reads); or the sum is normed after each."""
    norm: Grid
    """Length of the stream after the stop."""
    added: Grid
    """Length of what the stop adds."""
    cosine: Grid
    """Of what it adds with the stream before it; NaN at the embedding."""
    cosine_final: Grid
    """Of what it adds with the last stream."""
    lens: StreamLens | None
    """None for a model without a head."""
    shares: StreamShares | None
    why_no_shares: str
    """Why the logit is no sum over the stops, where it is not; else empty."""
    complete: bool
    """False while the lens is still being read."""

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        at, last = self.position, len(self.stops) - 1
        said = (
            f"{self.model.title}, the stream at {quoted(self.tokens[at])} (position {at}): "
            f"{len(self.stops)} stops, of length {self.norm[0, at]:.3g} to {self.norm[-1, at]:.3g}."
        )
        if self.lens is not None:
            ranks = self.lens.answer.rank[:, at]
            first = next((stop for stop, rank in enumerate(ranks) if rank == 0), None)
            where = f"first the best at {self.stops[first].name}" if first is not None else "nowhere the best"
            best = self.lens.vocabulary[self.lens.best[last, at]]
            said += (
                f" The model says {quoted(best)} ({percent(float(self.lens.probability[last, at]))}); "
                f"{quoted(self.lens.answer.token)} is {where}."
            )
        if self.shares is None:
            return f"{said} {self.why_no_shares}"
        shares = self.shares.share[:, at]
        strongest = ", ".join(
            f"{self.stops[i].name} {shares[i]:+.3g}" for i in np.argsort(-abs(shares), kind="stable")[:4]
        )
        return (
            f"{said} The {self.shares.what} there is {self.shares.logit[at]:.3g}; most of it is added by "
            f"{strongest}. All shares add up to it with an error of {abs(self.shares.error[at]):.1g}."
        )


@view
def residual(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: Answer = None,
    wrong: Wrong = None,
    position: At = None,
) -> Residual:
    """Residual stream.

    Each token has a stream x, a vector that starts as the token's embedding; every attention and every MLP
    reads it and adds to it: x_after = x_before + added. The line of stations is one token's stream. Under
    each station stands the lens: the best guess if the model stopped there, softmax(W_U · norm(x)).

    Above it, what each station adds to the logit of the answer by itself (or to the difference of two
    logits): added · (g * w) / s, with w the answer's row of the unembedding, g the final norm's gain and s
    what that norm divides by in this run. These shares, and the biases at the end, add up to the logit
    exactly; what is left over is rounding and is stated.

    What this cannot tell you: a share is what a station writes towards the answer directly. What it does
    through later layers that read it is not in it, and is often more: ablate or patch the station to see. A
    lens reads an early stream in the last layer's terms, which it was not written for.
    """
    from llm_workings.causal.direct_attribution import why_not
    from llm_workings.models.spec import ParallelPreNorm, PostNorm

    from .stream_reading import StreamReading

    base = lab.base(model, prompt)
    reading = StreamReading(lab, base, answer, wrong, position)
    block = base.spec.block
    combines: Any = "normed" if isinstance(block, PostNorm) else "one after the other"
    if isinstance(block, ParallelPreNorm):
        combines = "side by side"

    def payload() -> Residual:
        return Residual(
            model=lab.card(base.model),
            tokens=lab.tokens(base.model, base.tokens),
            answer=answer,
            wrong=wrong,
            combines=combines,
            why_no_shares=why_not(base.model),
            **reading.fields(),
        )

    for _ in reading.steps():
        lab.progress.publish(payload)
    return payload()
