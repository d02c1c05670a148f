"""DistilBERT (Sanh et al. 2019): BERT with half the layers and no segments."""

from __future__ import annotations

from typing import Any

from llm_workings.models import spec as sp

from .family import Family, Row
from .fields import ACTIVATION_NAMES, Fields
from .layout import STACKED

EPS = 1e-12  # not in the config: Hugging Face's classes have it fixed


def read_spec(config: dict[str, Any], headed: bool) -> sp.Spec:
    fields = Fields(config)
    width = fields.integer("dim", 768, also="hidden_size")
    heads = fields.integer("n_heads", 12, also="num_attention_heads")
    if width % heads:
        raise ValueError(f"dim = {width} is no multiple of n_heads = {heads}")
    activation = fields.activation("activation", "gelu")
    head = sp.MaskedTokenHead(activation, EPS, tied=fields.flag("tie_word_embeddings", True))
    return sp.Spec(
        vocab_size=fields.integer("vocab_size", 30522),
        n_ctx=fields.integer("max_position_embeddings", 512),
        d_model=width,
        n_layers=fields.integer("n_layers", 6, also="num_hidden_layers"),
        attention=sp.Attention(heads, heads, width // heads, causal=False, input_bias=True, output_bias=True),
        mlp=sp.PlainMLP(fields.integer("hidden_dim", 3072), activation),
        norm=sp.LayerNorm(EPS),
        positions=sp.LearnedPositions(),
        block=sp.PostNorm(),
        head=head if headed else sp.NoHead(),
        norm_embedding=True,
    )


def write_fields(spec: sp.Spec, config: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model_type": "distilbert",
        "architectures": ["DistilBertModel" if isinstance(spec.head, sp.NoHead) else "DistilBertForMaskedLM"],
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.n_ctx,
        "dim": spec.d_model,
        "n_layers": spec.n_layers,
        "n_heads": spec.attention.n_heads,
    }
    if isinstance(spec.mlp, sp.PlainMLP):
        fields["hidden_dim"] = spec.mlp.width
        fields["activation"] = ACTIVATION_NAMES[spec.mlp.activation]
    if isinstance(spec.head, sp.MaskedTokenHead):
        fields["tie_word_embeddings"] = spec.head.tied
    return fields


DISTILBERT = Family(
    name="distilbert",
    model_types=("distilbert",),
    architectures={"DistilBertForMaskedLM": True, "DistilBertModel": False},
    read_spec=read_spec,
    write_fields=write_fields,
    prefix="distilbert.",
    body=(
        Row("embeddings.word_embeddings", "embed"),
        Row("embeddings.position_embeddings", "pos_embed"),
        Row("embeddings.LayerNorm", "embed_norm"),
        Row(
            tuple(f"transformer.layer.{{layer}}.attention.{part}_lin" for part in "qkv"),
            "blocks.{layer}.attention.input",
            STACKED,
        ),
        Row("transformer.layer.{layer}.attention.out_lin", "blocks.{layer}.attention.output"),
        Row("transformer.layer.{layer}.sa_layer_norm", "blocks.{layer}.ln1"),
        Row("transformer.layer.{layer}.ffn.lin1", "blocks.{layer}.mlp.input"),
        Row("transformer.layer.{layer}.ffn.lin2", "blocks.{layer}.mlp.output"),
        Row("transformer.layer.{layer}.output_layer_norm", "blocks.{layer}.ln2"),
    ),
    head=(
        Row("vocab_transform", "head_dense"),
        Row("vocab_layer_norm", "head_norm"),
        Row("vocab_projector", "unembed"),
    ),
    ignored=(r"embeddings\.position_ids",),
)
