"""GPT-NeoX (Black et al. 2022) and Pythia: rotary positions on a part of each head, parallel blocks."""

from __future__ import annotations

from typing import Any

from llm_workings.models import spec as sp

from .family import Family, Row
from .fields import ACTIVATION_NAMES, Fields, rotary_fields
from .layout import INTERLEAVED


def read_spec(config: dict[str, Any], headed: bool) -> sp.Spec:
    fields = Fields(config)
    width = fields.integer("hidden_size", 6144)
    heads = fields.integer("num_attention_heads", 64)
    if width % heads:
        raise ValueError(f"hidden_size = {width} is no multiple of num_attention_heads = {heads}")
    bias = fields.flag("attention_bias", True)
    return sp.Spec(
        vocab_size=fields.integer("vocab_size", 50432),
        n_ctx=fields.integer("max_position_embeddings", 2048),
        d_model=width,
        n_layers=fields.integer("num_hidden_layers", 44),
        attention=sp.Attention(heads, heads, width // heads, input_bias=bias, output_bias=bias),
        mlp=sp.PlainMLP(fields.integer("intermediate_size", 24576), fields.activation("hidden_act", "gelu")),
        norm=sp.LayerNorm(fields.number("layer_norm_eps", 1e-5)),
        positions=fields.rotary(base="rotary_emb_base", part="rotary_pct", whole=0.25),
        block=sp.ParallelPreNorm() if fields.flag("use_parallel_residual", True) else sp.PreNorm(),
        head=sp.NextTokenHead(tied=fields.flag("tie_word_embeddings", False)) if headed else sp.NoHead(),
    )


def write_fields(spec: sp.Spec, config: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXModel" if isinstance(spec.head, sp.NoHead) else "GPTNeoXForCausalLM"],
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.n_ctx,
        "hidden_size": spec.d_model,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": spec.attention.n_heads,
        "attention_bias": spec.attention.input_bias,
        "use_parallel_residual": isinstance(spec.block, sp.ParallelPreNorm),
    }
    if isinstance(spec.mlp, sp.PlainMLP):
        fields["intermediate_size"] = spec.mlp.width
        fields["hidden_act"] = ACTIVATION_NAMES[spec.mlp.activation]
    if isinstance(spec.norm, sp.LayerNorm):
        fields["layer_norm_eps"] = spec.norm.eps
    if isinstance(spec.positions, sp.RotaryPositions):
        fields |= rotary_fields(spec.positions)
        fields["rotary_emb_base"] = fields.pop("rope_theta")
        fields["rotary_pct"] = spec.positions.fraction
        fields["rope_parameters"]["partial_rotary_factor"] = spec.positions.fraction
    if isinstance(spec.head, sp.NextTokenHead):
        fields["tie_word_embeddings"] = spec.head.tied
    return fields


GPT_NEOX = Family(
    name="gpt_neox",
    model_types=("gpt_neox",),
    architectures={"GPTNeoXForCausalLM": True, "GPTNeoXModel": False},
    read_spec=read_spec,
    write_fields=write_fields,
    prefix="gpt_neox.",
    body=(
        Row("embed_in", "embed"),
        Row("layers.{layer}.input_layernorm", "blocks.{layer}.ln1"),
        Row("layers.{layer}.attention.query_key_value", "blocks.{layer}.attention.input", INTERLEAVED),
        Row("layers.{layer}.attention.dense", "blocks.{layer}.attention.output"),
        Row("layers.{layer}.post_attention_layernorm", "blocks.{layer}.ln2"),
        Row("layers.{layer}.mlp.dense_h_to_4h", "blocks.{layer}.mlp.input"),
        Row("layers.{layer}.mlp.dense_4h_to_h", "blocks.{layer}.mlp.output"),
        Row("final_layer_norm", "final_norm"),
    ),
    head=(Row("embed_out", "unembed"),),
    ignored=(r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)", r"rotary_emb\.inv_freq"),
    spellings={"lm_head.weight": "embed_out.weight"},
)
