"""The neuron card: one neuron of an MLP on this text, what it reads and writes, and the answer without it."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import Layer, ModelName, Prompt, view
from .lab import Lab
from .neuron_parts import (
    NeuronIndex,
    NeuronRef,
    VocabularyTerms,
    terms_of,
)
from .parts import AnswerToken, Guess, ModelCard, Token, WrongToken, quoted

PerPosition = Annotated[np.ndarray, Tensor("float32", "position")]


class Without(Payload):
    """The answer when the neuron's activation is held at one value at every token."""

    how: str
    """`zero`, or `mean`: its mean over this text, the first token left out."""
    value: float
    """What the activation is held at."""
    logit: float
    """The answer's logit (or its difference to the wrong one's), without the neuron."""
    change: float
    """That, less what it is with the neuron."""
    divergence: float
    """KL(with || without) of the answers, in nats."""
    guesses: list[Guess]
    """The best answers without it, and how the one that is followed stands."""


class Alike(Payload):
    """Another neuron, and the cosine of the two output rows."""

    neuron: NeuronRef
    cosine: float


class Neuron(Payload):
    """One neuron on this text, and what its weights say in terms of the vocabulary."""

    model: ModelCard
    tokens: list[Token]
    layer: int
    neuron: int
    width: int
    """Neurons in its layer."""
    activation: str
    """The activation function."""
    gated: bool
    """Whether the activation function's output is multiplied with a second reading of the input."""
    pre: PerPosition
    """Before the activation function: the gate, in a gated MLP."""
    linear: PerPosition | None
    """What the gate multiplies; None where nothing is gated."""
    post: PerPosition
    """The activation: what its output row is multiplied with."""
    reads: list[VocabularyTerms]
    """Its input rows in terms of the embedding: `gate` and `in`, or `in` alone."""
    writes: VocabularyTerms | None
    """Its output row in terms of the unembedding; None where the head is not linear in the stream."""
    write_length: float
    """The length of its output row."""
    alike: list[Alike]
    """The neurons of all layers whose output rows point most the same or the opposite way."""
    answer_position: int | None
    answer: Token | None
    wrong: Token | None
    logit: float | None
    guesses: list[Guess]
    share: float | None
    """What it adds to the answer's logit by itself; None where that is no sum (`why_no_share`)."""
    why_no_share: str
    without: list[Without]
    """The answer without it: zero, then mean; empty for a model that answers nothing here."""

    def reading(self) -> str:
        """The card in a few sentences, for a terminal or a screen reader."""
        first = 1 if self.model.causal and len(self.tokens) > 1 else 0
        at = first + int(np.abs(self.post[first:]).argmax())
        said = (
            f"Neuron {self.layer}.{self.neuron} of {self.model.title}: on this text it is furthest from 0 at "
            f"{quoted(self.tokens[at])} (position {at}), {self.post[at]:+.3g}."
        )
        said += " " + " ".join(f"Its {terms.name} likes {terms.best()}." for terms in self.reads)
        if self.writes is not None:
            said += f" It writes {self.writes.best()}."
        if self.without and self.answer is not None:
            what = quoted(self.answer) + (f" over {quoted(self.wrong)}" if self.wrong else "")
            changes = ", ".join(f"{each.how} {each.change:+.3g}" for each in self.without)
            said += f" Ablating it changes the logit of {what}: {changes}."
        return said


@view
def neuron(
    lab: Lab,
    prompt: Prompt,
    layer: Layer,
    neuron: NeuronIndex,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
) -> Neuron:
    """A neuron.

    One neuron of an MLP. Its activation at a token is a = f(w_in · x), or in a gated MLP
    a = f(w_gate · x) · (w_in · x), with x the normed stream there; it writes a · w_out. What it reads
    is said by the tokens whose embeddings E[t], times the norm's weight g, its input rows like most
    and least, (g · w_in) · E[t]; what it writes by W_U[t] · (g_final · w_out). The norms' divisors,
    which differ from token to token, are left out.

    Without it: its activation is held at 0, or at its mean over this text, at every token, and the
    layers above are run again.

    What this cannot tell you: above the first layers the stream is not the embedding, so what the
    input rows say of it is a hint. A neuron is seldom a unit of meaning: most take part in several
    things, and most things take several neurons.
    """
    from llm_workings.models.spec import GatedMLP
    from llm_workings.neurons.weights import (
        check_neuron,
        mlp_of,
        output_rows,
        reads,
        write_alike,
        writes,
    )

    from .neuron_passes import along, shares_of, target_of, without

    language_model = lab.model(model)
    check_neuron(language_model, layer, neuron)
    kind = mlp_of(language_model.spec, model)
    base = lab.base(model, prompt)
    target = target_of(base, answer, wrong)
    apart, reason = shares_of(base, target)
    found = along(base, layer, neuron)
    written = writes(language_model, layer, neuron)
    removed = []
    if target.logit is not None:
        first = 1 if language_model.spec.causal and base.n > 1 else 0
        for how, value in (("zero", 0.0), ("mean", float(found.post[first:].mean()))):
            after = without(base, layer, neuron, target, value)
            removed.append(
                Without(
                    how=how,
                    value=value,
                    logit=after.logit,
                    change=after.logit - target.logit,
                    divergence=after.divergence,
                    guesses=after.guesses,
                )
            )
    return Neuron(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, base.tokens),
        layer=layer,
        neuron=neuron,
        width=kind.width,
        activation=kind.activation,
        gated=isinstance(kind, GatedMLP),
        pre=found.pre,
        linear=found.linear,
        post=found.post,
        reads=[terms_of(lab, language_model, each) for each in reads(language_model, layer, neuron)],
        writes=None if written is None else terms_of(lab, language_model, written),
        write_length=float(output_rows(language_model, layer)[neuron].float().norm()),
        alike=[
            Alike(neuron=NeuronRef(layer=at, neuron=index), cosine=cosine)
            for at, index, cosine in write_alike(language_model, layer, neuron)
        ],
        answer_position=target.position,
        answer=target.answer,
        wrong=target.wrong,
        logit=target.logit,
        guesses=target.guesses,
        share=None if apart is None else float(apart.by_neuron[layer, neuron]),
        why_no_share=reason,
        without=removed,
    )
