"""What one neuron of an MLP reads and writes, in the terms of the vocabulary, and which neurons write alike.

A neuron reads the MLP's input, the normed stream, with a row of each input matrix, and writes a column of
the output matrix into the stream:

    reads token t:   r(t) = (g * w_in) . E[t]
    writes token t:  s(t) = (g_final * W_U[t]) . w_out

A gated MLP has two w_in: that of the gate, and that of what the gate multiplies.

`g` is the weight of the norm on the way (of LayerNorm, whose centring is linear, the mean of the product is
taken off); its divisor is left out, as it is another at each token. So r and s are right up to a positive
factor, and s times the activation, over the final norm's divisor, is the neuron's direct share of a logit
(`causal.direct_attribution`). Of layers above the first, the stream is not the embedding any more: r then
says only what the neuron would make of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.models.sites import Site, site
from llm_workings.models.spec import (
    GatedMLP,
    LayerNorm,
    MaskedTokenHead,
    NoHead,
    NoMLP,
    NoNorm,
    PlainMLP,
    PostNorm,
    Spec,
)
from llm_workings.models.transformer import Block, Norm
from llm_workings.models.transformer import GatedMLP as Gated

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel


@dataclass(frozen=True)
class Terms:
    """The tokens at both ends of a direction in the vocabulary.

    Attributes:
        name: what the direction is: `gate`, `in` or `out`.
        top, bottom: token ids, the furthest first.
        top_scores, bottom_scores: their scores.
        spread: the standard deviation of all tokens' scores; a score means something beside it.
    """

    name: str
    top: tuple[int, ...]
    top_scores: tuple[float, ...]
    bottom: tuple[int, ...]
    bottom_scores: tuple[float, ...]
    spread: float


def mlp_of(spec: Spec, name: str) -> PlainMLP | GatedMLP:
    """The kind of MLP; `NotSupported` for a model of attention only."""
    if isinstance(spec.mlp, NoMLP):
        raise NotSupported(
            f"{name} has attention only: there are no neurons in it.",
            hint="Take a model with MLPs, such as smollm2-135m.",
            given={"model": name},
        )
    return spec.mlp


def check_neuron(model: LanguageModel, layer: int, neuron: int | None = None) -> None:
    """Raises `BadInput`, saying what there is, for a layer or neuron that is not there."""
    width = mlp_of(model.spec, model.name).width
    if not 0 <= layer < model.spec.n_layers:
        last = model.spec.n_layers - 1
        raise BadInput(
            f"There is no layer {layer}: {model.name} has layers 0 to {last}.",
            hint=f"Take layer {min(max(layer, 0), last)}.",
            given={"layer": layer},
        )
    if neuron is not None and not 0 <= neuron < width:
        raise BadInput(
            f"There is no neuron {layer}.{neuron}: each layer of {model.name} has neurons 0 to {width - 1}.",
            hint=f"Take neuron {layer}.{min(max(neuron, 0), width - 1)}.",
            given={"layer": layer, "neuron": neuron},
        )


def input_site(spec: Spec, layer: int) -> Site:
    """What an MLP reads: the norm before it."""
    return site("ln1" if isinstance(spec.block, PostNorm) else "ln2", layer)


def block_of(model: LanguageModel, layer: int) -> Block:
    """The model's block, as what it is."""
    return cast(Block, model.transformer.blocks[layer])


def output_rows(model: LanguageModel, layer: int) -> Tensor:
    """`[neuron, d_model]`: what each neuron of a layer writes when its activation is 1."""
    mlp = block_of(model, layer).mlp
    assert mlp is not None
    return mlp.output.weight.detach().T


def reads(model: LanguageModel, layer: int, neuron: int, most: int = 10) -> list[Terms]:
    """The tokens whose embeddings each of the neuron's input rows likes most and least.

    Raises what `check_neuron` raises.
    """
    check_neuron(model, layer, neuron)
    block = block_of(model, layer)
    mlp = block.mlp
    assert mlp is not None
    norm = block.ln1 if isinstance(model.spec.block, PostNorm) else block.ln2
    rows = {"in": mlp.input.weight[neuron]}
    if isinstance(mlp, Gated):
        rows = {"gate": mlp.gate.weight[neuron], **rows}
    with torch.no_grad():
        embedded = model.transformer.embed.weight
        if model.spec.norm_embedding:
            embedded = model.transformer.embed_norm.apply_to(embedded)
        found = {name: embedded @ through(norm, row) for name, row in rows.items()}
    return [_terms(model, name, scores, most) for name, scores in found.items()]


def writes(model: LanguageModel, layer: int, neuron: int, most: int = 10) -> Terms | None:
    """The tokens that the neuron's output row makes more and less likely, for a positive activation.

    None for a model whose head is not linear in the stream. Raises what `check_neuron` raises.
    """
    check_neuron(model, layer, neuron)
    if isinstance(model.spec.head, NoHead | MaskedTokenHead):
        return None
    with torch.no_grad():
        row = output_rows(model, layer)[neuron]
        if model.spec.final_norm:
            norm = model.transformer.final_norm
            # (g * W_U[t]) . w, less its mean times the sum of w: the same as W_U[t] . (g * (w - mean w))
            if isinstance(norm.kind, LayerNorm):
                row = row - row.mean()
            if not isinstance(norm.kind, NoNorm):
                row = row * norm.weight
        scores = model.transformer.unembed.weight @ row
    return _terms(model, "out", scores, most)


def write_alike(model: LanguageModel, layer: int, neuron: int, most: int = 8) -> list[tuple[int, int, float]]:
    """The neurons of all layers whose output rows point most the same way or the opposite way:
    (layer, neuron, cosine), the largest |cosine| first.

    Raises what `check_neuron` raises.
    """
    check_neuron(model, layer, neuron)
    with torch.no_grad():
        own = torch.nn.functional.normalize(output_rows(model, layer)[neuron].double(), dim=0).float()
        found = []
        for other in range(model.spec.n_layers):
            rows = output_rows(model, other).float()
            found.append((rows @ own.to(rows)) / rows.norm(dim=1).clamp(min=1e-30))
        cosines = torch.stack(found)
        cosines[layer, neuron] = 0
    width = cosines.shape[1]
    order = cosines.abs().flatten().topk(min(most, cosines.numel() - 1)).indices.tolist()
    return [(at // width, at % width, float(cosines[at // width, at % width])) for at in order]


def through(norm: Norm, row: Tensor) -> Tensor:
    """A row that reads a norm's output, `[d_model]`, with the norm's weight and centring taken into it."""
    if isinstance(norm.kind, NoNorm):
        return row
    row = row * norm.weight
    return row - row.mean() if isinstance(norm.kind, LayerNorm) else row


def _terms(model: LanguageModel, name: str, scores: Tensor, most: int) -> Terms:
    """The two ends; rows past the tokenizer's vocabulary are padding and no tokens."""
    scores = scores[: model.tokenizer.vocab_size].float()
    most = min(most, len(scores))
    top, bottom = scores.topk(most), scores.topk(most, largest=False)
    return Terms(
        name,
        tuple(top.indices.tolist()),
        tuple(top.values.tolist()),
        tuple(bottom.indices.tolist()),
        tuple(bottom.values.tolist()),
        float(scores.std(correction=0)),
    )
