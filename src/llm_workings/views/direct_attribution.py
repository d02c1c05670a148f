"""The waterfall of direct attribution: what each part of the model writes into the logit by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .parts import AnswerToken, Guess, ModelCard, Token, WrongToken, quoted

if TYPE_CHECKING:
    import torch

    from llm_workings.causal.direct_attribution import DirectAttribution as Found

By = Literal["layer", "part", "head", "source", "neuron"]
PerLayer = Annotated[np.ndarray, Tensor("float64", "layer")]
PerHead = Annotated[np.ndarray, Tensor("float64", "layer head")]
PerSource = Annotated[np.ndarray, Tensor("float32", "layer head source")]
PerNeuron = Annotated[np.ndarray, Tensor("float32", "layer neuron")]
ReadAt = Annotated[
    int | None,
    Field(
        title="Position",
        ge=0,
        description="Where the answer is read, a token of the text from 0. Left out, it is the last one, or "
        "the first mask of a masked-language model.",
    ),
]
Level = Annotated[
    By,
    Field(
        title="Taken apart by",
        description="How far: layer (attention and MLP together), part (each attention, each MLP), head "
        "(attention by head), source (heads by the token they read) or neuron (MLPs by neuron).",
    ),
]
GUESSES = 6


class Constant(Payload):
    """A term that is of no layer: an embedding, or a bias at the end."""

    name: str
    """`embed`, `pos_embed`, `final_norm.bias`, `unembed.bias` ..."""
    value: float
    first: bool
    """It enters before the first layer; the others are added after the last."""


class DirectAttribution(Payload):
    """A logit, or the difference of two, as a sum of what each part writes into it, in logits.

    Level by level the same sum: attention = heads + attention_bias, a head = sources + value_bias,
    mlp = neurons + mlp_bias.
    """

    model: ModelCard
    tokens: list[Token]
    position: int
    """Where the answer is read."""
    answer: Token
    wrong: Token | None
    """The token whose logit is taken off; None where there is no difference."""
    guesses: list[Guess]
    """The model's best answers there, best first; the answer and the wrong one among them."""
    logit: float
    """What the model itself says: the logit, or the difference."""
    total: float
    """What all terms add up to, in double precision."""
    norm: str
    """How the final norm is treated, with its divisor."""
    scale: float
    """What the final norm divides by at that position; 1 without a norm."""
    by: By
    constants: list[Constant]
    attention: PerLayer
    mlp: PerLayer | None
    """None for a model that has attention only."""
    heads: PerHead
    attention_bias: PerLayer | None
    """What the output's bias of each attention adds; None where there is none."""
    sources: PerSource
    """pattern * (v W_O . r): what each head moves here from each position up to this one."""
    pattern: PerSource
    """The weight with which each head reads each of them."""
    value_bias: PerHead | None
    """What the bias of the values adds through each head; None where there is none."""
    neurons: PerNeuron | None
    """activation * (w_out . r)."""
    activations: PerNeuron | None
    mlp_bias: PerLayer | None
    """What the output's bias of each MLP adds; None where there is none."""

    def terms(self, by: By | None = None) -> dict[str, float]:
        """Every term of one level by its name, in the order of the stream."""
        by = by or self.by
        found = {term.name: term.value for term in self.constants if term.first}
        for layer in range(len(self.attention)):
            mlp = None if self.mlp is None else float(self.mlp[layer])
            if by == "layer":
                found[f"layer.{layer}"] = float(self.attention[layer]) + (mlp or 0.0)
                continue
            found |= self._attention_terms(layer, by)
            if by == "neuron" and self.neurons is not None:
                found |= {f"neuron.{layer}.{n}": float(v) for n, v in enumerate(self.neurons[layer])}
                if self.mlp_bias is not None:
                    found[f"mlp_bias.{layer}"] = float(self.mlp_bias[layer])
            elif mlp is not None:
                found[f"mlp.{layer}"] = mlp
        return found | {term.name: term.value for term in self.constants if not term.first}

    def _attention_terms(self, layer: int, by: By) -> dict[str, float]:
        if by not in ("head", "source"):
            return {f"attention.{layer}": float(self.attention[layer])}
        found: dict[str, float] = {}
        if by == "head":
            found = {f"head.{layer}.{head}": float(value) for head, value in enumerate(self.heads[layer])}
        else:
            for head, shares in enumerate(self.sources[layer]):
                found |= {f"source.{layer}.{head}.{k}": float(value) for k, value in enumerate(shares)}
            if self.value_bias is not None:
                biases = enumerate(self.value_bias[layer])
                found |= {f"value_bias.{layer}.{head}": float(value) for head, value in biases}
        if self.attention_bias is not None:
            found[f"attention_bias.{layer}"] = float(self.attention_bias[layer])
        return found

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        terms = self.terms()
        best = sorted(terms.items(), key=lambda term: -abs(term[1]))[:5]
        what = f"logit of {quoted(self.answer)}"
        if self.wrong is not None:
            what = f"logit difference {quoted(self.answer)} − {quoted(self.wrong)}"
        largest = ", ".join(f"{name} {value:+.2f}" for name, value in best)
        after = quoted(self.tokens[self.position])
        return (
            f"{self.model.title}: the {what} after {after} is {self.logit:+.4f}. "
            f"{len(terms)} terms by {self.by} add up to {self.total:+.4f} (remainder "
            f"{self.logit - self.total:+.1e}). The largest: {largest}. {self.norm}"
        )


@view
def direct_attribution(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    answer: AnswerToken = None,
    wrong: WrongToken = None,
    position: ReadAt = None,
    by: Level = "layer",
) -> DirectAttribution:
    """Direct attribution.

    What each part writes into the answer by itself. The last stream is a sum, x = embed +
    attention.0 + mlp.0 + attention.1 + ..., and a logit reads it through the final norm and a row w
    of the unembedding. With the norm's divisor s held at this run's value that reading is linear, so
    a part that writes y has the share r · y, with r = (norm weight * w) / s, and all shares add up
    to the logit (Elhage et al. 2021). With a wrong answer, w is the difference of two rows.

    The bars begin at 0 and end at the logit, in the order of the stream or the largest first. Open a
    layer to see its heads and its MLP, a head to see from which tokens it moved what, an MLP to see
    its neurons.

    What this cannot tell you: what a part does by way of later parts. A head that only makes a
    later head write the answer has no share here. Nor is a share what the answer loses without the
    part: then the divisor s and everything later would be another. Ablate it to see.
    """
    from llm_workings.causal.direct_attribution import attribute

    from .passes import Pass, answered, guesses

    base = lab.base(model, prompt)
    language_model = base.model
    if position is None:
        position = answered(language_model, base.tokens)
        position = base.n - 1 if position is None else position
    best = int(base.logits[position].argmax()) if 0 <= position < base.n else 0
    right = best if answer is None else language_model.token(answer)
    off = None if wrong is None else language_model.token(wrong)
    found = attribute(
        base,
        right=right,
        wrong=() if off is None else off,
        position=position,
        progress=lab.progress,
    )
    also = [right, *([] if off is None else [off])]
    return DirectAttribution(
        model=lab.card(language_model),
        tokens=lab.tokens(language_model, base.tokens),
        position=position,
        answer=lab.tokens(language_model, [right])[0],
        wrong=None if off is None else lab.tokens(language_model, [off])[0],
        guesses=guesses(Pass(language_model, base.tokens, base.run), position, most=GUESSES, also=also),
        logit=found.logit,
        total=found.total,
        norm=found.norm,
        scale=found.scale,
        by=by,
        **_arrays(found),
    )


def _arrays(found: Found) -> dict[str, Any]:
    """Every level's terms, as the payload carries them."""
    terms, blocks = dict(found.terms("part")), [found.base.block(i) for i in range(len(found.layers))]
    constants = [
        Constant(name=name, value=value, first=first)
        for shares, first in ((found.embeddings, True), (found.constants, False))
        for name, value in shares.items()
    ]

    def each(kind: str) -> list[float]:
        return [terms[f"{kind}.{layer}"] for layer in range(len(blocks))]

    def biases(of: list[torch.Tensor | None]) -> list[float] | None:
        if any(bias is None for bias in of):
            return None
        return [float(bias.detach().double() @ found.reader) for bias in of if bias is not None]

    mlps: dict[str, Any] = dict.fromkeys(("mlp", "neurons", "activations", "mlp_bias"))
    if found.layers[0].neurons is not None:
        activations = [layer.neurons.cpu().numpy() for layer in found.layers if layer.neurons is not None]
        mlps = {
            "mlp": each("mlp"),
            "neurons": found.by_neuron.cpu().numpy(),
            "activations": np.stack(activations),
            "mlp_bias": biases([block.mlp.output.bias for block in blocks if block.mlp is not None]),
        }
    has_bias = blocks[0].attention.input.bias is not None
    return {
        "constants": constants,
        "attention": each("attention"),
        "heads": found.by_head.cpu().numpy(),
        "attention_bias": biases([block.attention.output.bias for block in blocks]),
        "sources": found.by_source.cpu().numpy(),
        "pattern": np.stack([layer.pattern.cpu().numpy() for layer in found.layers]),
        "value_bias": found.value_bias.cpu().numpy() if has_bias else None,
        **mlps,
    }
