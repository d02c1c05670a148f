"""What a head writes, copies and looks for, and two texts side by side, each beside plain products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import small_lab
from tiny_models import CAUSAL, tiny

import llm_workings as lw
from llm_workings.causal import head_circuits as circuits
from llm_workings.causal.direct_attribution import attribute
from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.wire import pack, unpack
from llm_workings.export import of_attention
from llm_workings.export.recorder import Recorder
from llm_workings.models import spec as sp
from llm_workings.models.catalogue import DEFAULT_MODEL, WHEELS
from llm_workings.models.sites import stream_of
from llm_workings.models.transformer import UNTAPPED
from llm_workings.trace.edits import ablate_head
from llm_workings.views import REGISTRY
from llm_workings.views.attention import Attention
from llm_workings.views.head import Head, HeadRow
from llm_workings.views.head_circuits import HeadCircuits
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the cat and the"
SECOND = "the cat sat on the dog and the"
MASKED = "the [MASK] sat on the mat"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return small_lab()


def ask(lab: Lab, view: str, prompt: str = TEXT, model: str = "causal", **request: Any) -> Any:
    return REGISTRY[view].run(lab, {"prompt": prompt, "model": model, **request})


# --- the circuits, in float64 ---------------------------------------------------------------------
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_write_through_the_unembedding_is_its_direct_attribution(kind: str) -> None:
    model = tiny(kind)
    text, position, layer, head = "a b c d e f", 4, 1, 2
    direct = attribute(model, text, right="b", wrong="g", position=position)
    run = model.run(text, keep=["pattern.1", "v.1", str(stream_of(model.spec)[-1])])
    pattern, values = (
        run["pattern", layer][0, head, position, : position + 1],
        run["v", layer][0, : position + 1],
    )
    written = circuits.writes(model, layer, head, pattern, values)
    reader = circuits.reader(model, run[stream_of(model.spec)[-1]][0, position])
    row = reader.of(model.token("b"), model.token("g"))
    assert float(written.sum(0) @ row) == pytest.approx(float(direct.by_head[layer, head]), abs=1e-10)
    constant = float(direct.value_bias[layer, head])  # here each source has its part of it
    by_source = (written @ row).numpy()
    wanted = direct.by_source[layer, head].numpy() + pattern.numpy() * constant
    np.testing.assert_allclose(by_source, wanted, atol=1e-10)
    assert reader.scale == pytest.approx(direct.scale, abs=1e-12)
    every = reader.shares(written.sum(0))
    assert float(every[model.token("b")] - every[model.token("g")]) == pytest.approx(
        float(direct.by_head[layer, head]), abs=1e-10
    )


@pytest.mark.parametrize("kind", CAUSAL)
def test_ov_and_qk_are_the_products_of_the_heads_matrices(kind: str) -> None:
    model = tiny(kind)
    layer, head = 1, 3
    group = head // (4 // model.spec.attention.n_key_value_heads)
    tokens = torch.arange(7)
    reads = circuits.reads_of(model, layer, "first_mlp")
    assert reads == ("embedding" if kind == "attention_only" else "first_mlp")
    x = circuits.states(model, tokens, reads)
    weights = {name: value.detach() for name, value in model.transformer.named_parameters()}
    embedded = weights["embed.weight"][tokens]
    if reads == "first_mlp":
        mlp = model.transformer.blocks[0].mlp
        added = mlp(normed(model, embedded, "blocks.0.ln2"), UNTAPPED, 0)
        np.testing.assert_allclose((x - embedded).detach(), added.detach(), atol=1e-12)
    e = model.spec.attention.d_head
    stacked = weights[f"blocks.{layer}.attention.input.weight"].split(
        model.transformer.blocks[layer].attention.widths
    )
    w_q = stacked[0][head * e : (head + 1) * e]
    w_k, w_v = (part[group * e : (group + 1) * e] for part in stacked[1:])
    w_o = weights[f"blocks.{layer}.attention.output.weight"][:, head * e : (head + 1) * e]
    name = f"blocks.{layer}.ln1"
    shift = weights.get(f"{name}.bias", torch.zeros(()))
    written = (normed(model, x, name) - shift) @ w_v.T @ w_o.T
    if isinstance(model.spec.norm, sp.LayerNorm):
        written = written - written.mean(-1, keepdim=True)
    gain = weights.get("final_norm.weight", torch.ones(()))
    wanted = (written * gain) @ model.transformer.unembed.weight.T
    np.testing.assert_allclose(circuits.ov(model, layer, head, x), wanted.detach(), atol=1e-10)

    biases = [torch.zeros(e, dtype=torch.float64)] * 2
    if f"blocks.{layer}.attention.input.bias" in weights:
        parts = weights[f"blocks.{layer}.attention.input.bias"].split(
            model.transformer.blocks[layer].attention.widths
        )
        biases = [parts[0][head * e : (head + 1) * e], parts[1][group * e : (group + 1) * e]]
    q = normed(model, x[:2], name) @ w_q.T + biases[0]
    k = normed(model, x, name) @ w_k.T + biases[1]
    np.testing.assert_allclose(
        circuits.qk(model, layer, head, x[:2], x), (q @ k.T / e**0.5).detach(), atol=1e-10
    )


def normed(model: lw.LanguageModel, x: torch.Tensor, name: str) -> torch.Tensor:
    """A norm by its formula."""
    kind = model.spec.norm
    if isinstance(kind, sp.NoNorm):
        return x
    weights = dict(model.transformer.named_parameters())
    if isinstance(kind, sp.LayerNorm):
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.pow(2).mean(-1, keepdim=True) + kind.eps).sqrt() * weights[f"{name}.weight"]
    return x + weights[f"{name}.bias"] if isinstance(kind, sp.LayerNorm) else x


def test_a_layer_0_head_without_positions_scores_as_its_qk_says() -> None:
    """Where nothing stands in the stream but embeddings, and nothing is rotated, QK is the run's score."""
    model = tiny("attention_only", positions=sp.NoPositions())
    run = model.run("a b c d", keep="scores.0")
    ids = torch.tensor(run.tokens[0].tolist())
    x = circuits.states(model, ids, "embedding")
    scores = run["scores", 0][0, 2].tril().numpy()
    np.testing.assert_allclose(circuits.qk(model, 0, 2, x, x).tril(), scores.clip(-1e9), atol=1e-12)


def test_a_copying_score_counts_own_tokens_among_the_raised_and_lowered() -> None:
    model = tiny("llama")
    score = circuits.copying(model, 1, 0, k=3)
    tokens = circuits.drawn(model)
    assert [model.tokenizer.is_special(int(token)) for token in tokens] == [False] * 26
    logits = circuits.ov(model, 1, 0, circuits.states(model, tokens, "first_mlp"))
    order = logits.argsort(-1, descending=True)
    assert score.copied == np.mean([t in order[i, :3] for i, t in enumerate(tokens.tolist())])
    assert score.suppressed == np.mean([t in order[i, -3:] for i, t in enumerate(tokens.tolist())])
    assert (score.sample, score.whole, score.k) == (26, True, 3)
    fewer = circuits.copying(model, 1, 0, count=5)
    assert (fewer.sample, fewer.whole) == (5, False)
    assert fewer == circuits.copying(model, 1, 0, count=5)


# --- the view ------------------------------------------------------------------------------------
def test_head_circuits_are_the_librarys_numbers(lab: Lab) -> None:
    payload: HeadCircuits = ask(lab, "head_circuits", layer=2, head=3, position=5, answer="cat", wrong="dog")
    model = lab.model("causal")
    direct = attribute(model, TEXT, right="cat", wrong="dog", position=5)
    assert payload.share == pytest.approx(float(direct.by_head[2, 3]), abs=1e-4)
    assert payload.logit == pytest.approx(direct.logit, abs=1e-4)
    np.testing.assert_allclose(payload.by_source, direct.by_source[2, 3], atol=1e-4)
    assert payload.by_source.sum() == pytest.approx(payload.share, abs=1e-12)
    assert payload.norm == direct.norm
    for end, sign in ((payload.promoted, 1), (payload.suppressed, -1)):
        values = [sign * one.value for one in end]
        assert values == sorted(values, reverse=True)
        alone = attribute(model, TEXT, right=end[0].token.id, position=5)
        assert end[0].value == pytest.approx(float(alone.by_head[2, 3]), abs=1e-4)
    assert payload.key_value_head == 1
    ids = list(dict.fromkeys(token.id for token in payload.tokens))
    assert [one.token.id for one in payload.copies] == ids
    logits = circuits.ov(model, 2, 3, circuits.states(model, torch.tensor(ids), payload.reads))
    assert [one.promoted[0].id for one in payload.copies] == logits.argmax(-1).tolist()
    seen: HeadRow = ask(lab, "head_row", layer=2, head=3, query=5)
    np.testing.assert_array_equal(payload.looks_for.seen, seen.scores)
    assert len(payload.looks_for.text) == len(payload.tokens)
    assert "Of the vocabulary it copies" in payload.reading()
    assert unpack(pack(payload), HeadCircuits).reading() == payload.reading()


def test_the_answer_is_the_models_own_where_none_is_named(lab: Lab) -> None:
    payload: HeadCircuits = ask(lab, "head_circuits", layer=0, head=0)
    assert payload.position == len(payload.tokens) - 1
    assert payload.answer.id == lab.model("causal").run(TEXT).top(1)[0].token
    assert payload.wrong is None
    assert payload.reads == "embedding"  # below the first MLP there is nothing else
    assert ask(lab, "head_circuits", layer=1, head=0, reads="embedding").reads == "embedding"


def test_under_an_ablation_the_writing_is_that_of_the_changed_run(lab: Lab) -> None:
    off = [{"layer": 0, "head": 1}]
    payload: HeadCircuits = ask(lab, "head_circuits", layer=2, head=0, ablate=off)
    model = lab.model("causal")
    last = str(stream_of(model.spec)[-1])
    run = model.run(TEXT, edits=ablate_head(0, 1), keep=["pattern.2", "z.2", last])
    write = run["z", 2][0, -1, 0].double() @ model.transformer.blocks[2].attention.w_o[0].double()
    row = circuits.reader(model, run[last][0, -1]).of(payload.answer.id)
    assert payload.share == pytest.approx(float((write @ row).detach()), abs=1e-4)


def test_what_cannot_be_read_or_asked_is_said(lab: Lab) -> None:
    with pytest.raises(NotSupported, match="post-norm"):
        ask(lab, "head_circuits", MASKED, "masked", layer=0, head=0)
    with pytest.raises(BadInput, match="layers 0 to 2"):
        ask(lab, "head_circuits", layer=9, head=0)
    with pytest.raises(BadInput, match="no position 40"):
        ask(lab, "head_circuits", layer=0, head=0, position=40)
    with pytest.raises(BadInput):
        ask(lab, "head_circuits", layer=0, head=0, answer="cat sat")


# --- a head, three ways ----------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "text"), [("causal", TEXT), ("masked", MASKED)])
def test_value_weighted_is_the_length_of_what_is_moved(lab: Lab, model: str, text: str) -> None:
    payload: Head = ask(lab, "head", text, model, layer=1, head=3, with_scores=True)
    language_model = lab.model(model)
    run = language_model.run(text, keep=["scores.1", "pattern.1", "v.1"])
    values = run["v", 1][0][:, payload.key_value_head]
    moved = values @ language_model.transformer.blocks[1].attention.w_o[3]
    wanted = run["pattern", 1][0, 3][..., None] * moved  # [query, key, d_model]
    lengths = wanted.norm(dim=-1).detach().numpy()
    np.testing.assert_allclose(payload.weighted(), lengths, atol=6e-4 * float(lengths.max()))
    seen = np.tril_indices(len(lengths)) if payload.causal else np.indices(lengths.shape).reshape(2, -1)
    np.testing.assert_allclose(
        payload.scores, run["scores", 1][0, 3].numpy()[tuple(seen)], rtol=1e-5, atol=1e-5
    )
    row: HeadRow = ask(lab, "head_row", text, model, layer=1, head=3, query=4)
    np.testing.assert_allclose(row.weighted, lengths[4, : len(row.weighted)], rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(row.weighted, row.pattern * row.value_norms, rtol=1e-6)
    assert ask(lab, "head", text, model, layer=1, head=3).scores.size == 0
    assert "length" in payload.reading()


# --- two texts -------------------------------------------------------------------------------------
def patterns_of(model: lw.LanguageModel, text: str) -> np.ndarray:
    """`[layer, head, query, key]`"""
    return model.run(text, keep="pattern.*").stack("pattern.*")[:, 0].numpy()


def test_a_second_text_is_compared_pattern_by_pattern(lab: Lab) -> None:
    payload: Attention = ask(lab, "attention", corrupted=SECOND)
    other = payload.other
    assert other is not None
    model = lab.model("causal")
    ours, theirs = (patterns_of(model, text) for text in (TEXT, SECOND))
    np.testing.assert_allclose(other.difference / 127, ours - theirs, atol=0.5 / 127 + 1e-6)
    np.testing.assert_allclose(other.moved, np.abs(ours - theirs).sum(-1).mean(-1) / 2, atol=1e-6)
    np.testing.assert_allclose(other.thumbnails / 255, theirs, atol=0.5 / 255 + 1e-6)
    assert [(payload.tokens[at].text, other.tokens[at].text) for at in other.differs] == [("cat", "dog")]
    assert other.answer[0].token.id == model.run(SECOND).top(1)[0].token
    assert (other.apart, other.text) == ("", SECOND)
    assert "looks elsewhere most" in payload.reading()
    assert ask(lab, "attention").other is None


def test_texts_that_do_not_align_are_both_shown_and_said_to_part(lab: Lab) -> None:
    payload: Attention = ask(lab, "attention", corrupted="the cat sat on the big red cat and the")
    other = payload.other
    assert other is not None
    assert "do not align" in other.apart
    assert "big" in other.apart
    assert other.thumbnails.shape[-1] == payload.thumbnails.shape[-1] + 2
    assert not other.difference.any()
    assert other.apart in payload.reading()


def test_long_texts_are_compared_exactly_and_pooled(lab: Lab) -> None:
    first, second = " ".join(["the cat sat on"] * 12), " ".join(["the dog sat on"] * 12)
    payload: Attention = ask(lab, "attention", first, corrupted=second)
    other, model = payload.other, lab.model("causal")
    assert other is not None
    ours, theirs = (patterns_of(model, text) for text in (first, second))
    np.testing.assert_allclose(other.moved, np.abs(ours - theirs).sum(-1).mean(-1) / 2, atol=1e-6)
    pooled = payload.thumbnails / 255 - other.thumbnails / 255
    np.testing.assert_allclose(other.difference / 127, pooled, atol=0.02)


# --- files ---------------------------------------------------------------------------------------
def test_a_file_of_pinned_heads_carries_their_circuits_on_both_texts(lab: Lab) -> None:
    asked = {"prompt": TEXT, "model": "causal", "corrupted": SECOND}
    state = {"pin": "1.2,2.0", "answer": "cat", "query": "4"}
    recorder = Recorder(lab, REGISTRY["attention"], asked, state, 5_000_000)
    of_attention.record(recorder)
    made = [(answer.view.name, answer.request.model_dump()) for answer in recorder.answers]
    circuits = [request for name, request in made if name == "head_circuits"]
    assert {request["answer"] for request in circuits} == {"cat"}
    places = {(r["prompt"], r["layer"], r["head"], r["position"]) for r in circuits}
    everywhere = [None, *range(8)]
    assert places == {(t, *h, p) for t in (TEXT, SECOND) for h in ((1, 2), (2, 0)) for p in everywhere}
    scored = [r for name, r in made if name == "head" and r["with_scores"]]
    assert len(scored) == 4
    rows = [r for name, r in made if name == "head_row"]
    assert {(r["prompt"], r["query"]) for r in rows} == {(t, q) for t in (TEXT, SECOND) for q in range(8)}
    together = [{"layer": 1, "head": 2}, {"layer": 2, "head": 0}]
    for mode in ("zero", "mean"):
        assert ("attention", {**asked, "ablate": together, "ablation": mode}) in made
    assert any("writes, copies and looks for" in sentence for sentence in recorder.left_out)


def test_a_file_of_a_model_without_such_a_reading_is_made_all_the_same(lab: Lab) -> None:
    asked = {"prompt": MASKED, "model": "masked"}
    recorder = Recorder(lab, REGISTRY["attention"], asked, {"pin": "1.2"}, 5_000_000)
    of_attention.record(recorder)
    names = {answer.view.name for answer in recorder.answers}
    assert names == {"attention", "head", "head_row"}


# --- models that were trained -----------------------------------------------------------------------
def test_the_toys_induction_head_copies_and_the_one_below_looks_back() -> None:
    lab = Lab()
    text = "gqmzrxk gqmzr"
    atlas: Attention = ask(lab, "attention", text, "induction-2l")
    assert atlas.scores.previous_token[0, 1] > 0.9
    head = int(atlas.scores.induction[1].argmax())
    induction: HeadCircuits = ask(lab, "head_circuits", text, "induction-2l", layer=1, head=head)
    assert induction.copying.copied > 0.5 > 10 * induction.copying.chance
    assert induction.copying.suppressed == 0
    assert induction.answer.text == "x"
    assert induction.promoted[0].token.text == "x"
    source = int(induction.by_source.argmax())
    assert induction.tokens[source].text == "x"  # it reads x and writes for x
    previous = ask(lab, "head_circuits", text, "induction-2l", layer=0, head=1)
    assert previous.copying.copied < induction.copying.copied


@pytest.mark.skipif(not WHEELS[DEFAULT_MODEL].wheel.is_here(), reason="the real model is not in the cache")
def test_the_real_model_has_a_head_that_suppresses_and_one_that_copies() -> None:
    lab = Lab()
    text = "When Mary and John went to the store, John gave a drink to"
    against: HeadCircuits = ask(lab, "head_circuits", text, DEFAULT_MODEL, layer=23, head=3)
    assert against.suppressed[0].token.text == " John"
    assert against.suppressed[0].value < -2
    assert against.copying.suppressed > 0.5
    assert against.copying.copied == 0
    john = max(range(len(against.tokens)), key=lambda key: against.looks_for.seen[key])
    assert against.tokens[john].text == " John"
    for_mary: HeadCircuits = ask(lab, "head_circuits", text, DEFAULT_MODEL, layer=23, head=0)
    assert for_mary.answer.text == " Mary"
    source = int(for_mary.by_source.argmax())
    assert for_mary.tokens[source].text == " Mary"
    assert for_mary.by_source[source] > 1
    assert for_mary.copying.copied > 0.4
    row: HeadRow = ask(lab, "head_row", text, DEFAULT_MODEL, layer=23, head=0, query=13)
    assert int(row.pattern.argmax()) == 1  # " Mary"
