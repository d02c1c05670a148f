"""Every site that has a counterpart in transformers, against it, for all five families in float64.

Counterparts are what the peer's submodules take in and give out (forward hooks), its recorded
attention patterns, what its softmax is given, and what its rotation returns.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peers import CASES, Recorder, answer, batch, exact, ours_of, peer_of
from torch import Tensor

from llm_workings.models.families import family_of
from llm_workings.models.sites import Site, sites_of
from llm_workings.models.spec import Spec

pytestmark = pytest.mark.peer


@dataclass
class Seen:
    """What went through the peer: module name -> (input, output); scores and rotations in order."""

    spec: Spec
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    patterns: tuple[Tensor, ...] = ()
    scores: list[Tensor] = field(default_factory=list)
    rotated: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.spec.attention.d_head))

    def scale(self, norm: str) -> Tensor:
        x = self.inputs[norm]
        eps = getattr(self.modules[norm], "eps", None) or self.modules[norm].variance_epsilon
        if "LayerNorm" in type(self.modules[norm]).__name__:
            x = x - x.mean(-1, keepdim=True)
        return (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()

    def writes(self, output: str, *, transposed: bool = False) -> Tensor:
        """What each head adds, by the peer's own output matrix."""
        weight = self.modules[output].weight
        by_head = (weight if transposed else weight.T).unflatten(0, (-1, self.spec.attention.d_head))
        return torch.einsum("bnhe,hed->bnhd", self.heads(self.inputs[output]), by_head)


Counterparts = Callable[[Seen, str], dict[str, Tensor]]


def gpt2_block(seen: Seen, at: str) -> dict[str, Tensor]:
    q, k, v = seen.outputs[f"{at}.attn.c_attn"].chunk(3, dim=-1)
    return {
        "ln1": seen.outputs[f"{at}.ln_1"],
        "ln1_scale": seen.scale(f"{at}.ln_1"),
        "q": seen.heads(q),
        "k": seen.heads(k),
        "v": seen.heads(v),
        "z": seen.heads(seen.inputs[f"{at}.attn.c_proj"]),
        "result": seen.writes(f"{at}.attn.c_proj", transposed=True),
        "attn_out": seen.outputs[f"{at}.attn"],
        "resid_mid": seen.inputs[f"{at}.ln_2"],
        "ln2": seen.outputs[f"{at}.ln_2"],
        "ln2_scale": seen.scale(f"{at}.ln_2"),
        "mlp_pre": seen.outputs[f"{at}.mlp.c_fc"],
        "mlp_post": seen.inputs[f"{at}.mlp.c_proj"],
        "mlp_out": seen.outputs[f"{at}.mlp"],
        "resid_post": seen.outputs[at],
    }


def neox_block(seen: Seen, at: str) -> dict[str, Tensor]:
    a = seen.spec.attention
    by_head = seen.outputs[f"{at}.attention.query_key_value"].unflatten(-1, (a.n_heads, 3, a.d_head))
    return {
        "ln1": seen.outputs[f"{at}.input_layernorm"],
        "ln1_scale": seen.scale(f"{at}.input_layernorm"),
        "q": by_head[..., 0, :],
        "k": by_head[..., 1, :],
        "v": by_head[..., 2, :],
        "z": seen.heads(seen.inputs[f"{at}.attention.dense"]),
        "result": seen.writes(f"{at}.attention.dense"),
        "attn_out": seen.outputs[f"{at}.attention"],
        "resid_mid": seen.inputs[f"{at}.post_attention_layernorm"],  # where blocks are sequential
        "ln2": seen.outputs[f"{at}.post_attention_layernorm"],
        "ln2_scale": seen.scale(f"{at}.post_attention_layernorm"),
        "mlp_pre": seen.outputs[f"{at}.mlp.dense_h_to_4h"],
        "mlp_post": seen.inputs[f"{at}.mlp.dense_4h_to_h"],
        "mlp_out": seen.outputs[f"{at}.mlp"],
        "resid_post": seen.outputs[at],
    }


def llama_block(seen: Seen, at: str) -> dict[str, Tensor]:
    def projected(part: str) -> Tensor:
        normed = seen.outputs.get(f"{at}.self_attn.{part}_norm")
        return seen.heads(seen.outputs[f"{at}.self_attn.{part}_proj"]) if normed is None else normed

    return {
        "ln1": seen.outputs[f"{at}.input_layernorm"],
        "ln1_scale": seen.scale(f"{at}.input_layernorm"),
        "q": projected("q"),
        "k": projected("k"),
        "v": projected("v"),
        "z": seen.heads(seen.inputs[f"{at}.self_attn.o_proj"]),
        "result": seen.writes(f"{at}.self_attn.o_proj"),
        "attn_out": seen.outputs[f"{at}.self_attn"],
        "resid_mid": seen.inputs[f"{at}.post_attention_layernorm"],
        "ln2": seen.outputs[f"{at}.post_attention_layernorm"],
        "ln2_scale": seen.scale(f"{at}.post_attention_layernorm"),
        "mlp_pre": seen.outputs[f"{at}.mlp.gate_proj"],
        "mlp_pre_linear": seen.outputs[f"{at}.mlp.up_proj"],
        "mlp_post": seen.inputs[f"{at}.mlp.down_proj"],
        "mlp_out": seen.outputs[f"{at}.mlp"],
        "resid_post": seen.outputs[at],
    }


def bert_block(seen: Seen, at: str) -> dict[str, Tensor]:
    first, second = f"{at}.attention.output", f"{at}.output"
    return {
        "q": seen.heads(seen.outputs[f"{at}.attention.self.query"]),
        "k": seen.heads(seen.outputs[f"{at}.attention.self.key"]),
        "v": seen.heads(seen.outputs[f"{at}.attention.self.value"]),
        "z": seen.heads(seen.inputs[f"{first}.dense"]),
        "result": seen.writes(f"{first}.dense"),
        "attn_out": seen.outputs[f"{first}.dense"],
        "resid_mid": seen.inputs[f"{first}.LayerNorm"],
        "ln1": seen.outputs[f"{first}.LayerNorm"],
        "ln1_scale": seen.scale(f"{first}.LayerNorm"),
        "mlp_pre": seen.outputs[f"{at}.intermediate.dense"],
        "mlp_post": seen.inputs[f"{second}.dense"],
        "mlp_out": seen.outputs[f"{second}.dense"],
        "resid_post": seen.inputs[f"{second}.LayerNorm"],
        "ln2": seen.outputs[at],
        "ln2_scale": seen.scale(f"{second}.LayerNorm"),
    }


def distilbert_block(seen: Seen, at: str) -> dict[str, Tensor]:
    return {
        "q": seen.heads(seen.outputs[f"{at}.attention.q_lin"]),
        "k": seen.heads(seen.outputs[f"{at}.attention.k_lin"]),
        "v": seen.heads(seen.outputs[f"{at}.attention.v_lin"]),
        "z": seen.heads(seen.inputs[f"{at}.attention.out_lin"]),
        "result": seen.writes(f"{at}.attention.out_lin"),
        "attn_out": seen.outputs[f"{at}.attention"],
        "resid_mid": seen.inputs[f"{at}.sa_layer_norm"],
        "ln1": seen.outputs[f"{at}.sa_layer_norm"],
        "ln1_scale": seen.scale(f"{at}.sa_layer_norm"),
        "mlp_pre": seen.outputs[f"{at}.ffn.lin1"],
        "mlp_post": seen.inputs[f"{at}.ffn.lin2"],
        "mlp_out": seen.outputs[f"{at}.ffn"],
        "resid_post": seen.inputs[f"{at}.output_layer_norm"],
        "ln2": seen.outputs[at],
        "ln2_scale": seen.scale(f"{at}.output_layer_norm"),
    }


# family: (its blocks, a block's counterparts, modules that give out the sites outside the blocks)
PEERS: dict[str, tuple[str, Counterparts, dict[str, str]]] = {
    "gpt2": ("h.{}", gpt2_block, {"embed": "wte", "pos_embed": "wpe", "ln_final": "ln_f"}),
    "gpt_neox": ("layers.{}", neox_block, {"embed": "embed_in", "ln_final": "final_layer_norm"}),
    "llama": ("layers.{}", llama_block, {"embed": "embed_tokens", "ln_final": "norm"}),
    "bert": (
        "encoder.layer.{}",
        bert_block,
        {
            "embed": "embeddings.word_embeddings",
            "pos_embed": "embeddings.position_embeddings",
            "type_embed": "embeddings.token_type_embeddings",
        },
    ),
    "distilbert": (
        "transformer.layer.{}",
        distilbert_block,
        {"embed": "embeddings.word_embeddings", "pos_embed": "embeddings.position_embeddings"},
    ),
}


def watch(peer: Any, tokens: Tensor, present: Tensor, spec: Spec, patch: pytest.MonkeyPatch) -> Seen:
    """Run the peer once, with its pieces watched."""
    seen = Seen(spec, modules=dict(peer.base_model.named_modules()))

    def hook(name: str) -> Callable[..., None]:
        def keep(module: Any, args: tuple[Any, ...], out: Any) -> None:
            if args and isinstance(args[0], Tensor):
                seen.inputs[name] = args[0]
            seen.outputs[name] = out[0] if isinstance(out, tuple) else out

        return keep

    for name, module in seen.modules.items():
        module.register_forward_hook(hook(name))

    code = importlib.import_module(type(peer).__module__)
    if hasattr(code, "apply_rotary_pos_emb"):
        rotate = code.apply_rotary_pos_emb

        def watched_rotation(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            q, k = rotate(*args, **kwargs)
            seen.rotated.append((q.transpose(1, 2), k.transpose(1, 2)))
            return q, k

        patch.setattr(code, "apply_rotary_pos_emb", watched_rotation)
    with torch.no_grad(), exact(peer):
        softmax = F.softmax

        def watched_softmax(x: Tensor, **kwargs: Any) -> Tensor:
            seen.scores.append(x)
            return softmax(x, **kwargs)

        patch.setattr(F, "softmax", watched_softmax)
        output = peer(tokens, attention_mask=present.long(), output_attentions=True)
        patch.undo()
        seen.patterns = output.attentions
        seen.outputs["logits"] = answer(peer, tokens, attention_mask=present.long())
    return seen


def counterparts(seen: Seen, family: str) -> dict[Site, Tensor]:
    blocks, block, outer = PEERS[family]
    found: dict[Site, Tensor] = {}
    for layer in range(seen.spec.n_layers):
        at = blocks.format(layer)
        here = block(seen, at)
        here |= {"resid_pre": seen.inputs[at], "pattern": seen.patterns[layer], "scores": seen.scores[layer]}
        if seen.rotated:
            here["rot_q"], here["rot_k"] = seen.rotated[layer]
        found |= {Site(kind, layer): value for kind, value in here.items()}
    found |= {Site(kind): seen.outputs[name] for kind, name in outer.items()}
    if "ln_final" in outer:
        found[Site("ln_final_scale")] = seen.scale(outer["ln_final"])
    return found | {Site("logits"): seen.outputs["logits"]}


@pytest.mark.parametrize("name", CASES)
def test_every_site_agrees_to_1e_9(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = peer_of(name)
    ours = ours_of(peer)
    tokens, present = batch()
    seen = watch(peer, tokens, present, ours.spec, monkeypatch)
    tap = Recorder()
    with torch.no_grad():
        ours(tokens, present=present, tap=tap)
    theirs = counterparts(seen, family_of(peer.config.to_dict()).name)
    for site in sites_of(ours.spec):
        mine, their = tap.seen[site], theirs[site]  # no site of ours is without a counterpart
        assert mine.shape[1:] == their.shape[1:], site
        their = their.expand_as(mine)
        if site.axes[-1] == "key":
            # A padded query's row means nothing; a hidden pair is -inf with us and -1.8e308 there.
            mine, their = mine.transpose(1, 2)[present], their.transpose(1, 2)[present]
            if site.kind == "scores":
                assert torch.equal(mine == -torch.inf, their < -1e300), site
                mine, their = mine.clamp(min=-1e300), their.clamp(min=-1e300)
        else:
            mine, their = mine[present], their[present]
        assert (mine - their).abs().max() < 1e-9, site
