"""Attribution by token: against LRP written out by hand, brute force, and what must hold."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny
from torch import Tensor
from vision_peers import close

import llm_workings as lw
from llm_workings.attribution.tokens.gradient import gradient_norm, gradient_x_input, integrated_gradients
from llm_workings.attribution.tokens.mixing import attention_rollout, value_zeroing
from llm_workings.attribution.tokens.question import Answer
from llm_workings.attribution.tokens.relevance import attn_lrp, cp_lrp
from llm_workings.attribution.tokens.removal import leave_one_out
from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.models import spec as sp
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.tokens import from_vocabulary
from llm_workings.models.transformer import Transformer
from llm_workings.trace.edits import Edit, Where, Zero
from llm_workings.trace.model import LanguageModel

TEXT = "a b c d e"
MASKED = "a b <mask> d e"
KINDS = {"gpt2": TEXT, "llama": TEXT, "neox": TEXT, "attention_only": TEXT, "bert": MASKED}
ANSWERS = {
    "logit": Answer("x"),
    "difference": Answer("x", "y"),
    "probability": Answer("x", kind="probability"),
    "elsewhere": Answer("x", "y", position=1),
}


def without_biases(kind: str) -> LanguageModel:
    model = tiny(kind)
    with torch.no_grad():
        for name, weight in model.transformer.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
    return model


# ---- LRP, written out ------------------------------------------------------------------------------


def test_two_tokens_by_hand() -> None:
    """One head, W = 1 everywhere: pattern (p, 1 - p) = softmax(0, 1/√2), so the logit of "a" at "b" is p.

    All of it is moved from "a": p · v. AttnLRP gives half to v, p/2, and half to the pattern. Through the
    softmax "a", whose score is 0, has 0, and "b" has (1/√2)(0 - (1 - p) p/2), half as query and half as key.
    """
    spec = sp.Spec(
        vocab_size=2,
        n_ctx=4,
        d_model=2,
        n_layers=1,
        attention=sp.Attention(1, 1, 2),
        mlp=sp.NoMLP(),
        norm=sp.NoNorm(),
        positions=sp.NoPositions(),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(),
    )
    transformer, one = Transformer(spec).double(), torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        transformer.embed.weight.copy_(one)
        transformer.blocks[0].attention.input.weight.copy_(torch.cat((one, one, one)))  # type: ignore[union-attr]
        transformer.blocks[0].attention.output.weight.copy_(one)  # type: ignore[union-attr]
    model = LanguageModel(transformer, from_vocabulary(["a", "b"], separator=" "), "by hand")
    p = 1 / (1 + math.exp(math.sqrt(0.5)))
    assert p == pytest.approx(0.33024, abs=1e-5)
    attn, cp = attn_lrp(model, "a b", "a"), cp_lrp(model, "a b", "a")
    assert attn.score == pytest.approx(p, abs=1e-12)
    assert attn.values.tolist() == pytest.approx([p / 2, -math.sqrt(0.5) * (1 - p) * p / 2], abs=1e-12)
    assert cp.values.tolist() == pytest.approx([p, 0], abs=1e-12)


def written_out(model: LanguageModel, target: int, *, constant_pattern: bool) -> Tensor:
    """LRP of a Llama-like model at its last position, layer by layer, from its weights; `[position]`.

    No gradient is taken: each rule is its formula. R is kept elementwise; a linear layer's is
    R_j = x_j Σ_k w_kj R_k / z_k.
    """
    spec, net = model.spec, model.transformer
    a, n = spec.attention, len(TEXT.split())
    group = a.n_heads // a.n_key_value_heads
    rotation = net.rotation(torch.arange(n), torch.float64)
    assert rotation is not None

    def rms(x: Tensor, norm: Any) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + norm.kind.eps).sqrt() * norm.weight

    def back(x: Tensor, weight: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        return x * ((relevance / z) @ weight)

    def unrotated(x: Tensor, rotated: Tensor, relevance: Tensor) -> Tensor:
        first, second = (relevance / rotated * rotation.cos[:, None]).chunk(2, -1)
        sin_first, sin_second = (relevance / rotated * rotation.sin[:, None]).chunk(2, -1)
        return x * torch.cat((first + sin_second, second - sin_first), -1)

    x = net.embed.weight[model.tokens(TEXT)]
    kept = []
    with torch.no_grad():
        for block in net.blocks:
            attention, mlp = block.attention, block.mlp
            h = rms(x, block.ln1)
            q, k, v = (
                part.unflatten(-1, (-1, a.d_head))
                for part in (h @ attention.input.weight.T).split(attention.widths, -1)
            )
            q0, k0 = q, k
            if a.query_key_norm is not None:
                q, k = rms(q, attention.query_norm), rms(k, attention.key_norm)
            rq, rk = rotation.apply_to(q), rotation.apply_to(k)
            kk, vv = rk.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = torch.einsum("ihe,jhe->hij", rq, kk) / a.d_head**0.5
            pattern = scores.masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -torch.inf).softmax(-1)
            z = torch.einsum("hij,jhe->ihe", pattern, vv)
            out = z.flatten(1) @ attention.output.weight.T
            mid = x + out
            h2 = rms(mid, block.ln2)
            gate, up = h2 @ mlp.gate.weight.T, h2 @ mlp.input.weight.T
            post = F.silu(gate) * up
            out2 = post @ mlp.output.weight.T
            kept.append(
                (x, h, q0, k0, q, k, rq, rk, v, scores, pattern, z, out, mid, h2, gate, up, post, out2)
            )
            x = mid + out2
        relevance = torch.zeros_like(x)
        relevance[-1] = (
            rms(x, net.final_norm)[-1] * net.unembed.weight[target]
        )  # the norm: R stays where it is
        for block, values in zip(reversed(net.blocks), reversed(kept), strict=True):
            x, h, q0, k0, q, k, rq, rk, v, scores, pattern, z, out, mid, h2, gate, up, post, out2 = values
            attention, mlp = block.attention, block.mlp
            leaving = mid + out2
            r_post = back(post, mlp.output.weight, out2, relevance * out2 / leaving)
            r_up, r_gate = (r_post, 0 * r_post) if constant_pattern else (r_post / 2, r_post / 2)
            r_mid = relevance * mid / leaving
            r_mid = r_mid + back(h2, mlp.input.weight, up, r_up) + back(h2, mlp.gate.weight, gate, r_gate)
            r_z = back(z.flatten(1), attention.output.weight, out, r_mid * out / mid).unflatten(
                -1, z.shape[1:]
            )
            vv, kk = v.repeat_interleave(group, 1), rk.repeat_interleave(group, 1)
            share = 1.0 if constant_pattern else 0.5
            r_v = share * vv * torch.einsum("hij,ihe->jhe", pattern, r_z / z)
            r_v = r_v.unflatten(1, (-1, group)).sum(2)
            r_q, r_k = torch.zeros_like(q0), torch.zeros_like(k0)
            if not constant_pattern:
                r_pattern = 0.5 * pattern * torch.einsum("ihe,jhe->hij", r_z / z, vv)
                over_score = r_pattern - pattern * r_pattern.sum(
                    -1, keepdim=True
                )  # R of a score, over the score
                r_rq = 0.5 * rq * torch.einsum("hij,jhe->ihe", over_score, kk) / a.d_head**0.5
                r_rk = 0.5 * kk * torch.einsum("hij,ihe->jhe", over_score, rq) / a.d_head**0.5
                r_q = unrotated(q, rq, r_rq)
                r_k = unrotated(k, rk, r_rk.unflatten(1, (-1, group)).sum(2))
            r_projected = torch.cat((r_q.flatten(1), r_k.flatten(1), r_v.flatten(1)), -1)
            projected = torch.cat((q0.flatten(1), k0.flatten(1), v.flatten(1)), -1)
            relevance = r_mid * x / mid + back(h, attention.input.weight, projected, r_projected)
    return relevance.sum(-1)


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("constant_pattern", [False, True])
def test_lrp_is_its_rules_written_out(constant_pattern: bool, normed: bool) -> None:
    heads = sp.Attention(4, 2, 6, query_key_norm=sp.RMSNorm() if normed else None)
    model = tiny("llama", attention=heads)
    found = (cp_lrp if constant_pattern else attn_lrp)(model, TEXT, "x")
    close(found.values, written_out(model, model.token("x"), constant_pattern=constant_pattern), 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["logit", "difference"])
def test_without_biases_cp_lrp_adds_up_to_the_score(kind: str, name: str) -> None:
    model = without_biases(kind)
    found = cp_lrp(model, KINDS[kind], ANSWERS[name])
    assert found.error == pytest.approx(0, abs=1e-10)
    assert found.expected == pytest.approx(found.score, abs=1e-10)
    assert abs(attn_lrp(model, KINDS[kind], ANSWERS[name]).sum - found.score) > 1e-6  # the softmax's own part


@pytest.mark.parametrize("kind", KINDS)
def test_biases_take_their_part_of_the_relevance(kind: str) -> None:
    model = tiny(kind)
    biased = any(name.endswith("bias") for name, _ in model.transformer.named_parameters())
    error = cp_lrp(model, KINDS[kind], "x").error
    assert error is not None
    assert (abs(error) > 1e-6) == biased


# ---- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ANSWERS)
def test_gradients_are_those_of_a_run(kind: str, name: str) -> None:
    model, text, answer = tiny(kind), KINDS[kind], ANSWERS[name]
    place = answer.position if answer.position is not None else (2 if kind == "bert" else -1)

    def value(run: Any) -> Tensor:
        scores = run.logits[0, place]
        if answer.kind == "probability":
            return scores.softmax(-1)[model.token("x")]
        wrong = 0 if answer.wrong is None else scores[model.token("y")]
        return scores[model.token("x")] - wrong

    run = model.run(text, keep=["embed"], grad=value)
    found = gradient_x_input(model, text, answer)
    close(found.values, (run.grad["embed"] * run["embed"])[0].sum(-1))
    close(gradient_norm(model, text, answer).values, run.grad["embed"][0].norm(dim=-1))
    assert found.score == pytest.approx(float(value(run)))
    assert found.tokens == tuple(text.split())
    for lrp in (attn_lrp, cp_lrp):
        assert lrp(model, text, answer).score == pytest.approx(found.score)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_integrated_gradients_add_up(kind: str) -> None:
    model, text = tiny(kind), KINDS[kind]
    mean = model.transformer.embed.weight.mean(0)
    for baseline in (None, "z", mean):
        found = integrated_gradients(model, text, ANSWERS["difference"], points=400, baseline=baseline)
        assert found.error is not None
        assert abs(found.error) < 0.02 * abs(found.expected or 0)
    coarse = integrated_gradients(model, text, ANSWERS["difference"], points=2)
    assert coarse.error is not None
    assert ("not converged" in "".join(coarse.notes)) == (abs(coarse.error) > abs(coarse.expected or 0) / 20)
    same = integrated_gradients(tiny("llama"), "z z", Answer("x"), baseline="z")
    assert same.values.abs().max() == 0
    assert "zero everywhere" in same.notes[0]


# ---- leaving out, and mixing -----------------------------------------------------------------------


def score(model: LanguageModel, text: str, place: int) -> float:
    return float(model.run(text).logits[0, place, model.token("x")])


@pytest.mark.parametrize("kind", KINDS)
def test_leave_one_out_is_a_run_without_each_token(kind: str) -> None:
    model, text = tiny(kind), KINDS[kind]
    words, place = text.split(), 2 if kind == "bert" else 4
    whole = score(model, text, place)
    found = leave_one_out(model, text, "x", how="token", token="z")
    for at in range(5):
        other = " ".join("z" if at == i else word for i, word in enumerate(words))
        assert float(found.values[at]) == pytest.approx(whole - score(model, other, place), abs=1e-10)
    found = leave_one_out(model, text, "x", how="delete")
    for at in range(5):
        shorter = " ".join(word for i, word in enumerate(words) if i != at)
        moved = place - (at <= place)
        assert float(found.values[at]) == pytest.approx(whole - score(model, shorter, moved), abs=1e-10)
    found = leave_one_out(model, text, "x", how="zero")
    for at in range(5):
        run = model.run(text, edits=Edit("embed", Where(positions=at), Zero()))
        lost = whole - float(run.logits[0, place, model.token("x")])
        assert float(found.values[at]) == pytest.approx(lost, abs=1e-10)
    assert leave_one_out(model, text, "x").values.abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_value_zeroing_is_an_edit_of_each_value(kind: str) -> None:
    model, text = tiny(kind), KINDS[kind]
    found = value_zeroing(model, text)
    leaving = "ln2" if kind == "bert" else "resid_post"
    base = model.run(text, keep=[f"{leaving}.*"], resumable=True)
    for layer in range(3):
        turned = torch.zeros(5, 5, dtype=torch.float64)
        for at in range(5):
            edit = Edit(f"v.{layer}", Where(positions=at), Zero())
            run = model.run(
                resume=base.at(layer), keep=[f"{leaving}.{layer}"], edits=edit, stop=layer + 1, logits=False
            )
            turned[:, at] = 1 - torch.cosine_similarity(
                run[leaving, layer][0], base[leaving, layer][0], dim=-1
            )
        close(found.layers[layer], turned / turned.sum(-1, keepdim=True), 1e-6)
    close(found.whole[-1], found.layers[2] @ found.layers[1] @ found.layers[0])
    close(found.of(1).sum(), torch.tensor(1.0).double())


def test_attention_rollout_is_the_product_of_mean_patterns() -> None:
    model = tiny("llama")
    run = model.run(TEXT, keep=["pattern.*"])
    whole = torch.eye(5, dtype=torch.float64)
    for layer in range(3):
        whole = (run["pattern", layer][0].mean(0) + torch.eye(5)) / 2 @ whole
    close(attention_rollout(model, TEXT).whole[-1], whole)
    assert attention_rollout(model, TEXT).tokens == tuple(TEXT.split())


# ---- what a user does wrong ------------------------------------------------------------------------


def test_questions_that_cannot_be_answered() -> None:
    model = tiny("llama")
    with pytest.raises(BadInput, match="2 were given"):
        attn_lrp(model, [TEXT, TEXT], "x")
    with pytest.raises(BadInput, match="no position 5: the text has 5 tokens"):
        attn_lrp(model, TEXT, Answer("x", position=5))
    with pytest.raises(BadInput, match="same token"):
        cp_lrp(model, TEXT, Answer("x", "x"))
    with pytest.raises(BadInput, match="A probability is of one token"):
        gradient_x_input(model, TEXT, Answer("x", "y", kind="probability"))
    with pytest.raises(BadInput, match="the text has 0"):
        attn_lrp(tiny("bert"), TEXT, "x")
    with pytest.raises(NotSupported, match="has no head"):
        attn_lrp(tiny("encoder"), TEXT, "x")
    with pytest.raises(UnknownName, match="Did you mean 'delete'"):
        leave_one_out(model, TEXT, "x", how="deleted")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="how='token'"):
        leave_one_out(model, TEXT, "x", how="token")
    with pytest.raises(BadInput, match="one token long"):
        leave_one_out(model, "a", "x", how="delete")
    assert all(weight.requires_grad for weight in model.transformer.parameters())


# ---- a real model ----------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.skipif(not WHEELS["smollm2-135m"].wheel.is_here(), reason="SmolLM2 is not in the cache")
def test_three_methods_name_the_token_that_leaving_out_names() -> None:
    model = lw.load("smollm2-135m")
    asked = model, "When Mary and John went to the store, John gave a drink to", Answer(" Mary", " John")
    removed = leave_one_out(*asked)
    assert removed.score == pytest.approx(6.12, abs=0.01)
    assert removed.strongest(1)[0][:2] == (1, " Mary")
    for method in (attn_lrp, cp_lrp, gradient_x_input):
        assert method(*asked).strongest(1)[0][:2] == (1, " Mary")
    cp = cp_lrp(*asked)
    assert cp.error == pytest.approx(0, abs=1e-3)
    assert float(cp.values[1]) > 0
    assert float(attn_lrp(*asked).values[1]) > 0
