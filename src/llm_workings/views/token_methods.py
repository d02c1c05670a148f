"""The methods that hand an answer out to the tokens, as a page tells of them and runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from llm_workings.attribution.tokens.question import Answer
    from llm_workings.core.progress import Progress
    from llm_workings.trace.model import LanguageModel

Method = Literal[
    "leave_one_out",
    "attn_lrp",
    "cp_lrp",
    "gradient_x_input",
    "integrated_gradients",
    "attention_rollout",
    "value_zeroing",
]


@dataclass(frozen=True)
class Told:
    """What a page says of a method.

    Attributes:
        title: its name.
        says: what its values are.
        cannot: what they cannot tell.
        promise: what they should add up to, or that they promise nothing, in a sentence.
        cost: by which methods are run cheapest first.
        of_answer: whether it knows which answer is asked about.
    """

    title: str
    says: str
    cannot: str
    promise: str
    cost: int
    of_answer: bool = True


NONE = "It promises no sum."
METHODS: dict[Method, Told] = {
    "leave_one_out": Told(
        "Leave one out",
        "What the score really loses with the vocabulary's mean embedding in the token's place.",
        "What two tokens both say is lost with neither; a text with a hole is like none the model has seen.",
        NONE,
        5,
    ),
    "attn_lrp": Told(
        "AttnLRP",
        "Relevance handed back through values, gates and the attention itself.",
        "What the answer would be without a token.",
        "It adds up to the score, but for what softmax and biases take.",
        1,
    ),
    "cp_lrp": Told(
        "CP-LRP",
        "Relevance handed back with attention patterns and gates held still.",
        "Why a token was looked at: only what was moved counts.",
        "It adds up to the score, but for what biases take.",
        2,
    ),
    "gradient_x_input": Told(
        "Gradient × input",
        "The slope at each token's embedding, times the embedding.",
        "Anything beyond the first order: the slope here says little of taking the whole token away.",
        NONE,
        0,
    ),
    "integrated_gradients": Told(
        "Integrated gradients",
        "The same along the way from the mean embedding to the text, 50 points, all tokens at once.",
        "What happens in between is of inputs that the model never saw; see whether the sum is right.",
        "It should add up to score(text) − score(mean embeddings).",
        6,
    ),
    "attention_rollout": Told(
        "Attention rollout",
        "Where attention pointed, head mean with half for the stream, layer upon layer.",
        "Which answer it was, for or against, what values held and MLPs did.",
        "It adds up to 1 by its making.",
        3,
        of_answer=False,
    ),
    "value_zeroing": Told(
        "Value zeroing",
        "How far each layer's output turns without a token's value, layer upon layer.",
        "Which answer it was, for or against.",
        "It adds up to 1 by its making.",
        4,
        of_answer=False,
    ),
}
"""Every method in the order of a page: the reference first, those that know no answer last."""


@dataclass(frozen=True)
class OfAnswer:
    """What a method found, or has found so far.

    Attributes:
        values: `[position]`, from the first position on as far as they are known.
        expected: what they should add up to; None where no sum is promised.
        notes: what must be known to read them.
    """

    values: np.ndarray
    expected: float | None
    notes: tuple[str, ...]


class Finder:
    """Runs methods on one question.

    Args:
        model: with a head.
        prompt: one text.
        answer: what is explained, its position given.
        progress: hears how far a method is, and stops it.
    """

    def __init__(self, model: LanguageModel, prompt: str, answer: Answer, progress: Progress):
        self.model, self.prompt, self.answer, self.progress = model, prompt, answer, progress

    def find(self, name: Method, sofar: Callable[[Tensor], None]) -> OfAnswer:
        """One method's values; `sofar` hears those of leaving out as they come."""
        from llm_workings.attribution.tokens import gradient, mixing, relevance, removal

        model, prompt, answer, progress = self.model, self.prompt, self.answer, self.progress
        if name in ("attention_rollout", "value_zeroing"):
            mixed = (
                mixing.attention_rollout(model, prompt)
                if name == "attention_rollout"
                else mixing.value_zeroing(model, prompt, progress)
            )
            assert answer.position is not None
            return OfAnswer(mixed.of(answer.position).numpy(), 1.0, ())
        match name:
            case "leave_one_out":
                found = removal.leave_one_out(model, prompt, answer, progress=progress, sofar=sofar)
            case "attn_lrp":
                found = relevance.attn_lrp(model, prompt, answer)
            case "cp_lrp":
                found = relevance.cp_lrp(model, prompt, answer)
            case "integrated_gradients":
                found = gradient.integrated_gradients(model, prompt, answer, progress=progress)
            case _:
                found = gradient.gradient_x_input(model, prompt, answer)
        return OfAnswer(found.values.numpy(), found.expected, found.notes)
