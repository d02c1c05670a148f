"""Tiny random models of every kind of block, for the tests of `trace`."""

from __future__ import annotations

import string

import torch

from llm_workings.models import spec as sp
from llm_workings.models.sites import Site
from llm_workings.models.tokens import from_vocabulary
from llm_workings.models.transformer import Transformer
from llm_workings.trace.model import LanguageModel

WORDS = [*string.ascii_lowercase, "<mask>", "<pad>"]

# name -> what differs from the first
KINDS = {
    "gpt2": {},
    "llama": {
        "attention": sp.Attention(4, 2, 6),
        "mlp": sp.GatedMLP(20, "silu"),
        "norm": sp.RMSNorm(),
        "positions": sp.RotaryPositions(),
        "head": sp.NextTokenHead(tied=False),
    },
    "neox": {"block": sp.ParallelPreNorm(), "positions": sp.RotaryPositions(fraction=1 / 3)},
    "bert": {
        "attention": sp.Attention(4, 4, 6, causal=False, input_bias=True, output_bias=True),
        "block": sp.PostNorm(),
        "head": sp.MaskedTokenHead("gelu", 1e-12),
        "n_token_types": 2,
        "norm_embedding": True,
    },
    "attention_only": {"mlp": sp.NoMLP(), "norm": sp.NoNorm()},
    "encoder": {
        "attention": sp.Attention(4, 4, 6, causal=False),
        "block": sp.PostNorm(),
        "head": sp.NoHead(),
    },
}
CAUSAL = ["gpt2", "llama", "neox", "attention_only"]


def spec_of(kind: str, **changes: object) -> sp.Spec:
    choices = {
        "vocab_size": len(WORDS),
        "n_ctx": 24,
        "d_model": 16,
        "n_layers": 3,
        "attention": sp.Attention(4, 4, 6, input_bias=True, output_bias=True),
        "mlp": sp.PlainMLP(20, "gelu"),
        "norm": sp.LayerNorm(),
        "positions": sp.LearnedPositions(),
        "block": sp.PreNorm(),
        "head": sp.NextTokenHead(),
    }
    return sp.Spec(**{**choices, **KINDS[kind], **changes})


def tiny(kind: str = "llama", dtype: torch.dtype = torch.float64, **changes: object) -> LanguageModel:
    """A model of random weights large enough that every part matters."""
    spec = spec_of(kind, **changes)
    draw = torch.Generator().manual_seed(7)
    transformer = Transformer(spec)
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            size = 0.5 if weight.ndim > 1 else 0.2
            noise = torch.randn(weight.shape, generator=draw) * size
            weight.copy_(1 + noise if "norm" in name or ".ln" in name else noise)
    tokenizer = from_vocabulary(WORDS, separator=" ", roles={"mask": "<mask>", "pad": "<pad>"})
    return LanguageModel(transformer.to(dtype), tokenizer, f"tiny-{kind}")


class Watch:
    """A tap by hand: changes one site by a function, remembers every site it wanted."""

    def __init__(self, wanted: set[Site], change: tuple[Site, object] | None = None):
        self.wanted, self.change = wanted, change
        self.seen: dict[Site, torch.Tensor] = {}

    def wants(self, where: Site) -> bool:
        return where in self.wanted or (self.change is not None and where == self.change[0])

    def __call__(self, where: Site, value: torch.Tensor) -> torch.Tensor:
        if self.change is not None and where == self.change[0]:
            value = self.change[1](value)
        self.seen[where] = value
        return value
