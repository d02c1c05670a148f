"""Tiny random models of transformers, one for each thing that a family can be, and how to ask both.

The peer is run in float64. Two places of transformers are float32 whatever the model is (RMSNorm, and
the softmax of its eager attention in some families); `exact` lifts exactly those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
import transformers  # noqa: TID253  # the peer: these tests are about nothing else
from torch import Tensor, nn

from benchmarks.torchvision_here import declare_operators
from llm_workings.models.families import family_of
from llm_workings.models.sites import Site
from llm_workings.models.transformer import Transformer

declare_operators()  # transformers imports torchvision
transformers.logging.set_verbosity_error()

GPT2 = {
    "vocab_size": 53,
    "n_positions": 16,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "bos_token_id": None,
    "eos_token_id": None,
}
NEOX = {
    "vocab_size": 53,
    "max_position_embeddings": 16,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
LLAMA = {
    "vocab_size": 53,
    "max_position_embeddings": 16,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
}
BERT = {
    "vocab_size": 53,
    "max_position_embeddings": 16,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "pad_token_id": None,  # the peer's embedding would get no gradient there
}
DISTIL = {
    "vocab_size": 53,
    "max_position_embeddings": 16,
    "dim": 24,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 40,
    "pad_token_id": None,
}
STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# What it shows: (transformers' class, its config's class, the config's fields)
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "gpt2 untied, other width and activation": (
        "GPT2LMHeadModel",
        "GPT2Config",
        GPT2
        | {
            "tie_word_embeddings": False,
            "n_inner": 31,
            "activation_function": "gelu",
            "layer_norm_epsilon": 1e-3,
        },
    ),
    "gpt2 without head": ("GPT2Model", "GPT2Config", GPT2),
    "pythia": ("GPTNeoXForCausalLM", "GPTNeoXConfig", NEOX),
    "pythia sequential, tied": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        NEOX | {"use_parallel_residual": False, "tie_word_embeddings": True},
    ),
    "pythia half rotated, no attention bias, slowed": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        NEOX
        | {
            "attention_bias": False,
            "hidden_act": "gelu_new",
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 4.0,
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    "pythia without head": ("GPTNeoXModel", "GPTNeoXConfig", NEOX),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "llama tied, one head a group": (
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | {"tie_word_embeddings": True, "num_key_value_heads": 6, "rms_norm_eps": 1e-3},
    ),
    "llama with biases, wide heads": (
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | {"attention_bias": True, "mlp_bias": True, "head_dim": 10, "num_key_value_heads": 1},
    ),
    "llama stretched": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"rope_parameters": STRETCHED}),
    "llama slowed": (
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 1000.0}},
    ),
    "llama without head": ("LlamaModel", "LlamaConfig", LLAMA),
    "mistral without window": ("MistralForCausalLM", "MistralConfig", LLAMA | {"sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", LLAMA | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", LLAMA | {"head_dim": 8}),
    "bert": ("BertForMaskedLM", "BertConfig", BERT),
    "bert untied": ("BertForMaskedLM", "BertConfig", BERT | {"tie_word_embeddings": False}),
    "bert with both heads": ("BertForPreTraining", "BertConfig", BERT),
    "bert without head, three segments": ("BertModel", "BertConfig", BERT | {"type_vocab_size": 3}),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", DISTIL),
    "distilbert untied, relu": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        DISTIL | {"tie_word_embeddings": False, "activation": "relu"},
    ),
    "distilbert without head": ("DistilBertModel", "DistilBertConfig", DISTIL),
}


def peer_of(name: str, seed: int = 0, *, attention: str = "eager") -> Any:
    """The case's model of transformers, in float64, with every number of it random."""
    class_name, config_name, given = CASES[name]
    config = getattr(transformers, config_name)(**given, attn_implementation=attention)
    peer = getattr(transformers, class_name)(config).double().eval()
    randomize(peer, seed)
    return peer


def randomize(peer: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
        for module in peer.modules():
            if "Norm" in type(module).__name__:
                module.weight.add_(1)


def config_of(peer: Any) -> dict[str, Any]:
    return {**peer.config.to_dict(), "architectures": [type(peer).__name__]}


def ours_of(peer: Any) -> Transformer:
    """Our model with the peer's weights, by way of the family."""
    config = config_of(peer)
    family = family_of(config)
    with torch.device("meta"):
        ours = Transformer(family.read_config(config))
    family.load_weights(ours, {name: tensor.clone() for name, tensor in peer.state_dict().items()})
    return ours


def answer(peer: Any, tokens: Tensor, **given: Any) -> Tensor:
    """The peer's logits, or its last hidden state where it has no head."""
    output = peer(tokens, **given)
    for name in ("logits", "prediction_logits", "last_hidden_state"):
        if (value := getattr(output, name, None)) is not None:
            return value
    raise AssertionError(f"{type(peer).__name__} answers nothing")


@contextmanager
def exact(peer: nn.Module) -> Iterator[None]:
    """Let the peer compute in its own precision where its code says float32."""

    def norm_forward(norm: Any) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            return norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))

        return forward

    norms = [module for module in peer.modules() if type(module).__name__.endswith("RMSNorm")]
    softmax = F.softmax

    def wide_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        return softmax(x, dim=dim, dtype=None if x.dtype == torch.float64 else dtype)

    for norm in norms:
        norm.forward = norm_forward(norm)
    F.softmax = wide_softmax  # type: ignore[assignment]
    try:
        yield
    finally:
        F.softmax = softmax
        for norm in norms:
            del norm.forward


@dataclass
class Recorder:
    """A tap that keeps everything it sees, and wants every site."""

    seen: dict[Site, Tensor] = field(default_factory=dict)
    order: list[Site] = field(default_factory=list)
    keep_grad: bool = False

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        self.order.append(where)
        self.seen[where] = value
        if self.keep_grad:
            value.retain_grad()
        return value

    def wants(self, where: Site) -> bool:
        return True


def batch(lengths: tuple[int, ...] = (9, 5, 1), vocabulary: int = 53, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random tokens `[b, longest]` and which of them are present (padded on the right)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, vocabulary, (len(lengths), max(lengths)), generator=generator)
    present = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return tokens, present
