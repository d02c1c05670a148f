"""BERT (Devlin et al. 2018): bidirectional, post-norm, learned positions and segments."""

from __future__ import annotations

from typing import Any

from llm_workings.models import spec as sp

from .family import Family, Row
from .fields import ACTIVATION_NAMES, Fields
from .layout import STACKED


def read_spec(config: dict[str, Any], headed: bool) -> sp.Spec:
    fields = Fields(config)
    fields.only("position_embedding_type", "absolute")
    fields.only("is_decoder", False)
    fields.only("add_cross_attention", False)
    width = fields.integer("hidden_size", 768)
    heads = fields.integer("num_attention_heads", 12)
    if width % heads:
        raise ValueError(f"hidden_size = {width} is no multiple of num_attention_heads = {heads}")
    activation = fields.activation("hidden_act", "gelu")
    eps = fields.number("layer_norm_eps", 1e-12)
    head = sp.MaskedTokenHead(activation, eps, tied=fields.flag("tie_word_embeddings", True))
    return sp.Spec(
        vocab_size=fields.integer("vocab_size", 30522),
        n_ctx=fields.integer("max_position_embeddings", 512),
        d_model=width,
        n_layers=fields.integer("num_hidden_layers", 12),
        attention=sp.Attention(heads, heads, width // heads, causal=False, input_bias=True, output_bias=True),
        mlp=sp.PlainMLP(fields.integer("intermediate_size", 3072), activation),
        norm=sp.LayerNorm(eps),
        positions=sp.LearnedPositions(),
        block=sp.PostNorm(),
        head=head if headed else sp.NoHead(),
        n_token_types=fields.integer("type_vocab_size", 2),
        norm_embedding=True,
    )


def write_fields(spec: sp.Spec, config: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model_type": "bert",
        "architectures": ["BertModel" if isinstance(spec.head, sp.NoHead) else "BertForMaskedLM"],
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.n_ctx,
        "hidden_size": spec.d_model,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": spec.attention.n_heads,
        "type_vocab_size": spec.n_token_types,
    }
    if isinstance(spec.mlp, sp.PlainMLP):
        fields["intermediate_size"] = spec.mlp.width
        fields["hidden_act"] = ACTIVATION_NAMES[spec.mlp.activation]
    if isinstance(spec.norm, sp.LayerNorm):
        fields["layer_norm_eps"] = spec.norm.eps
    if isinstance(spec.head, sp.MaskedTokenHead):
        fields["tie_word_embeddings"] = spec.head.tied
    return fields


_TRANSFORM = (
    Row("cls.predictions.transform.dense", "head_dense"),
    Row("cls.predictions.transform.LayerNorm", "head_norm"),
    Row("cls.seq_relationship", None),  # next-sentence prediction
)

BERT = Family(
    name="bert",
    model_types=("bert",),
    architectures={"BertForMaskedLM": True, "BertForPreTraining": True, "BertModel": False},
    read_spec=read_spec,
    write_fields=write_fields,
    prefix="bert.",
    body=(
        Row("embeddings.word_embeddings", "embed"),
        Row("embeddings.position_embeddings", "pos_embed"),
        Row("embeddings.token_type_embeddings", "type_embed"),
        Row("embeddings.LayerNorm", "embed_norm"),
        Row(
            tuple(f"encoder.layer.{{layer}}.attention.self.{part}" for part in ("query", "key", "value")),
            "blocks.{layer}.attention.input",
            STACKED,
        ),
        Row("encoder.layer.{layer}.attention.output.dense", "blocks.{layer}.attention.output"),
        Row("encoder.layer.{layer}.attention.output.LayerNorm", "blocks.{layer}.ln1"),
        Row("encoder.layer.{layer}.intermediate.dense", "blocks.{layer}.mlp.input"),
        Row("encoder.layer.{layer}.output.dense", "blocks.{layer}.mlp.output"),
        Row("encoder.layer.{layer}.output.LayerNorm", "blocks.{layer}.ln2"),
        Row("pooler.dense", None),  # of the first position, for tasks on whole sentences
    ),
    head=(
        *_TRANSFORM,
        Row("cls.predictions.decoder.weight", "unembed.weight"),
        Row("cls.predictions.bias", "unembed.bias"),
        Row("cls.predictions.decoder.bias", "unembed.bias", copy=True),
    ),
    # Untied, transformers 5 keeps the two biases apart and adds only the decoder's.
    untied_head=(
        *_TRANSFORM,
        Row("cls.predictions.decoder", "unembed"),
        Row("cls.predictions.bias", None),
    ),
    ignored=(r"embeddings\.(position_ids|token_type_ids)",),
    spellings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
