"""Direct logit attribution: its terms add up to the logit in every family, and each is what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import CAUSAL, tiny

from llm_workings.causal.base import Base
from llm_workings.causal.direct_attribution import DirectAttribution, attribute
from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.models import spec as sp
from llm_workings.models.catalogue import WHEELS
from llm_workings.trace.edits import Edit, Replace, Where

TEXT = "a b c d b f g h"
LEVELS = ["part", "head", "source", "neuron", "term"]
# Beside the kinds of tiny_models: what a family may have that they do not.
MORE = {
    "pythia": ("neox", {"head": sp.NextTokenHead(tied=False)}),
    "head_bias": ("gpt2", {"head": sp.NextTokenHead(tied=False, bias=True)}),
    "qwen": ("llama", {"attention": sp.Attention(4, 2, 6, input_bias=True, query_key_norm=sp.RMSNorm())}),
    "normed_embedding": ("gpt2", {"norm_embedding": True}),
    "typed": ("gpt2", {"n_token_types": 2}),
    "normed_attention_only": ("attention_only", {"norm": sp.LayerNorm()}),
    "both_ways": ("llama", {"attention": sp.Attention(4, 2, 6, causal=False)}),
}


def made(kind: str, position: int = -1, **asked: Any) -> DirectAttribution:
    name, changes = MORE.get(kind, (kind, {}))
    asked = {"right": "b", "wrong": "k", **asked}
    return attribute(tiny(name, **changes), TEXT, position=position, **asked)


# ---- sums ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", LEVELS)
@pytest.mark.parametrize("kind", [*CAUSAL, *MORE])
def test_the_terms_add_up_to_the_logit(kind: str, by: Any) -> None:
    for asked in ({}, {"wrong": ()}, {"position": 3, "right": ["b", "c"]}, {"position": 0}):
        found = made(kind, **asked)
        terms = found.terms(by)
        assert abs(terms.error) < 1e-10
        assert terms.total == pytest.approx(found.logit, abs=1e-10)
        assert abs(found.logit) > 1e-3
        assert len(set(terms.names)) == len(terms)
        if found.base.spec.n_layers == 3 and by != "part" and isinstance(found.base.spec.mlp, sp.PlainMLP):
            assert len(terms) > len(found.terms("part"))


@pytest.mark.parametrize("kind", [*CAUSAL, *MORE])
def test_the_logit_is_the_models_own(kind: str) -> None:
    found = made(kind, position=4)
    model = found.base.model
    logits = model.run(TEXT).logits[0, 4]
    assert found.logit == float(logits[model.token("b")] - logits[model.token("k")])


@pytest.mark.parametrize("kind", [*CAUSAL, *MORE])
def test_the_accumulated_sums_read_the_stream_at_its_stops(kind: str) -> None:
    found = made(kind, position=5)
    names, sums = found.terms().names, found.accumulated
    stops = {0: next(i for i, name in enumerate(names) if name == "attention.0") - 1}
    stops |= {i + 1: max(at for at, name in enumerate(names) if name.endswith(f".{i}")) for i in range(3)}
    for stop, at in stops.items():
        stream = found.base.stream[stop][5]
        assert float(sums[at]) == pytest.approx(float(stream @ found.reader), abs=1e-10)
    assert float(sums[-1]) == pytest.approx(found.logit, abs=1e-10)


def test_the_levels_refine_each_other() -> None:
    found = made("gpt2")
    for layer in range(3):
        heads = [found.term(f"head.{layer}.{h}") for h in range(4)]
        whole = sum(heads) + found.term(f"attention_bias.{layer}")
        assert whole == pytest.approx(found.term(f"attention.{layer}"), abs=1e-10)
        for head in range(4):
            sources = [found.term(f"source.{layer}.{head}.{k}") for k in range(8)]
            whole = sum(sources) + found.term(f"value_bias.{layer}.{head}")
            assert whole == pytest.approx(heads[head], abs=1e-10)
            assert found.by_source[layer, head].tolist() == sources
        neurons = found.by_neuron[layer].sum() + found.term(f"mlp_bias.{layer}")
        assert float(neurons) == pytest.approx(found.term(f"mlp.{layer}"), abs=1e-10)
    assert torch.allclose(found.by_position, found.by_source.sum((0, 1)))
    assert [k for k, _, _ in found.by_token(1, 2)] == found.by_source[1, 2].abs().argsort(
        descending=True
    ).tolist()
    assert {piece for k, piece, _ in found.by_token(1, 2) if k in (1, 4)} == {"b"}


# ---- what a term is ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "both_ways"])
def test_terms_are_what_the_sites_say(kind: str) -> None:
    found = made(kind, position=6)
    model, r = found.base.model, found.reader
    run = model.run(TEXT, keep=["result.1", "mlp_out.2", "attn_out.0", "pattern.1", "v.1"])
    assert torch.allclose(found.by_head[1], run["result", 1][0, 6] @ r, atol=1e-10)
    assert found.term("mlp.2") == pytest.approx(float(run["mlp_out", 2][0, 6] @ r), abs=1e-10)
    assert found.term("attention.0") == pytest.approx(float(run["attn_out", 0][0, 6] @ r), abs=1e-10)
    v = run["v", 1][0, 2].repeat_interleave(4 // run["v", 1].shape[2], 0)[3]
    attention = found.base.block(1).attention
    if attention.input.bias is not None:  # stands apart
        bias = attention.input.bias.detach()[-6:]
        v = v - bias
        through = float(bias @ attention.w_o[3].detach() @ r)
        assert found.term("value_bias.1.3") == pytest.approx(through, abs=1e-10)
    moved = run["pattern", 1][0, 3, 6, 2] * v @ attention.w_o[3].detach()
    assert found.term("source.1.3.2") == pytest.approx(float(moved @ r), abs=1e-10)


def test_without_a_norm_a_last_part_taken_out_takes_its_term_with_it() -> None:
    """Nothing reads the last layer but the unembedding: there the direct effect is the whole effect."""
    model = tiny("attention_only")
    found = attribute(model, TEXT, right="b", wrong="k")
    for head in range(4):
        run = model.run(TEXT, edits=Edit("z.2", Where(heads=head), Replace(0.0)))
        left = float(run.last_logits[0, model.token("b")] - run.last_logits[0, model.token("k")])
        assert found.logit - left == pytest.approx(found.term(f"head.2.{head}"), abs=1e-10)


def test_with_the_divisor_held_a_term_is_the_effect_of_its_write() -> None:
    """Taking the last MLP's write out while the norm's divisor stays moves the logit by the term."""
    model = tiny("gpt2")
    found = attribute(model, TEXT, right="b", wrong="k")
    assert "LayerNorm" in found.norm
    edits = [Edit("mlp_out.2", how=Replace(0.0)), Edit("ln_final_scale", how=Replace(found.scale))]
    logits = model.run(TEXT, edits=edits, logits="last").last_logits[0]
    left = float(logits[model.token("b")] - logits[model.token("k")])
    assert found.logit - left == pytest.approx(found.term("mlp.2"), abs=1e-10)


def test_induction_heads_copy_from_behind_the_earlier_letter() -> None:
    """In the packaged toy the answer is written by layer 1, from the token after the earlier "z"."""
    import llm_workings as lw

    found = attribute(lw.load("induction-2l"), "qxzvkm a.b qxz", right="v", wrong="k")
    assert abs(found.error) < 1e-5
    assert float(found.by_head[1].sum()) > 0.9 * found.logit
    assert found.pieces[4] == "v"
    assert float(found.by_source[1, :, 4].min()) > 1
    assert float(found.by_source[1, :, :4].abs().max()) < 0.2
    assert int(found.by_position.argmax()) == 4


def test_the_first_position_sees_only_itself() -> None:
    found = made("llama", position=0)
    assert found.pieces == ["a"]
    assert found.by_source.shape == (3, 4, 1)
    assert torch.allclose(found.by_source[..., 0], found.by_head, atol=1e-12)


def test_a_text_already_run_and_its_words() -> None:
    base = Base(tiny("llama"), TEXT)
    found = attribute(base, right="b", wrong="k")
    assert found.total == made("llama").total
    assert found.name == "logit difference 'b' − 'k'"
    assert "error" in repr(found)
    assert found.terms("head").strongest(1)[0][0] in repr(found)
    assert f"{found.logit:+.4f}" in repr(found.terms())
    assert dict(found.terms())["embed"] == found.terms()["embed"]


# ---- what cannot be -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["bert", "encoder"])
def test_a_post_norm_model_is_refused_with_the_reason(kind: str) -> None:
    with pytest.raises(NotSupported, match=r"post-norm.*no sum of the parts"):
        attribute(tiny(kind), "a b c", right="b")


def test_a_head_with_an_activation_is_refused() -> None:
    model = tiny("llama", head=sp.MaskedTokenHead("gelu", 1e-12))
    with pytest.raises(NotSupported, match="not linear"):
        attribute(model, "a b c", right="b")


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"right": "b", "wrong": "b"}, BadInput, "the same token"),
        ({"right": []}, BadInput, "no answer"),
        ({"right": 400}, BadInput, "no token 400"),
        ({"right": "a b"}, BadInput, "token"),
        ({"right": "b", "position": 8}, BadInput, "positions 0 to 7"),
    ],
)
def test_what_cannot_be_attributed(asked: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        attribute(tiny("llama"), TEXT, **asked)


def test_a_term_that_is_not_there() -> None:
    found = made("gpt2")
    with pytest.raises(UnknownName, match=r"Did you mean 'head\.2\.3'"):
        found.term("head.2.13")
    with pytest.raises(UnknownName, match="attention"):
        found.term("attn.2")
    with pytest.raises(UnknownName, match="Did you mean 'source'"):
        found.terms("sources")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="heads 0 to 3"):
        found.by_token(0, 4)
    with pytest.raises(BadInput, match="attention only"):
        _ = made("attention_only").by_neuron
    with pytest.raises(BadInput, match="of one text already"):
        attribute(found.base, TEXT, right="b")


# ---- the real model -------------------------------------------------------------------------------------
@pytest.mark.real
def test_the_sum_is_the_logit_difference_of_a_real_model() -> None:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    import llm_workings as lw

    model = lw.load("smollm2-135m")
    text = "When Mary and John went to the store, John gave a drink to"
    found = attribute(model, text, right=" Mary", wrong=" John")
    assert found.logit > 1
    for by in LEVELS:
        assert abs(found.terms(by).error) < 1e-3  # type: ignore[arg-type]
    # Layer 23 decides: one head reads the repeated name and speaks against it, three carry the other over.
    assert found.terms("head").strongest(1)[0][0] == "head.23.3"
    assert found.by_token(23, 3)[0][:2] == (9, " John")
    for head in (0, 1, 7):
        position, _, share = found.by_token(23, head)[0]
        assert position == 1  # " Mary"
        assert share > 0.5
