"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, LayerNorm, tied unembedding."""

from __future__ import annotations

from typing import Any

from llm_workings.models import spec as sp

from .family import Family, Row
from .fields import ACTIVATION_NAMES, Fields
from .layout import TRANSPOSED


def read_spec(config: dict[str, Any], headed: bool) -> sp.Spec:
    fields = Fields(config)
    fields.only("scale_attn_weights", True)
    fields.only("scale_attn_by_inverse_layer_idx", False)
    fields.only("add_cross_attention", False)
    width = fields.integer("n_embd", 768, also="hidden_size")
    heads = fields.integer("n_head", 12, also="num_attention_heads")
    if width % heads:
        raise ValueError(f"n_embd = {width} is no multiple of n_head = {heads}")
    return sp.Spec(
        vocab_size=fields.integer("vocab_size", 50257),
        n_ctx=fields.integer("n_positions", 1024, also="max_position_embeddings"),
        d_model=width,
        n_layers=fields.integer("n_layer", 12, also="num_hidden_layers"),
        attention=sp.Attention(heads, heads, width // heads, input_bias=True, output_bias=True),
        mlp=sp.PlainMLP(
            fields.integer("n_inner", 4 * width), fields.activation("activation_function", "gelu_new")
        ),
        norm=sp.LayerNorm(fields.number("layer_norm_epsilon", 1e-5)),
        positions=sp.LearnedPositions(),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(tied=fields.flag("tie_word_embeddings", True)) if headed else sp.NoHead(),
    )


def write_fields(spec: sp.Spec, config: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model_type": "gpt2",
        "architectures": ["GPT2Model" if isinstance(spec.head, sp.NoHead) else "GPT2LMHeadModel"],
        "vocab_size": spec.vocab_size,
        "n_positions": spec.n_ctx,
        "n_embd": spec.d_model,
        "n_layer": spec.n_layers,
        "n_head": spec.attention.n_heads,
    }
    if isinstance(spec.mlp, sp.PlainMLP):
        fields["n_inner"] = None if spec.mlp.width == 4 * spec.d_model else spec.mlp.width
        fields["activation_function"] = ACTIVATION_NAMES[spec.mlp.activation]
    if isinstance(spec.norm, sp.LayerNorm):
        fields["layer_norm_epsilon"] = spec.norm.eps
    if isinstance(spec.head, sp.NextTokenHead):
        fields["tie_word_embeddings"] = spec.head.tied
    return fields


GPT2 = Family(
    name="gpt2",
    model_types=("gpt2",),
    architectures={"GPT2LMHeadModel": True, "GPT2Model": False},
    read_spec=read_spec,
    write_fields=write_fields,
    prefix="transformer.",
    body=(
        Row("wte", "embed"),
        Row("wpe", "pos_embed"),
        Row("h.{layer}.ln_1", "blocks.{layer}.ln1"),
        Row("h.{layer}.attn.c_attn", "blocks.{layer}.attention.input", TRANSPOSED),
        Row("h.{layer}.attn.c_proj", "blocks.{layer}.attention.output", TRANSPOSED),
        Row("h.{layer}.ln_2", "blocks.{layer}.ln2"),
        Row("h.{layer}.mlp.c_fc", "blocks.{layer}.mlp.input", TRANSPOSED),
        Row("h.{layer}.mlp.c_proj", "blocks.{layer}.mlp.output", TRANSPOSED),
        Row("ln_f", "final_norm"),
    ),
    head=(Row("lm_head", "unembed"),),
    ignored=(r"h\.\d+\.attn\.(bias|masked_bias)",),
)
