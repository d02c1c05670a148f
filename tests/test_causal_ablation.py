"""Ablations against whole forwards with the edits written out, in every kind of block."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import CAUSAL, tiny

from llm_workings.causal import metrics
from llm_workings.causal.ablation import (
    ZERO,
    KnockOut,
    MeanOf,
    Part,
    Replacement,
    Resample,
    ablate,
    ablate_over,
    edits_of,
    every,
    knock_out,
)
from llm_workings.causal.base import Base
from llm_workings.causal.layer_order import reorder, skip_layers, swap_layers
from llm_workings.causal.parts import read_parts
from llm_workings.causal.sweep import measure_base
from llm_workings.core.errors import BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.sites import Site, stream_of
from llm_workings.models.transformer import UNTAPPED
from llm_workings.trace.edits import Edit, FunctionEdit, Replace, Where, Zero

TEXT, MASKED = "a b c d e f g h", "a b c <mask> e f g h"
DATA = ["h g f e d c b a", "c c d a", "k l m n o p q r s", "b d f h j l n p"]
ANSWERING = [*CAUSAL, "bert"]
EQUAL = {"rtol": 1e-10, "atol": 1e-10}


def case_of(kind: str) -> tuple[Base, metrics.Metric]:
    base = Base(tiny(kind), MASKED if kind == "bert" else TEXT)
    return base, metrics.logit_difference(base.model, "b", "k", position=3 if kind == "bert" else -1)


def whole(base: Base, edits: list, metric: metrics.Metric) -> float:  # type: ignore[type-arg]
    """The metric of a plain forward with these edits."""
    logits = base.model.run(base.run.tokens, edits=edits).logits[0, metric.positions(base.n)][None]
    return float(metric.value(logits if metric.tokens is None else logits[..., list(metric.tokens)])[0])


def setting(site: str, change: object) -> FunctionEdit:
    """An edit by hand: `change(value)` in place on a copy."""

    def function(value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        change(value)  # type: ignore[operator]
        return value

    return FunctionEdit(site, function)


# ---- what is taken out ------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ANSWERING)
def test_zero_ablations_are_whole_forwards(kind: str) -> None:
    base, metric = case_of(kind)
    heads = ablate(base, every(base.spec, "head"), metric)
    assert heads.grid.shape == (3, 4)
    for layer in range(3):
        for head in range(4):
            edit = setting(f"z.{layer}", lambda v, head=head: v[:, :, head].zero_())
            expected = whole(base, [edit], metric) - heads.base
            assert float(heads.grid[layer, head]) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    names = ["attention", "layer"] if kind == "attention_only" else ["attention", "mlp", "layer"]
    for name in names:
        found = ablate(base, every(base.spec, name), metric)  # type: ignore[arg-type]
        assert found.grid.shape == (3,)
        sites = {"attention": ["attn_out"], "mlp": ["mlp_out"], "layer": ["attn_out", "mlp_out"]}[name]
        for layer in range(3):
            edits = [
                Edit(Site(site, layer), how=Zero())
                for site in sites
                if kind != "attention_only" or site != "mlp_out"
            ]
            assert float(found.values[layer]) == pytest.approx(whole(base, edits, metric), rel=1e-10)
    if kind != "attention_only":
        neurons = ablate(base, every(base.spec, "neuron", [1]), metric)
        assert neurons.grid.shape == (2, 20)
        assert bool(neurons.grid[0].isnan().all())
        edit = setting("mlp_post.1", lambda v: v[..., 7].zero_())
        assert float(neurons.values[7]) == pytest.approx(whole(base, [edit], metric), rel=1e-10)


@pytest.mark.parametrize("kind", ANSWERING)
@pytest.mark.parametrize("by_position", [False, True])
def test_means_over_a_data_set(kind: str, by_position: bool) -> None:
    base, metric = case_of(kind)
    mean = MeanOf(base.model, DATA, by_position=by_position)
    found = ablate(base, ["head.1.2", "head.2.0", ["head.1.2", "attention.2"]], metric, mean)
    alone = [base.model.run(text, keep=["z.*", "attn_out.*"]) for text in DATA]  # one text at a time

    def by_hand(site: str) -> torch.Tensor:
        values = [run[site][0] for run in alone]
        if not by_position:
            return torch.cat(values).mean(0, keepdim=True)
        return torch.stack([torch.stack([v[p] for v in values if len(v) > p]).mean(0) for p in range(8)])

    def head(layer: int, index: int) -> FunctionEdit:
        mean = by_hand(f"z.{layer}")[:, index]
        return setting(f"z.{layer}", lambda v: v[0, :, index].copy_(mean.expand(8, -1)))

    attention = setting("attn_out.2", lambda v: v[0].copy_(by_hand("attn_out.2").expand(8, -1)))
    expected = [[head(1, 2)], [head(2, 0)], [head(1, 2), attention]]
    for value, edits in zip(found.values.tolist(), expected, strict=True):
        assert value == pytest.approx(whole(base, edits, metric), rel=1e-10)
    assert found.replacement == ("mean by position" if by_position else "mean")
    assert found.effects.abs().min() > 1e-6


def test_a_data_set_is_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gpt2")
    whole = MeanOf(model, DATA, by_position=True).value(Site("z", 1), 8)
    ran: list[int] = []
    run = model.run
    monkeypatch.setattr("llm_workings.causal.replacements.TOKENS", 16)
    monkeypatch.setattr(model, "run", lambda batch, **how: ran.append(len(batch)) or run(batch, **how))
    torch.testing.assert_close(MeanOf(model, DATA, by_position=True).value(Site("z", 1), 8), whole, **EQUAL)
    assert ran == [2, 1, 1]  # shortest first; two rows of eight tokens are sixteen


def test_resampling_takes_the_values_of_another_text() -> None:
    base, metric = case_of("llama")
    same = Resample(base.model, [TEXT], seed=3)
    untouched = ablate(base, every(base.spec, "head"), metric, same)
    torch.testing.assert_close(
        untouched.values, torch.full((12,), untouched.base, dtype=torch.float64), **EQUAL
    )
    other = Resample(base.model, DATA, seed=1)
    text, position = other.drawn(8)[5]
    assert text in (0, 3)  # the two of eight tokens
    assert position == 5
    value = base.model.run(DATA[text], keep="z.1")["z", 1]
    found = ablate(base, ["head.1.2"], metric, other)
    edit = setting("z.1", lambda v: v[:, :, 2].copy_(value[:, :, 2]))
    assert float(found.values[0]) == pytest.approx(whole(base, [edit], metric), rel=1e-10)
    scattered = Resample(base.model, DATA, seed=5, by_position=False)
    drawn = scattered.drawn(8)
    assert [p == 0 for _, p in drawn] == [True] + [False] * 7  # a first token is of another kind
    assert len({text for text, _ in drawn}) > 1
    runs = [base.model.run(text, keep="mlp_out.0") for text in DATA]
    mixed = torch.stack([runs[t]["mlp_out", 0][0, p] for t, p in drawn])
    found = ablate(base, ["mlp.0"], metric, scattered)
    expected = whole(base, [Edit("mlp_out.0", how=Replace(mixed))], metric)
    assert float(found.values[0]) == pytest.approx(expected, rel=1e-10)
    assert Resample(base.model, DATA, seed=6, by_position=False).drawn(8) != drawn


def test_sets_and_positions() -> None:
    base, metric = case_of("gpt2")
    mean = MeanOf(base.model, DATA, by_position=True)
    parts = ["head.1.2", "head.1.0", "neuron.1.4", "mlp.2", "head.1.2"]
    for replacement in (ZERO, mean):
        edits = edits_of(base, parts, replacement, positions=[2, 5])
        assert [str(edit.place) for edit in edits] == ["z.1", "mlp_post.1", "mlp_out.2"]
        assert edits[0].where == Where(positions=(2, 5), heads=(0, 2))
        found = ablate(base, [parts], metric, replacement, positions=[2, 5])
        expected = whole(base, edits, metric)
        assert float(found.values[0]) == pytest.approx(expected, rel=1e-10)
        value = replacement.value(Site("mlp_out", 2), 8)
        kept = base.model.run(TEXT, edits=edits, keep="mlp_out.2")["mlp_out", 2][0]
        plain = base.model.run(TEXT, edits=edits[:2], keep="mlp_out.2")["mlp_out", 2][0]
        put = torch.zeros(2, 16, dtype=torch.float64) if value is None else value[[2, 5]]
        torch.testing.assert_close(kept[[2, 5]], put, **EQUAL)
        torch.testing.assert_close(kept[[0, 1, 3, 4, 6, 7]], plain[[0, 1, 3, 4, 6, 7]], **EQUAL)


def test_the_loss_on_a_text_and_means_over_texts() -> None:
    model = tiny("neox")
    bases = [Base(model, text) for text in DATA]
    cases = [(base, metrics.loss(base)) for base in bases]
    one = ablate(bases[0], ["head.0.1"], cases[0][1])
    edit = Edit("z.0", Where(heads=1), Zero())
    assert float(one.values[0]) == pytest.approx(model.run(DATA[0], edits=edit).loss.item(), rel=1e-10)
    losses = torch.stack([model.run(text, edits=edit).loss for text in DATA])
    plain = torch.stack([model.run(text).loss for text in DATA])
    over = ablate_over(cases, ["head.0.1", "mlp.1"])
    assert float(over.values[0]) == pytest.approx(float(losses.mean()), rel=1e-10)
    assert over.base == pytest.approx(float(plain.mean()), rel=1e-10)
    assert over.errors is not None
    assert float(over.errors[0]) == pytest.approx(float((losses - plain).std() / 2), rel=1e-8)
    assert "zero ablation of 2 entries; loss" in repr(over)


# ---- curves ------------------------------------------------------------------------------------------
def test_a_knock_out_curve_is_a_set_at_each_point() -> None:
    base, metric = case_of("llama")
    ranking = [entry[0] for entry, _ in ablate(base, every(base.spec, "head"), metric).strongest(12)]
    seen: list[KnockOut] = []
    curve = knock_out(base, ranking, metric, random_orders=3, seed=2, partial=seen.append)
    assert curve.counts == tuple(range(13))
    assert curve.random.shape == (3, 13)
    assert len(seen) == 4
    for count in (0, 1, 5, 12):
        edits = [
            setting(f"z.{part.layer}", lambda v, h=part.index: v[:, :, h].zero_()) for part in ranking[:count]
        ]
        assert float(curve.values[count]) == pytest.approx(whole(base, edits, metric), rel=1e-10)
    ends = torch.stack((curve.values, *curve.random))[:, [0, 12]]
    assert bool((ends == ends[0]).all())  # none and all are the same in any order
    low, high = curve.band(0.8)
    assert bool((low <= high).all())
    assert bool((high[1:-1] > low[1:-1]).any())
    again = knock_out(base, ranking, metric, random_orders=3, seed=2)
    assert torch.equal(again.random, curve.random)
    assert not torch.equal(knock_out(base, ranking, metric, random_orders=3, seed=3).random, curve.random)
    few = knock_out(base, ranking, metric, counts=[0, 5], random_orders=0)
    assert few.values.tolist() == [curve.values[0], curve.values[5]]
    assert math.isnan(few.below)
    assert "knock-out of 12 parts" in repr(curve)


def test_many_parts_are_measured_denser_at_the_start() -> None:
    base, metric = case_of("gpt2")
    curve = knock_out(base, every(base.spec, "neuron"), metric, random_orders=0)
    assert curve.counts[:4] == (0, 1, 2, 3)
    assert curve.counts[-1] == 60
    steps = [b - a for a, b in zip(curve.counts, curve.counts[1:], strict=False)]
    assert steps[-1] >= 4
    assert len(curve.counts) <= 24


def test_below_counts_where_the_ranking_beats_chance() -> None:
    parts = tuple(Part("head", 0, i) for i in range(4))
    values = torch.tensor([4.0, 1, 3, 0.5, 0])
    random = torch.tensor([[4.0, 3, 2, 1, 0], [4.0, 2, 3, 1, 0]])
    curve = KnockOut(parts, (0, 1, 2, 3, 4), "m", "zero", values, random, 0)
    assert curve.below == pytest.approx(2 / 3)


def test_a_curve_can_be_stopped_within_an_order() -> None:
    base, metric = case_of("gpt2")
    told: list[tuple[str, int, int]] = []
    progress = Progress(lambda *what: told.append(what), cancelled=lambda: len(told) == 5)
    with pytest.raises(Cancelled):
        knock_out(base, every(base.spec, "head"), metric, progress=progress, budget=20_000)
    assert set(told) == {("knocking out, order by order", 0, 11)}


# ---- the order of layers -----------------------------------------------------------------------------
def in_order(base: Base, order: list[int], metric: metrics.Metric) -> float:
    """The metric after running the blocks one after the other."""
    stream = base.stream[0][None]
    with torch.no_grad():
        for layer in order:
            stream = base.block(layer)(stream, UNTAPPED, base.rotation, None, None)
        logits = base.model.transformer.read_out(stream)[:, metric.positions(base.n)]
    assert metric.tokens is not None
    return float(metric.value(logits[..., list(metric.tokens)])[0])


@pytest.mark.parametrize("kind", ANSWERING)
def test_layers_left_out_exchanged_and_repeated(kind: str) -> None:
    base, metric = case_of(kind)
    orders = [
        [0, 1, 2], [1, 2], [0, 2], [0, 1], [], [1, 0, 2], [0, 2, 1], [2, 1, 0],
        [0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 1, 2], [2, 0, 1, 2], [1], [0, 0, 0, 0, 0],
    ]  # fmt: skip
    found = reorder(base, orders, metric)
    for value, order in zip(found.values.tolist(), orders, strict=True):
        assert value == pytest.approx(in_order(base, order, metric), rel=1e-10, abs=1e-10), order
    assert float(found.values[0]) == found.base == measure_base(base, metric)
    skipped, swapped = skip_layers(base, metric), swap_layers(base, metric)
    assert skipped.orders == ((1, 2), (0, 2), (0, 1))
    assert swapped.orders == ((1, 0, 2), (0, 2, 1))
    assert skipped.values.tolist() == pytest.approx(found.values[1:4].tolist(), rel=1e-12)
    assert swapped.values.tolist() == pytest.approx(found.values[5:7].tolist(), rel=1e-12)
    if kind != "bert":  # before the norms' turn, an untouched stream is a layer that adds nothing
        zeroed = ablate(base, every(base.spec, "layer"), metric)
        torch.testing.assert_close(skipped.values, zeroed.values, **EQUAL)
    both = skip_layers(base, metric, [(0, 2)])
    assert float(both.values[0]) == pytest.approx(in_order(base, [1], metric), rel=1e-10)
    assert both.names == ("without 0, 2",)
    far = swap_layers(base, metric, [(0, 2)])
    assert float(far.values[0]) == pytest.approx(in_order(base, [2, 1, 0], metric), rel=1e-10)
    assert "0 and 2 exchanged" in repr(far)
    assert stream_of(base.spec)[0] == Site("resid_pre", 0)


# ---- parts and bad input -----------------------------------------------------------------------------
def test_parts_read_back_from_their_names() -> None:
    spec = tiny("gpt2").spec
    for kind in ("head", "neuron", "attention", "mlp", "layer"):
        parts = every(spec, kind)  # type: ignore[arg-type]
        assert len(parts) == 3 * {"head": 4, "neuron": 20}.get(kind, 1)
        assert tuple(Part.parse(str(part)) for part in parts) == parts
    assert read_parts(spec, ["head.0.1", Part("head", 0, 1)]) == (Part("head", 0, 1),)


@pytest.mark.parametrize(
    ("part", "error", "said"),
    [
        ("heads.1.2", UnknownName, "Did you mean 'head'"),
        ("head.1", BadInput, "For example head.3.5"),
        ("mlp.1.2", BadInput, "For example mlp.3"),
        ("head.3.0", BadInput, "layers 0 to 2"),
        ("head.1.4", BadInput, "heads 0 to 3"),
        (Part("mlp", 1, 2), BadInput, "one mlp"),
        (Part("head", 1), BadInput, "heads 0 to 3"),
        (Part("thing", 1), UnknownName, "no kind of part"),  # type: ignore[arg-type]
    ],
)
def test_a_part_that_is_not_there(part: Part | str, error: type[Exception], said: str) -> None:
    base, metric = case_of("gpt2")
    with pytest.raises(error, match=said):
        ablate(base, [part], metric)


def test_what_cannot_be_ablated() -> None:
    base, metric = case_of("attention_only")
    for kind in ("mlp", "neuron"):
        with pytest.raises(BadInput, match="attention only"):
            every(base.spec, kind)  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        every(base.spec, "hed")  # type: ignore[arg-type]
    model = base.model
    replacements: list[tuple[Replacement, str]] = [
        (MeanOf(model, ["a b"], by_position=True), "has 2 tokens, so there is no mean for position 2"),
        (Resample(model, ["a b", "a b c"]), "None of the 2 texts has 8 tokens; they have 2, 3"),
        (Resample(model, ["a"], by_position=False), "one token long"),
    ]
    for replacement, said in replacements:
        with pytest.raises(BadInput, match=said):
            ablate(base, ["head.0.0"], metric, replacement)
    with pytest.raises(BadInput, match="data set is empty"):
        MeanOf(model, [])
    with pytest.raises(BadInput, match="no text to ablate in"):
        ablate_over([], ["head.0.0"])
    with pytest.raises(BadInput, match="no part to knock out"):
        knock_out(base, [], metric)
    with pytest.raises(BadInput, match="9 parts cannot be out"):
        knock_out(base, every(base.spec, "layer"), metric, counts=[9])
    with pytest.raises(BadInput, match="single parts of one kind"):
        _ = ablate(base, [["head.0.0", "head.0.1"]], metric).grid
    for wrong in (lambda: skip_layers(base, metric, [3]), lambda: swap_layers(base, metric, [(2, 3)])):
        with pytest.raises(BadInput, match="layers are 0 to 2"):
            wrong()
    with pytest.raises(BadInput, match="no layer 5 to run"):
        reorder(base, [[0, 5]], metric)
