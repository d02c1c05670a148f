"""The pieces that the pictures of neurons are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor

from .parts import Token, quoted

if TYPE_CHECKING:
    from llm_workings.neurons.weights import Terms
    from llm_workings.trace.model import LanguageModel

    from .lab import Lab

NeuronIndex = Annotated[int, Field(title="Neuron", ge=0, description="A neuron of that layer's MLP, from 0.")]
PerToken = Annotated[np.ndarray, Tensor("float32", "term")]


class NeuronRef(Payload):
    """One neuron, by layer and index in it, both from 0."""

    layer: int
    neuron: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.neuron}"


class VocabularyTerms(Payload):
    """The tokens at both ends of a direction, with their scores; the furthest first."""

    name: str
    """`gate`, `in` or `out`."""
    top: list[Token]
    top_scores: PerToken
    bottom: list[Token]
    bottom_scores: PerToken
    spread: float
    """The standard deviation of the scores of all tokens."""

    def best(self, most: int = 4) -> str:
        """The first few of the top, for a sentence."""
        return ", ".join(quoted(token) for token in self.top[:most])


def terms_of(lab: Lab, model: LanguageModel, terms: Terms) -> VocabularyTerms:
    """The terms with their tokens as a page shows them."""
    return VocabularyTerms(
        name=terms.name,
        top=lab.tokens(model, list(terms.top)),
        top_scores=np.array(terms.top_scores),
        bottom=lab.tokens(model, list(terms.bottom)),
        bottom_scores=np.array(terms.bottom_scores),
        spread=terms.spread,
    )
