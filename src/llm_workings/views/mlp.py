"""The MLP view: what each layer's MLP does along a text, and the neurons that matter in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .neuron_parts import NeuronRef
from .parts import AnswerToken, Guess, ModelCard, Token, WrongToken, percent, quoted

if TYPE_CHECKING:
    from .neuron_passes import Ranked

Grid = Annotated[np.ndarray, Tensor("float32", "layer position")]
PerLayer = Annotated[np.ndarray, Tensor("float32", "layer")]
PerNeuron = Annotated[np.ndarray, Tensor("float32", "neuron")]
Sort = Annotated[
    Literal["share", "writes", "activation", "z"],
    Field(
        title="Sort neurons by",
        description="share: of the answer's logit; writes: the size of what it writes into the stream; "
        "activation: how far from 0; z: how far from its mean over a corpus, in its standard deviations "
        "(layers whose corpus was read).",
    ),
]
OneLayer = Annotated[
    int | None, Field(title="Layer", ge=0, description="Only neurons of this layer; left out, of all.")
]
OnePosition = Annotated[
    int | None,
    Field(
        title="Position",
        ge=0,
        description="Where a neuron's size is read; left out, where it is largest. Shares are always read "
        "at the answer.",
    ),
]
LISTED = 48


class NeuronListing(Payload):
    """The neurons that come first on a text, in order."""

    sort: Literal["share", "writes", "activation", "z"]
    layer: int | None
    """Of which layer they are; None for all."""
    position: int | None
    """Where their sizes are read; None for where they are largest."""
    neurons: list[NeuronRef]
    history: Annotated[np.ndarray, Tensor("float32", "neuron position")]
    """Their activations (mlp_post) along the text."""
    share: PerNeuron
    """Of each, its share of the answer's logit; NaN where there is none."""
    write: PerNeuron
    """Of each, |activation| times the length of its output row."""
    z: PerNeuron
    """Of each, how far its activation is from its mean over the built-in corpus, in standard deviations;
    NaN where the layer's corpus was not read."""
    scanned: list[int]
    """The layers whose built-in corpus was read, which `z` needs."""
    first_left_out: bool
    """Whether the first token is left out of the ranking by size: what stands there is of another kind."""

    def reading(self) -> str:
        """The first few in a sentence, for a terminal or a screen reader."""
        if not self.neurons:
            return f"No neuron can be sorted by {self.sort} here."
        values = {"share": self.share, "writes": self.write, "z": self.z}.get(self.sort)
        names = [
            str(ref) if values is None else f"{ref} ({values[i]:{'+' if self.sort != 'writes' else ''}.3g})"
            for i, ref in enumerate(self.neurons[:5])
        ]
        return f"First by {self.sort}: {', '.join(names)}."


class Mlp(Payload):
    """What each MLP writes at each token, and the neurons that matter."""

    model: ModelCard
    tokens: list[Token]
    width: int
    """Neurons in a layer."""
    norms: Grid
    """|mlp_out|: the length of what the MLP adds to the stream."""
    relative: Grid
    """|mlp_out| over the length of the stream that it is added to."""
    shares: PerLayer
    """What each MLP adds to the answer's logit by itself; NaN where that is no sum (`why_no_share`)."""
    answer_position: int | None
    answer: Token | None
    wrong: Token | None
    """If given, everything said of the answer's logit is of its difference to this one's."""
    logit: float | None
    """The answer's logit, or its difference to the wrong one's."""
    guesses: list[Guess]
    """The model's best answers."""
    why_no_share: str
    """Why a neuron has no direct share of the answer in this model; empty where it has one."""
    listing: NeuronListing
    """The neurons that come first."""

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        layer = int(self.relative[:, 1:].mean(1).argmax()) if self.relative.shape[1] > 1 else 0
        said = (
            f"{self.model.title}: {len(self.tokens)} tokens, {self.model.n_layers} MLPs of {self.width} "
            f"neurons. The MLP of layer {layer} writes most beside the stream it adds to."
        )
        if self.answer is not None and self.logit is not None:
            what = quoted(self.answer) + (f" over {quoted(self.wrong)}" if self.wrong else "")
            said += f" The logit of {what} is {self.logit:.3g}"
            if not self.why_no_share:
                best = int(np.abs(self.shares).argmax())
                said += f", of which the MLP of layer {best} adds {self.shares[best]:+.3g} by itself"
            said += "."
        said += f" {self.listing.reading()}"
        if self.guesses:
            best_guess = self.guesses[0]
            said += f" The model answers {quoted(best_guess.token)} ({percent(best_guess.probability)})."
        return said


@view
def mlp(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    sort: Sort = "share",
    layer: OneLayer = None,
    position: OnePosition = None,
) -> Mlp:
    """MLP neurons.

    What the MLPs do with this text. Each row of the grid is a layer, each column a token: how long
    what the MLP adds is, beside the stream it is added to, |mlp_out| / |stream|. Under it are the
    neurons that matter, each with its activation a(i) along the text; the MLP's output is the sum
    over its neurons of a · w_out, and a bias.

    A neuron's direct share of the answer's logit is a · (w_out · r), with r the unembedding row of
    the answer read back through the final norm, whose divisor is held at this run's value. The
    shares of all neurons, heads, embeddings and biases add up to the logit.

    What this cannot tell you: a share is the direct path only. A neuron that later layers read may
    have no share and matter, and one with a share may be made up for by others when it is gone: open
    it and ablate it. Activations of different layers are not on one scale.
    """
    from .neuron_passes import ranked

    language_model = lab.model(model)
    found = ranked(lab, model, prompt, answer, wrong, sort, layer, position, LISTED, every=True)
    return Mlp(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, found.ids),
        width=found.width,
        norms=found.norms,
        relative=found.relative,
        shares=found.shares,
        answer_position=found.target.position,
        answer=found.target.answer,
        wrong=found.target.wrong,
        logit=found.target.logit,
        guesses=found.target.guesses,
        why_no_share=found.why_no_share,
        listing=_listing(found),
    )


@view
def mlp_neurons(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    sort: Sort = "share",
    layer: OneLayer = None,
    position: OnePosition = None,
) -> NeuronListing:
    """The neurons that come first.

    The neurons of one layer or of all, by their direct share of the answer's logit, a · (w_out · r),
    by the size of what they write, |a| · |w_out|, by |a| itself, or by (a - mean) / standard deviation
    over a corpus, where the activation a is the largest on the text or that at one position.

    What this cannot tell you: that a neuron comes first does not say that it matters; ablate it.
    """
    from .neuron_passes import ranked

    return _listing(ranked(lab, model, prompt, answer, wrong, sort, layer, position, LISTED))


def _listing(found: Ranked) -> NeuronListing:
    return NeuronListing(
        sort=found.sort,
        layer=found.layer,
        position=found.position,
        neurons=[NeuronRef(layer=at, neuron=index) for at, index in found.listed],
        history=found.history,
        share=found.share,
        write=found.write,
        z=found.z,
        scanned=found.scanned,
        first_left_out=found.first_left_out,
    )
