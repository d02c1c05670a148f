"""The logit lens: what the model would answer if it stopped after each layer."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .parts import ModelCard, Token, percent, quoted

Grid = Annotated[np.ndarray, Tensor("float32", "stop position")]
IndexGrid = Annotated[np.ndarray, Tensor("int32", "stop position")]
Chosen = Annotated[
    str | None,
    Field(
        title="Follow the token",
        min_length=1,
        max_length=200,
        description="One token, its leading space included, whose probability and rank are followed "
        "through the layers. Left out, it is the model's own best answer.",
    ),
]


class Copies(Payload):
    """A text that is one segment said twice, perhaps after a begin token. A model that looks back
    pays for the first copy only (Elhage et al. 2021)."""

    length: int
    """Tokens in the segment."""
    first_loss: float
    """Nats a token, mean over the first copy; the text's very first token is not predicted."""
    second_loss: float
    """Nats a token, mean over the second copy."""


class LogitLens(Payload):
    """A row a stop on the residual stream (first the embedding, last the model's own output), a
    column a position."""

    model: ModelCard
    tokens: list[Token]
    stops: list[str]
    """Site names, in order."""
    vocabulary: list[Token]
    """Each token named in `best`, once."""
    best: IndexGrid
    """The best guess, as an index into `vocabulary`."""
    probability: Grid
    """Of the best guess."""
    entropy: Grid
    """Of all guesses, in nats."""
    chosen: Token
    """The token followed through the layers."""
    chosen_probability: Grid
    chosen_rank: IndexGrid
    """0 is the best: how many tokens have a higher logit."""
    following: Annotated[np.ndarray, Tensor("int32", "position")]
    """Id of the token that truly stands where the guess is for, -1 if unknown. A causal model guesses
    the next token; a masked-language model the token at the position itself (unknown at a mask)."""
    loss: Grid
    """What that token costs: -log of its probability, in nats; NaN where it is unknown. The mean of the
    last row is the model's loss on this text."""
    copies: Copies | None
    """Where the text is one segment said twice, what each of the two costs."""
    final_error: float
    """Largest |last row's logits - the model's own logits|: must be 0 to rounding."""
    compared: int
    """At how many positions (the last ones) that was measured."""

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        column = len(self.tokens) - 1
        where = f"after {quoted(self.tokens[column])}"
        if not self.model.causal:
            masks = [i for i, token in enumerate(self.tokens) if token.text == self.model.mask_token]
            column = masks[0] if masks else column
            where = f"at {quoted(self.tokens[column])} (position {column})"
        guesses = [self.vocabulary[index] for index in self.best[:, column]]
        settled = len(guesses) - 1
        while settled and guesses[settled - 1].id == guesses[-1].id:
            settled -= 1
        ranks = self.chosen_rank[:, column]
        first = next((row for row, rank in enumerate(ranks) if rank == 0), None)
        said = (
            f"{self.model.title}, {where}: the output is {quoted(guesses[-1])} "
            f"({percent(float(self.probability[-1, column]))}), the lens's best guess "
            f"from {self.stops[settled]} on."
        )
        if first is not None:
            said = f"{said} {quoted(self.chosen)} is first the best at {self.stops[first]}."
        else:
            low = int(ranks.min())
            said = f"{said} {quoted(self.chosen)} is nowhere the best; its best rank is {low + 1}."
        if self.copies is not None:
            said += (
                f" The text says {self.copies.length} tokens twice: the first copy costs "
                f"{self.copies.first_loss:.2f} nats a token, the second {self.copies.second_loss:.2f}."
            )
        return said


@view
def logit_lens(
    lab: Lab, prompt: Prompt, model: ModelName = DEFAULT_MODEL, chosen: Chosen = None
) -> LogitLens:
    """Logit lens.

    What the model would answer if it stopped early. At each stop on the residual stream x, the
    stream is read as if it were the last: p = softmax(W_U · norm(x)), with the model's own final
    norm and unembedding (nostalgebraist 2020). Each cell is the best guess there; the last row is
    the model's real output, and the picture says by how much the two differ.

    What this cannot tell you: a layer's stream is written for the layers after it, not for the
    unembedding, so an early row may be nonsense though the answer is already there in another
    basis. That a guess appears at a layer does not say that this layer computed it.
    """
    from .passes import read_through

    language_model = lab.model(model)
    done = lab.read(model, prompt)
    lens = read_through(lab, done, chosen)
    named = np.unique(lens.best)
    return LogitLens(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, done.ids),
        stops=lens.stops,
        vocabulary=lab.tokens(language_model, [int(index) for index in named]),
        best=np.searchsorted(named, lens.best),
        probability=lens.probability,
        entropy=lens.entropy,
        chosen=lab.tokens(language_model, [lens.chosen])[0],
        chosen_probability=lens.chosen_probability,
        chosen_rank=lens.chosen_rank,
        following=lens.following,
        loss=lens.loss,
        copies=_copies(done.ids, lens.loss[-1]) if language_model.spec.causal else None,
        final_error=lens.final_error,
        compared=lens.compared,
    )


def _copies(ids: list[int], loss: np.ndarray) -> Copies | None:
    """What each copy costs, if `ids` is a segment said twice; `loss[i]` is the cost of token i + 1."""
    begin = len(ids) % 2  # a begin token stands before an even number
    length = len(ids) // 2
    if length < 2 or ids[begin : begin + length] != ids[begin + length :]:
        return None
    second = begin + length - 1
    return Copies(
        length=length, first_loss=float(loss[:second].mean()), second_loss=float(loss[second:-1].mean())
    )
