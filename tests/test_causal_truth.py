"""Known answers: an induction circuit written by hand, whose two heads and one path must be found, alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from llm_workings.causal import metrics
from llm_workings.causal.ablation import Resample, ablate, every, knock_out
from llm_workings.causal.attribution_patching import attribute
from llm_workings.causal.base import Base
from llm_workings.causal.patching import Pair, patch
from llm_workings.causal.path_patching import patch_paths
from llm_workings.core.errors import BadInput
from llm_workings.models.handmade import LETTERS, InductionCircuit, induction_circuit
from llm_workings.models.sites import Site
from llm_workings.trace.edits import Edit, Noise, Where
from llm_workings.trace.model import LanguageModel

CLEAN, CORRUPTED = "abcdea", "cbadea"  # "a" was followed by "b"; by "d"
DIRECTIONS = ["denoising", "noising"]
EXACT = 1e-12


@pytest.fixture(scope="module")
def circuit() -> InductionCircuit:
    return induction_circuit()


@pytest.fixture(scope="module")
def model(circuit: InductionCircuit) -> LanguageModel:
    return LanguageModel(circuit.transformer, circuit.tokenizer, "hand-made induction")


@pytest.fixture(scope="module")
def pair(model: LanguageModel) -> Pair:
    return Pair(model, CLEAN, CORRUPTED)


@pytest.fixture(scope="module")
def metric(model: LanguageModel) -> metrics.Metric:
    return metrics.logit_difference(model, "b", "d")


def only(values: Tensor, *places: tuple[int, ...]) -> Tensor:
    """The values at those places, all others being nothing."""
    others = values.clone()
    for place in places:
        others[place] = 0
    assert float(others.nan_to_num(0).abs().max()) < EXACT
    return torch.stack([values[place] for place in places])


# ---- the model does what its docstring says ----------------------------------------------------------
def test_it_answers_what_followed_before(model: LanguageModel) -> None:
    for text, answer in ((CLEAN, "b"), (CORRUPTED, "d"), ("qxzvkmqxzv", "k"), ("hellowoe", "l")):
        assert model.run(text).top(1)[0].piece == answer
    assert model.run("qxzvkmqxz").guess("v").probability > 0.99
    fresh = model.run("abcdef").logits[0, -1].softmax(-1)
    assert float(fresh.max()) < 0.25  # nothing to repeat


def test_what_each_part_holds_is_where_it_should_be(circuit: InductionCircuit, model: LanguageModel) -> None:
    run = model.run(CLEAN, keep=["resid_post.0", "resid_post.1", "pattern.*", "z.*"])
    sub = circuit.subspaces
    letters = model.tokenizer.encode(CLEAN)
    before = run["resid_post", 0][0, :, sub["previous"]].argmax(-1)
    assert before[1:].tolist() == letters[:-1]
    assert run["resid_post", 0][0, :, sub["answer"]].abs().max() == 0
    answer = run["resid_post", 1][0, -1, sub["answer"]]
    assert int(answer.argmax()) == model.token("b")
    previous, induction = circuit.previous, circuit.induction
    assert run["pattern", 0][0, previous[1], range(1, 7), range(6)].min() > 0.97
    assert run["pattern", 1][0, induction[1], 6, 2] > 0.97
    # The other heads are no empty ones: they attend unevenly and write, aside.
    for layer, circuit_head in (previous, induction):
        for head in set(range(4)) - {circuit_head}:
            assert run["z", layer][0, :, head].norm() > 1
            assert run["pattern", layer][0, head, -1].std() > 0.05
    assert run["resid_post", 1][0, :, sub["aside"]].norm() > 1


def test_whatever_the_other_heads_do_the_logits_stay(circuit: InductionCircuit, model: LanguageModel) -> None:
    others = [
        Edit(Site("z", layer), Where(heads=head), Noise(100.0, seed=head))
        for layer, own in (circuit.previous, circuit.induction)
        for head in range(4)
        if head != own
    ]
    plain = model.run(CLEAN).logits
    torch.testing.assert_close(model.run(CLEAN, edits=others).logits, plain, rtol=0, atol=EXACT)
    for layer, head in (circuit.previous, circuit.induction):
        moved = model.run(CLEAN, edits=Edit(Site("z", layer), Where(heads=head), Noise(1.0))).logits
        assert float((moved - plain).abs().max()) > 0.5
    empty = induction_circuit(noise=0.0)
    assert torch.equal(LanguageModel(empty.transformer, empty.tokenizer).run(CLEAN).logits, plain)


@pytest.mark.parametrize("wrong", [{"letters": "aab"}, {"letters": "a"}, {"previous": 4}, {"n_ctx": 1}])
def test_a_circuit_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        induction_circuit(**wrong)


def test_the_heads_can_stand_elsewhere() -> None:
    moved = induction_circuit("xyz", 9, n_heads=2, previous=1, induction=0, seed=3)
    model = LanguageModel(moved.transformer, moved.tokenizer)
    assert model.run("xyzx").top(1)[0].piece == "y"
    pair = Pair(model, "xyzx", "zyxx")
    found = patch(pair, "z", metrics.logit_difference(model, "y", "x"))
    assert only(found.normalized, (0, 1), (1, 0)).min() > 0.9
    assert len(LETTERS) == 26


# ---- activation patching -----------------------------------------------------------------------------
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_finds_the_two_heads(
    pair: Pair, metric: metrics.Metric, circuit: InductionCircuit, direction: Any
) -> None:
    none, whole = (0, 1) if direction == "denoising" else (1, 0)

    def share(kind: str, **by: Any) -> Tensor:
        normalized = patch(pair, kind, metric, direction=direction, **by).normalized
        return (normalized - none) / (whole - none)

    two = only(share("z"), circuit.previous, circuit.induction)
    torch.testing.assert_close(two, torch.ones(2, dtype=torch.float64), rtol=0, atol=EXACT)
    # The previous head is told by what it reads, the induction head by its keys alone.
    assert only(share("v"), circuit.previous) == pytest.approx(1, abs=EXACT)
    assert only(share("k"), circuit.induction) == pytest.approx(1, abs=EXACT)
    assert only(share("pattern"), circuit.induction) == pytest.approx(1, abs=EXACT)
    assert share("q").abs().max() < EXACT


def test_the_picture_by_position_is_the_circuit() -> None:
    """With attention as sharp as one-hot: from what came before, to what came next, to the end."""
    sharp = induction_circuit(sharpness=60)
    model = LanguageModel(sharp.transformer, sharp.tokenizer)
    pair, metric = Pair(model, CLEAN, CORRUPTED), metrics.logit_difference(model, "b", "d")
    stream = patch(pair, "resid_post", metric).normalized
    assert only(stream, (0, 2), (0, 4), (1, 6))[2] == pytest.approx(1, abs=EXACT)
    assert pair.differs == [1, 3]  # a and c change places; positions 2 and 4 hold b and d in both
    heads = patch(pair, "z", metric, by=["head", "position"]).normalized
    assert only(heads, (*sharp.previous, 2), (*sharp.previous, 4), (*sharp.induction, 6))[2] > 1 - EXACT


# ---- path patching -----------------------------------------------------------------------------------
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_path_patching_finds_the_one_path(
    pair: Pair, metric: metrics.Metric, circuit: InductionCircuit, direction: Any
) -> None:
    into_logits = patch_paths(pair, "logits", metric, direction=direction)
    span = pair_span(into_logits.clean, into_logits.corrupted, direction)
    direct = only(into_logits.grid() / span, circuit.induction)
    assert direct == pytest.approx(1, abs=EXACT)
    layer, head = circuit.induction
    for through in ("q", "k", "v"):
        found = patch_paths(pair, f"{through}.{layer}.{head}", metric, direction=direction)
        assert len(found.senders) == 4
        if through == "k":
            assert only(found.grid() / span, circuit.previous) == pytest.approx(1, abs=EXACT)
        else:
            assert found.effects.abs().max() < EXACT
    for other in set(range(4)) - {head}:
        into_others = [f"{through}.{layer}.{other}" for through in ("q", "k", "v")]
        assert patch_paths(pair, into_others, metric, direction=direction).effects.abs().max() < EXACT


def pair_span(clean: float, corrupted: float, direction: str) -> float:
    return clean - corrupted if direction == "denoising" else corrupted - clean


def test_what_the_other_heads_send_is_not_nothing(pair: Pair, circuit: InductionCircuit) -> None:
    """They send something else in the corrupted run; it is that nobody reads it."""
    differs = pair.clean.value(Site("z", 0)) - pair.corrupted.value(Site("z", 0))
    for head in set(range(4)) - {circuit.previous[1]}:
        assert differs[0, :, head].norm() > 1


# ---- attribution patching ----------------------------------------------------------------------------
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_attribution_finds_the_two_heads(
    pair: Pair, metric: metrics.Metric, circuit: InductionCircuit, direction: Any
) -> None:
    linear = attribute(pair, "z", metric, direction=direction)
    span = pair_span(linear.clean, linear.corrupted, direction)
    first, second = only(linear.effects / span, circuit.previous, circuit.induction).tolist()
    assert second == pytest.approx(1, abs=EXACT)  # what it writes is read off as it is
    # The induction head is sure of where it looks, so the slope of its scores is that of a full softmax:
    # the linear estimate has the right head and a small part of its effect.
    assert 0.03 < first < 0.15
    for along in ("inputs", "site"):
        found = attribute(pair, "z", metric, direction=direction, steps=32, along=along)  # type: ignore[arg-type]
        two = only(found.effects / span, circuit.previous, circuit.induction)
        torch.testing.assert_close(two, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-3)
        assert found.agreement.pearson > 0.999
        assert found.agreement.worst < 0.01 < 10 < linear.agreement.worst


# ---- ablation ----------------------------------------------------------------------------------------
def test_ablation_finds_the_two_heads(pair: Pair, model: LanguageModel, circuit: InductionCircuit) -> None:
    base = pair.clean
    right = metrics.logit(model, "b")
    parts = every(model.spec, "head")
    two = only(ablate(base, parts, right).grid, circuit.previous, circuit.induction)
    assert two.max() < -5
    other = ablate(base, parts, right, Resample(model, ["klmnop"]))
    assert only(other.grid, circuit.previous, circuit.induction).max() < -5
    repeated = Base(model, "abcdefghabcdefgh")
    loss = ablate(repeated, parts, metrics.loss(repeated))
    assert only(loss.grid, circuit.previous, circuit.induction).min() > 0.5
    ranking = [entry[0] for entry, _ in ablate(base, parts, right).strongest(8)]
    curve = knock_out(base, ranking, right, random_orders=30)
    assert curve.values[1:].max() < curve.values[0] - 5
    assert curve.values[1] < curve.random[:, 1].mean()
    assert bool((curve.values <= curve.random.max(0).values + EXACT).all())
