"""Llama (Touvron et al. 2023) and its like: RMSNorm, rotary positions, gated MLP, grouped heads.

SmolLM2 is a Llama; Mistral differs in its defaults, Qwen 2 in its query-key-value biases, Qwen 3 in
norming queries and keys. What each of them adds to the fields is a line in `VARIANTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_workings.core.errors import NotSupported
from llm_workings.models import spec as sp

from .family import Family, Row
from .fields import ACTIVATION_NAMES, Fields, rotary_fields
from .layout import STACKED


@dataclass(frozen=True)
class Variant:
    """What one `model_type` means where its config is silent, and what it has that others have not.

    Args:
        classes: how its Hugging Face classes begin.
        biases: whether queries, keys, values and the output have biases; None: `attention_bias` says.
        n_ctx, width, mlp_width, vocabulary, heads, key_value_heads, d_head: defaults
            (`key_value_heads` None: as many as heads; `d_head` None: width / heads).
    """

    classes: str
    biases: tuple[bool, bool] | None = None
    mlp_bias: bool = False
    query_key_norm: bool = False
    n_ctx: int = 2048
    mlp_width: int = 11008
    vocabulary: int = 32000
    key_value_heads: int | None = None
    d_head: int | None = None


VARIANTS = {
    "llama": Variant("Llama", mlp_bias=True),
    "mistral": Variant("Mistral", biases=(False, False), n_ctx=131072, mlp_width=14336, key_value_heads=8),
    "qwen2": Variant(
        "Qwen2", biases=(True, False), n_ctx=32768, mlp_width=22016, vocabulary=151936, key_value_heads=32
    ),
    "qwen3": Variant(
        "Qwen3",
        query_key_norm=True,
        n_ctx=32768,
        mlp_width=22016,
        vocabulary=151936,
        key_value_heads=32,
        d_head=128,
    ),
}


def read_spec(config: dict[str, Any], headed: bool) -> sp.Spec:
    fields, variant = Fields(config), VARIANTS[config["model_type"]]
    width = fields.integer("hidden_size", 4096)
    heads = fields.integer("num_attention_heads", 32)
    layers = fields.integer("num_hidden_layers", 32)
    n_ctx = fields.integer("max_position_embeddings", variant.n_ctx)
    _refuse_windows(fields, config["model_type"], n_ctx, layers)
    bias = variant.biases or (fields.flag("attention_bias", False),) * 2
    norm = sp.RMSNorm(fields.number("rms_norm_eps", 1e-6))
    return sp.Spec(
        vocab_size=fields.integer("vocab_size", variant.vocabulary),
        n_ctx=n_ctx,
        d_model=width,
        n_layers=layers,
        attention=sp.Attention(
            n_heads=heads,
            n_key_value_heads=fields.integer("num_key_value_heads", variant.key_value_heads or heads),
            d_head=fields.integer("head_dim", variant.d_head or width // heads),
            input_bias=bias[0],
            output_bias=bias[1],
            query_key_norm=norm if variant.query_key_norm else None,
        ),
        mlp=sp.GatedMLP(
            fields.integer("intermediate_size", variant.mlp_width),
            fields.activation("hidden_act", "silu"),
            bias=variant.mlp_bias and fields.flag("mlp_bias", False),
        ),
        norm=norm,
        positions=fields.rotary(),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(tied=fields.flag("tie_word_embeddings", False)) if headed else sp.NoHead(),
    )


def _refuse_windows(fields: Fields, model_type: str, n_ctx: int, layers: int) -> None:
    """A layer that sees only the last few positions is none of ours, unless the window is the context.

    Each of the three has its own way to say it: Mistral always has a window unless it is null, Qwen
    has one behind a switch, in the layers from `max_window_layers` on or where `layer_types` says.
    """
    config = fields.config
    match model_type:
        case "mistral":
            sliding = "sliding_window" not in config or config["sliding_window"] is not None
        case "qwen2" | "qwen3" if fields.flag("use_sliding_window", False):
            kinds = config.get("layer_types")
            from_layer = fields.integer("max_window_layers", 28, least=0)
            sliding = "sliding_attention" in kinds if isinstance(kinds, list) else from_layer < layers
            sliding = sliding and config.get("sliding_window", 4096) is not None
        case _:
            sliding = False
    if sliding and (window := fields.integer("sliding_window", 4096)) < n_ctx:
        raise NotSupported(
            f"The config says sliding_window = {window!r} with a context of {n_ctx} positions.",
            hint="Attention with a sliding window is not supported.",
            given={"sliding_window": window},
        )


def write_fields(spec: sp.Spec, config: dict[str, Any]) -> dict[str, Any]:
    a = spec.attention
    variant = config.get("model_type")
    if variant not in VARIANTS:  # a model that came from no config: the plainest that can say it
        plain = a.input_bias == a.output_bias
        variant = "qwen3" if a.query_key_norm else "llama" if plain else "qwen2"
    fields: dict[str, Any] = {
        "model_type": variant,
        "architectures": [
            VARIANTS[variant].classes + ("Model" if isinstance(spec.head, sp.NoHead) else "ForCausalLM")
        ],
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.n_ctx,
        "hidden_size": spec.d_model,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": a.n_heads,
        "num_key_value_heads": a.n_key_value_heads,
        "head_dim": a.d_head,
        "attention_bias": a.input_bias,
    }
    if isinstance(spec.mlp, sp.GatedMLP):
        fields["intermediate_size"] = spec.mlp.width
        fields["hidden_act"] = ACTIVATION_NAMES[spec.mlp.activation]
        fields["mlp_bias"] = spec.mlp.bias
    if isinstance(spec.norm, sp.RMSNorm):
        fields["rms_norm_eps"] = spec.norm.eps
    if isinstance(spec.positions, sp.RotaryPositions):
        fields |= rotary_fields(spec.positions)
    if isinstance(spec.head, sp.NextTokenHead):
        fields["tie_word_embeddings"] = spec.head.tied
    return fields


LLAMA = Family(
    name="llama",
    model_types=tuple(VARIANTS),
    architectures={
        **{f"{variant.classes}ForCausalLM": True for variant in VARIANTS.values()},
        **{f"{variant.classes}Model": False for variant in VARIANTS.values()},
    },
    read_spec=read_spec,
    write_fields=write_fields,
    prefix="model.",
    body=(
        Row("embed_tokens", "embed"),
        Row("layers.{layer}.input_layernorm", "blocks.{layer}.ln1"),
        Row(
            tuple(f"layers.{{layer}}.self_attn.{part}_proj" for part in "qkv"),
            "blocks.{layer}.attention.input",
            STACKED,
        ),
        Row("layers.{layer}.self_attn.q_norm", "blocks.{layer}.attention.query_norm"),
        Row("layers.{layer}.self_attn.k_norm", "blocks.{layer}.attention.key_norm"),
        Row("layers.{layer}.self_attn.o_proj", "blocks.{layer}.attention.output"),
        Row("layers.{layer}.post_attention_layernorm", "blocks.{layer}.ln2"),
        Row("layers.{layer}.mlp.gate_proj", "blocks.{layer}.mlp.gate"),
        Row("layers.{layer}.mlp.up_proj", "blocks.{layer}.mlp.input"),
        Row("layers.{layer}.mlp.down_proj", "blocks.{layer}.mlp.output"),
        Row("norm", "final_norm"),
    ),
    head=(Row("lm_head", "unembed"),),
    ignored=(r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",),
)
