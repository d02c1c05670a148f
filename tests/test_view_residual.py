"""The residual stream view on small models: every number beside the same one worked out another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import causal, small_lab

from llm_workings.causal.base import Base
from llm_workings.causal.direct_attribution import attribute
from llm_workings.causal.patching import patch_of
from llm_workings.causal.stream import Shares, additions, stops_of
from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.models import spec as sp
from llm_workings.trace.edits import Edit, Mean, Where, Zero
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.logit_lens import LogitLens
from llm_workings.views.residual import Residual
from llm_workings.views.residual_edit import ResidualEdit

TEXT = "the cat sat on the cat and the"
OTHER = "the dog sat on the dog and the"
MASKED = "the [MASK] sat on the mat"
FAMILIES: dict[str, dict[str, Any]] = {
    "pre-norm": {},
    "parallel, LayerNorm": {"block": sp.ParallelPreNorm(), "norm": sp.LayerNorm()},
    "learned positions": {"positions": sp.LearnedPositions(), "norm": sp.LayerNorm()},
    "attention only, no norm": {"mlp": sp.NoMLP(), "norm": sp.NoNorm()},
}


@pytest.fixture(scope="module")
def lab() -> Lab:
    return small_lab()


def ask(lab: Lab, prompt: str = TEXT, model: str = "causal", **request: Any) -> Residual:
    payload = REGISTRY["residual"].run(lab, {"prompt": prompt, "model": model, **request})
    assert isinstance(payload, Residual)
    return payload


def edit(
    lab: Lab, stop: str, how: str, prompt: str = TEXT, model: str = "causal", **more: Any
) -> ResidualEdit:
    asked = {"prompt": prompt, "model": model, "stop": stop, "how": how, **more}
    payload = REGISTRY["residual_edit"].run(lab, asked)
    assert isinstance(payload, ResidualEdit)
    return payload


def wide(**changes: Any) -> LanguageModel:
    """The small model in double precision."""
    model = causal("wide", **changes)
    model.transformer.double()
    return model


# --- the stream ----------------------------------------------------------------------------------
@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_the_shares_add_up_to_the_logit_at_every_position(changes: dict[str, Any]) -> None:
    model = wide(**changes)
    base = Base(model, TEXT)
    right, wrong = model.token("cat"), model.token("dog")
    shares = Shares(base, [right], [wrong])
    each = torch.stack([shares.of(stop.added) for stop in additions(base)])
    total = each.sum(0) + sum(shares.constants.values())
    wanted = base.logits[:, right] - base.logits[:, wrong]
    np.testing.assert_allclose(total, wanted, atol=1e-9)
    assert wanted.abs().max() > 0.1


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_the_shares_are_those_of_direct_attribution(changes: dict[str, Any]) -> None:
    model = wide(**changes)
    base = Base(model, TEXT)
    shares = Shares(base, [model.token("cat")], [model.token("dog")])
    found = {str(stop.stop): shares.of(stop.added) for stop in additions(base)}
    for position in range(base.n):
        terms = attribute(base, right="cat", wrong="dog", position=position).terms()
        embedded = sum(terms[name] for name in terms.names if name.endswith("embed"))
        assert float(found["embed"][position]) == pytest.approx(embedded, abs=1e-9)
        for name, value in terms:
            if name in found and name != "embed":
                assert float(found[name][position]) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)
def test_what_the_stops_add_is_what_the_model_adds(changes: dict[str, Any]) -> None:
    model = wide(**changes)
    base = Base(model, TEXT)
    run = model.run(TEXT, keep="*")
    stream = torch.zeros_like(base.stream[0])
    for stop in additions(base):
        np.testing.assert_allclose(stop.added, run[stop.stop.adds][0], atol=1e-12)
        stream = stream + stop.added
        np.testing.assert_allclose(stop.after, stream, atol=1e-10)
    assert [str(stop) for stop in stops_of(model.spec)][-1] == (
        "attention.2" if "mlp" in changes else "mlp.2"
    )


def test_lengths_and_cosines_are_the_streams(lab: Lab) -> None:
    payload = ask(lab)
    run = lab.model("causal").run(TEXT, keep="*")
    middle, before, added = (run[name, 1][0] for name in ("resid_mid", "resid_pre", "attn_out"))
    at = [stop.name for stop in payload.stops].index("attention.1")
    np.testing.assert_allclose(payload.norm[at], middle.norm(dim=-1), rtol=1e-5)
    np.testing.assert_allclose(payload.added[at], added.norm(dim=-1), rtol=1e-5)
    cosine = torch.cosine_similarity(added, before, dim=-1)
    np.testing.assert_allclose(payload.cosine[at], cosine, atol=1e-5)
    last = torch.cosine_similarity(added, run["resid_post", 2][0], dim=-1)
    np.testing.assert_allclose(payload.cosine_final[at], last, atol=1e-5)
    assert np.isnan(payload.cosine[0]).all()
    assert payload.complete
    again = unpack(pack(payload), Residual)
    np.testing.assert_array_equal(again.norm, payload.norm)


def test_the_view_states_the_sum_and_what_is_left_over(lab: Lab) -> None:
    payload = ask(lab, answer="cat", wrong="dog")
    assert payload.shares is not None
    model = lab.model("causal")
    logits = model.run(TEXT).logits[0].double()
    difference = logits[:, model.token("cat")] - logits[:, model.token("dog")]
    np.testing.assert_allclose(payload.shares.logit, difference, atol=1e-5)
    total = payload.shares.share.sum(0) + sum(one.value for one in payload.shares.constants)
    np.testing.assert_allclose(total - payload.shares.logit, payload.shares.error, atol=1e-12)
    assert np.abs(payload.shares.error).max() < 1e-5
    assert payload.shares.what == "logit difference 'cat' − 'dog'"
    assert "add up to it with an error of" in payload.reading()


# --- the lens --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "text"), [("causal", TEXT), ("masked", MASKED)])
def test_the_lens_is_the_logit_lens_at_the_layers_ends(lab: Lab, model: str, text: str) -> None:
    payload = ask(lab, text, model, answer="dog")
    lens = REGISTRY["logit_lens"].run(lab, {"prompt": text, "model": model, "chosen": "dog"})
    assert isinstance(lens, LogitLens)
    assert payload.lens is not None
    ends = slice(0, None, 2)  # the embedding and every MLP
    ours = np.array([token.id for token in payload.lens.vocabulary])[payload.lens.best[ends]]
    theirs = np.array([token.id for token in lens.vocabulary])[lens.best]
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(payload.lens.probability[ends], lens.probability, atol=1e-6)
    np.testing.assert_allclose(payload.lens.answer.probability[ends], lens.chosen_probability, atol=1e-6)
    np.testing.assert_array_equal(payload.lens.answer.rank[ends], lens.chosen_rank)


def test_the_lens_under_attention_reads_the_stream_between(lab: Lab) -> None:
    payload = ask(lab, answer="cat", wrong="dog")
    model = lab.model("causal")
    middle = model.run(TEXT, keep="resid_mid.1")["resid_mid", 1][0]
    logits = model.read_out(middle)
    assert payload.lens is not None
    assert payload.lens.wrong is not None
    for one, word in ((payload.lens.answer, "cat"), (payload.lens.wrong, "dog")):
        np.testing.assert_allclose(one.logit[3], logits[:, model.token(word)], atol=1e-5)
        wanted = logits.softmax(-1)[:, model.token(word)]
        np.testing.assert_allclose(one.probability[3], wanted, atol=1e-6)


def test_the_picture_fills_as_it_is_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_workings.views.stream_reading.CHUNK_BYTES", 16 * 16 * 8)  # 8 streams at a time
    whole = ask(lab)
    seen: list[Residual] = []
    watched = lab.for_job(Progress(show=lambda make: seen.append(unpack(pack(make()), Residual))))
    last = ask(watched)
    assert len(seen) > 3
    assert [one.complete for one in seen[:2]] == [False, False]
    first = seen[0]
    assert first.lens is not None
    assert (first.lens.best[:, -1] >= 0).all()  # the token drawn comes first
    assert (first.lens.best[-1, :-1] == -1).all()
    np.testing.assert_array_equal(first.norm, whole.norm)
    assert last.lens is not None
    assert whole.lens is not None
    np.testing.assert_allclose(last.lens.probability, whole.lens.probability, atol=1e-6)


# --- models that are not of the usual kind ---------------------------------------------------------
def test_a_post_norm_model_says_why_there_is_no_sum(lab: Lab) -> None:
    payload = ask(lab, MASKED, "masked")
    assert payload.shares is None
    assert payload.combines == "normed"
    assert "post-norm" in payload.why_no_shares
    assert payload.why_no_shares in payload.reading()
    assert payload.lens is not None
    assert payload.answer_position == payload.position == 2
    run = lab.model("masked").run(MASKED, keep="*")
    np.testing.assert_allclose(payload.norm[1], run["ln1", 0][0].norm(dim=-1), rtol=1e-5)
    np.testing.assert_allclose(payload.norm[2], run["ln2", 0][0].norm(dim=-1), rtol=1e-5)


def test_an_encoder_without_a_head_is_drawn_without_a_lens(lab: Lab) -> None:
    payload = ask(lab, MASKED, "headless")
    assert payload.lens is None
    assert payload.shares is None
    assert payload.answer_position is None
    assert payload.complete
    assert "nowhere" not in payload.reading()
    with pytest.raises(NotSupported, match="without a language-model head"):
        ask(lab, MASKED, "headless", answer="cat")
    with pytest.raises(BadInput, match="no answer to watch"):
        edit(lab, "mlp.0", "zero", MASKED, "headless")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"answer": "cat dog"}, "cat dog"),
        ({"answer": "cat", "wrong": "cat"}, "are the same token: 'cat'"),
        ({"position": 99}, "no position 99: the text has positions 0 to 7"),
    ],
)
def test_what_cannot_be_asked_is_restated(lab: Lab, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ask(lab, **request_)


# --- edits -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("position", [2, None])
@pytest.mark.parametrize("how", ["zero", "mean", "patch"])
@pytest.mark.parametrize("stop", ["embed", "attention.1", "mlp.2"])
def test_an_edit_is_the_models_own_run_with_it(lab: Lab, stop: str, how: str, position: int | None) -> None:
    payload = edit(lab, stop, how, position=position, corrupted=OTHER, answer="cat", wrong="dog")
    model = lab.model("causal")
    kind, _, layer = stop.partition(".")
    place = f"{ {'embed': 'resid_pre', 'attention': 'attn_out', 'mlp': 'mlp_out'}[kind] }.{layer or 0}"
    if how == "patch":
        picked = {} if position is None else {"position": position}
        change = patch_of(Base(model, OTHER), Edit(place).place, picked)
    else:
        change = Edit(place, Where(positions=position), Zero() if how == "zero" else Mean())
    logits = model.run(TEXT, edits=change).logits[0, -1]
    before = model.run(TEXT).logits[0, -1]
    cat, dog = model.token("cat"), model.token("dog")
    assert payload.value_after == pytest.approx(float(logits[cat] - logits[dog]), abs=1e-5)
    assert payload.value_before == pytest.approx(float(before[cat] - before[dog]), abs=1e-5)
    for guess in payload.after:
        wanted = logits.softmax(-1)[guess.token.id]
        assert guess.probability == pytest.approx(float(wanted), abs=1e-6)
    assert logits[payload.after[0].token.id] == logits.max()  # without any embedding all are equal
    assert payload.before[0].token.id == int(before.argmax())
    assert {guess.token.id for guess in payload.before} == {guess.token.id for guess in payload.after}
    assert f"adds at {'every position' if position is None else 'position 2'}" in payload.reading()


def test_an_edit_of_a_post_norm_model_is_its_own_run(lab: Lab) -> None:
    payload = edit(lab, "mlp.0", "zero", MASKED, "masked", position=3)
    run = lab.model("masked").run(MASKED, edits=Edit("mlp_out.0", Where(positions=3)))
    assert payload.after[0].token.id == int(run.logits[0, 2].argmax())
    assert payload.answer_position == 2


def test_an_edit_that_cannot_be_is_restated(lab: Lab) -> None:
    with pytest.raises(UnknownName, match=r"attention\.7"):
        edit(lab, "attention.7", "zero")
    with pytest.raises(BadInput, match="no other text"):
        edit(lab, "attention.1", "patch")
    with pytest.raises(BadInput, match="do not align"):
        edit(lab, "attention.1", "patch", corrupted="the cat sat")
    with pytest.raises(BadInput, match="no position 50"):
        edit(lab, "attention.1", "zero", position=50)


# --- the file --------------------------------------------------------------------------------------
def test_a_file_carries_the_edits_of_the_pinned_station(lab: Lab, tmp_path: Any) -> None:
    (tmp_path / "standalone.js").write_text("", "utf-8")
    asked = {"prompt": TEXT, "model": "causal"}
    state = {"stop": "mlp.1", "position": "4", "corrupted": OTHER}
    with_pin = export_view(lab, "residual", asked, state, bundle=tmp_path)
    assert with_pin.count('"residual_edit"') == 6  # three ways, at a token and at all
    assert export_view(lab, "residual", asked, {}, bundle=tmp_path).count('"residual_edit"') == 0
    crossed = export_view(lab, "residual", asked, {**state, "corrupted": "the cat"}, bundle=tmp_path)
    assert crossed.count('"residual_edit"') == 2
    assert "do not align" in crossed
