"""What a GGUF file's entries say, in Hugging Face's terms: its config and its weights' names.

The families read `config.json` and Hugging Face's parameter names; this puts a GGUF file into both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from llm_workings.core.errors import BadFile, NotSupported

from .gguf_file import GgufFile

# ggml's `general.architecture` -> Hugging Face's `model_type` and architecture
ARCHITECTURES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
}
OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
IN_BLOCK_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
OUTER_NAME = re.compile(r"(\w+)\.(weight|bias)")


def config_of(file: GgufFile) -> dict[str, Any]:
    """The `config.json` that Hugging Face would write for the model in `file`.

    Raises `NotSupported` for another architecture, a mixture of experts, or a scaling of the
    rotation that the file gives as bare numbers; `BadFile` if an entry is missing.
    """
    architecture = file.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise NotSupported(
            f"{file.path} holds a model of architecture {architecture!r}.",
            hint=f"GGUF files are read for: {', '.join(ARCHITECTURES)}.",
            given={"architecture": architecture},
        )
    entries = _Entries(file.path, architecture, file.metadata)
    if entries.get("expert_count"):
        raise NotSupported(f"{file.path} holds a mixture of experts, which is not supported.")
    if "rope_freqs.weight" in file.tensors:
        raise NotSupported(
            f"{file.path} scales its rotary frequencies by numbers of its own (Llama 3.1's way).",
            hint="Load the same model from its Hugging Face checkpoint instead.",
        )
    if "token_embd.weight" not in file.tensors:
        raise BadFile(f"{file.path} has no tensor 'token_embd.weight'.")
    model_type, class_name = ARCHITECTURES[architecture]
    heads = entries["attention.head_count"]
    width = entries["embedding_length"]
    shared = entries.get("attention.head_count_kv", heads)
    d_head = entries.get("attention.key_length", width // max(heads, 1))
    if min(heads, shared, d_head) < 1:
        raise BadFile(
            f"{file.path} is damaged: it has {heads} heads, {shared} for keys and values, "
            f"of {d_head} dimensions."
        )
    config: dict[str, Any] = {
        "model_type": model_type,
        "architectures": [class_name],
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "max_position_embeddings": entries["context_length"],
        "hidden_size": width,
        "intermediate_size": entries["feed_forward_length"],
        "num_hidden_layers": entries["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "head_dim": d_head,
        "hidden_act": "silu",
        "rms_norm_eps": _shortest(entries["attention.layer_norm_rms_epsilon"]),
        "rope_theta": _shortest(entries.get("rope.freq_base", 10000.0)),
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in file.tensors,
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    if (turning := entries.get("rope.dimension_count", d_head)) != d_head:
        config["partial_rotary_factor"] = turning / d_head
    scaling = entries.get("rope.scaling.type", "none")
    if scaling == "linear":
        config["rope_scaling"] = {"rope_type": "linear", "factor": entries["rope.scaling.factor"]}
    elif scaling != "none":
        raise NotSupported(f"{file.path} scales its rotation by {scaling!r}.", hint="Only 'linear' is read.")
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        if (token := file.metadata.get(f"tokenizer.ggml.{key}_token_id")) is not None:
            config[f"{role}_token_id"] = token
    return config


class GgufWeights(Mapping[str, Tensor]):
    """A GGUF file's tensors under Hugging Face's names; each is unpacked when it is asked for."""

    def __init__(self, file: GgufFile, config: Mapping[str, Any]):
        self.file = file
        self._inside = {hugging_face_name(name): name for name in file.tensors}
        # llama.cpp turns dimension i of a head together with i + 1, Hugging Face with i + half.
        # Its converter reorders the rows of llama's queries and keys for that; other
        # architectures are turned Hugging Face's way and left as they are.
        reordered = file.metadata.get("general.architecture") == "llama"
        self._heads = (
            {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
            if reordered
            else {}
        )

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.file.read(self._inside[name])
        heads = self._heads.get(name.split(".")[-2]) if name.count(".") > 1 else None
        if heads is None:
            return tensor
        if tensor.shape[0] % (2 * heads):
            raise BadFile(
                f"{self.file.path}: {name} has {tensor.shape[0]} rows, "
                f"which {heads} heads of an even size cannot share."
            )
        return tensor.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()

    def __iter__(self) -> Iterator[str]:
        return iter(self._inside)

    def __len__(self) -> int:
        return len(self._inside)


def hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; unknown names stay."""
    if (found := IN_BLOCK_NAME.fullmatch(name)) and found[2] in IN_BLOCK:
        return f"model.layers.{found[1]}.{IN_BLOCK[found[2]]}.{found[3]}"
    if (found := OUTER_NAME.fullmatch(name)) and found[1] in OUTER:
        return f"{OUTER[found[1]]}.{found[2]}"
    return name


class _Entries:
    """The entries of one architecture, which stand under its name: `llama.block_count`."""

    def __init__(self, path: Path, architecture: str, metadata: Mapping[str, Any]):
        self.path, self.architecture, self.metadata = path, architecture, metadata

    def get(self, key: str, otherwise: Any = None) -> Any:
        return self.metadata.get(f"{self.architecture}.{key}", otherwise)

    def __getitem__(self, key: str) -> Any:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = "has no entry" if value is None else f"says {value!r} in"
            raise BadFile(f"{self.path} {what} '{self.architecture}.{key}', where a number should stand.")
        return value


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: 1e-05 for 9.999999747378752e-06."""
    import numpy as np

    return float(str(np.float32(value)))
