"""Small models of random weights that the tests of the views and hosts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from llm_workings.core.errors import unknown
from llm_workings.models import spec as sp
from llm_workings.models.tokens import from_vocabulary, word_piece
from llm_workings.models.transformer import Transformer
from llm_workings.trace.model import LanguageModel
from llm_workings.views.lab import Lab

COMMON = ["the", "cat", "dog", "sat", "ran", "on", "mat", "and", "big", "red", "a", "lion", "slept"]
SAYINGS = [*COMMON, "<begin>"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *COMMON]


def filled(spec: sp.Spec, seed: int, scale: float = 0.35) -> Transformer:
    """Weights drawn from a normal distribution, wide enough for patterns that are far from even."""
    model = Transformer(spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator) * scale
            is_norm = weight.ndim == 1 and "weight" in name
            weight.copy_(1 + 0.3 * noise if is_norm else noise)
    return model


def causal_spec(**changes: Any) -> sp.Spec:
    """Llama-like: grouped heads, rotary positions, RMSNorm, gated MLP, tied."""
    fields: dict[str, Any] = {
        "vocab_size": len(SAYINGS) + 2,  # padded past the tokenizer's, as real ones are
        "n_ctx": 64,
        "d_model": 24,
        "n_layers": 3,
        "attention": sp.Attention(n_heads=4, n_key_value_heads=2, d_head=6),
        "mlp": sp.GatedMLP(32, "silu"),
        "norm": sp.RMSNorm(),
        "positions": sp.RotaryPositions(),
        "block": sp.PreNorm(),
        "head": sp.NextTokenHead(),
    }
    return sp.Spec(**{**fields, **changes})


def causal(name: str = "causal", **changes: Any) -> LanguageModel:
    tokenizer = from_vocabulary(SAYINGS, separator=" ", roles={"bos": "<begin>"})
    return LanguageModel(filled(causal_spec(**changes), 1), tokenizer, name)


def masked(name: str = "masked", head: sp.Head | None = None) -> LanguageModel:
    """BERT-like: learned positions, segments, post-norm."""
    spec = sp.Spec(
        vocab_size=len(WORDS),
        n_ctx=32,
        d_model=16,
        n_layers=2,
        attention=sp.Attention(4, 4, 4, causal=False, input_bias=True, output_bias=True),
        mlp=sp.PlainMLP(24, "gelu"),
        norm=sp.LayerNorm(),
        positions=sp.LearnedPositions(),
        block=sp.PostNorm(),
        head=head or sp.MaskedTokenHead("gelu", 1e-5),
        n_token_types=2,
        norm_embedding=True,
    )
    return LanguageModel(filled(spec, 2), word_piece(WORDS), name)


def headless() -> LanguageModel:
    return masked("headless", sp.NoHead())


MAKERS: dict[str, Callable[[], LanguageModel]] = {"causal": causal, "masked": masked, "headless": headless}


def load_small(name: str, progress: Any = None) -> LanguageModel:
    if name not in MAKERS:
        raise unknown("model", name, MAKERS)
    return MAKERS[name]()


def small_lab(**options: Any) -> Lab:
    return Lab(load_small, **options)
