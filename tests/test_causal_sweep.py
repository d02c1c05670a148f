"""The sweep engine against a loop of whole forwards with edits: every site, every kind of block."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CAUSAL, tiny

from llm_workings.causal import metrics
from llm_workings.causal.base import Base
from llm_workings.causal.sweep import measure_base, naive_sweep, sweep
from llm_workings.core.errors import BadInput, BadShape, Cancelled, EditNeverFired, NotSupported, TooLarge
from llm_workings.core.progress import Progress
from llm_workings.models.sites import KINDS, Site, sites_of
from llm_workings.trace.edits import (
    Add,
    Edit,
    FunctionEdit,
    Mean,
    Noise,
    ProjectOut,
    Replace,
    Scale,
    Where,
    Zero,
)
from llm_workings.trace.tap import NotFinite

ANSWERING = [*CAUSAL, "bert"]
TEXT = "a b c d e f g h"
MASKED = "a b c <mask> e f g h"


def base_of(kind: str) -> Base:
    return Base(tiny(kind), MASKED if kind == "bert" else TEXT)


def difference(base: Base) -> metrics.Metric:
    return metrics.logit_difference(base.model, "b", "k", position=3 if not base.spec.causal else -1)


def assert_equal(base: Base, entries: list, metric: metrics.Metric) -> torch.Tensor:  # type: ignore[type-arg]
    fast, slow = sweep(base, entries, metric), naive_sweep(base, entries, metric)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    return fast


# ---- every site ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ANSWERING)
def test_every_site_of_every_block(kind: str) -> None:
    base = base_of(kind)
    metric = difference(base)
    plain = measure_base(base, metric)
    for place in sites_of(base.spec):
        late = place.kind in ("ln_final", "ln_final_scale", "logits")
        spots = [metric.positions(base.n)[0]] if late else [0, 2, base.n - 1]
        entries = [Edit(place, Where(positions=p), Scale(1.7)) for p in spots]
        if not late:
            entries += [Edit(place, how=Scale(0.4))]
        found = assert_equal(base, entries, metric)
        # What the answer reads is moved by it.
        reached = found[-1] if late or base.spec.causal else found[0]
        if place.kind not in ("type_embed", "rot_q", "rot_k", "q", "k", "scores") and kind != "bert":
            assert abs(reached - plain) > 1e-9, place


@pytest.mark.parametrize("kind", ANSWERING)
def test_every_head_and_part_of_attention(kind: str) -> None:
    base = base_of(kind)
    entries: list[Edit] = []
    for layer in range(base.spec.n_layers):
        for head in range(base.spec.attention.n_heads):
            entries.append(Edit(Site("z", layer), Where(heads=head), Zero()))
            entries.append(Edit(Site("z", layer), Where(heads=head, positions=5), Noise(1.0, seed=head)))
            entries.append(Edit(Site("pattern", layer), Where(heads=head, positions=6, keys=1), Replace(0.9)))
            entries.append(
                Edit(Site("scores", layer), Where(heads=head, positions=7, keys=2), Replace(-math.inf))
            )
            entries.append(Edit(Site("q", layer), Where(heads=head, positions=4), Scale(3.0)))
        for head in range(base.spec.attention.n_key_value_heads):
            entries.append(Edit(Site("v", layer), Where(heads=head, positions=1), Zero()))
            entries.append(Edit(Site("k", layer), Where(heads=head, positions=1), Scale(-1.0)))
    assert_equal(base, entries, difference(base))


@pytest.mark.parametrize("kind", ANSWERING)
def test_every_way_to_change(kind: str) -> None:
    base = base_of(kind)
    d = base.spec.d_model
    draw = np.random.default_rng(0)
    v, w = draw.normal(size=d), draw.normal(size=(2, d))
    hows = [
        Zero(),
        Mean(),
        Mean(value=v),
        Replace(v),
        Add(v, 2.0),
        Scale(-1.0),
        ProjectOut(v),
        ProjectOut(w),
        Noise(0.5),
    ]
    for place in ("resid_pre.1", "resid_post.0", "attn_out.2", "resid_post.2"):
        assert_equal(base, [Edit(place, how=how) for how in hows], difference(base))
        assert_equal(base, [Edit(place, Where(positions=(2, 5)), how) for how in hows], difference(base))
    doubled = FunctionEdit("resid_pre.1", lambda x: x * 2)
    assert_equal(base, [doubled, [doubled, Edit("z.2", Where(heads=1), Zero())]], difference(base))


def test_an_array_for_every_position_is_read_where_it_stands() -> None:
    """Also where the run begins later, since the first positions are replaced by what they are."""
    base = base_of("llama")
    draw = np.random.default_rng(1)
    for place in (Site("k", 1), Site("pattern", 2), Site("rot_q", 0), Site("mlp_pre", 1)):
        value = base.value(place).numpy().copy()
        if place.kind == "pattern":
            value[:, :, 5:] = draw.uniform(size=value[:, :, 5:].shape)
        else:
            value[:, 5:] += draw.normal(size=value[:, 5:].shape)
        other = Edit("resid_pre.2", Where(positions=6), Scale(2.0))
        entries = [Edit(place, how=Replace(value)), [Edit(place, how=Replace(value)), other]]
        assert_equal(base, entries, difference(base))


# ---- several edits in one run ----------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ANSWERING), st.data())
def test_any_edits_together(kind: str, data: st.DataObject) -> None:
    base = base_of(kind)
    places = [s for s in sites_of(base.spec) if s.kind not in ("ln_final", "ln_final_scale", "logits")]

    def edit() -> st.SearchStrategy[Edit]:
        where = st.one_of(
            st.none(), st.lists(st.integers(-8, 7), min_size=1, max_size=2, unique_by=lambda p: p % 8)
        )
        how = st.sampled_from([Scale(0.1), Scale(1.0), Scale(-0.7), Noise(0.3)])
        return st.builds(lambda s, w, h: Edit(s, Where(positions=w), h), st.sampled_from(places), where, how)

    entries = data.draw(st.lists(st.lists(edit(), min_size=1, max_size=4), min_size=1, max_size=6))
    assert_equal(base, entries, difference(base))


def test_an_edit_that_changes_nothing_costs_nothing_and_gives_the_base() -> None:
    base = base_of("gpt2")
    metric = difference(base)
    same = Edit("resid_pre.1", Where(positions=3), Replace(base.stream[1][3].numpy()))
    asked: list[str] = []
    found = sweep(base, [same, []], metric, progress=Progress(lambda what, done, total: asked.append(what)))
    assert found.tolist() == [measure_base(base, metric)] * 2
    with torch.no_grad():
        assert sweep(base, [], metric).shape == (0,)


# ---- metrics ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ANSWERING)
def test_every_metric_reads_what_a_whole_forward_gives(kind: str) -> None:
    base = base_of(kind)
    model, at = base.model, 3 if kind == "bert" else -1
    entries = [Edit(Site("z", layer), Where(heads=1), Zero()) for layer in range(3)]
    every = [
        metrics.logit(model, "c", at),
        metrics.logit_difference(model, "c", "d", at),
        metrics.mean_logit_difference(model, ["c", "d"], ["e", "f", "g"], at),
        metrics.probability(model, "c", at),
        metrics.log_probability(model, "c", at),
        metrics.rank(model, "c", at),
        metrics.divergence(base, at),
        metrics.function("spread", lambda x: x.std(-1), at),
    ]
    if base.spec.causal:
        every.append(metrics.loss(base))
        every.append(metrics.logit(model, "c", 4))
    for metric in every:
        assert_equal(base, entries, metric)
    edited = model.run(base.run.tokens, edits=entries[0])
    if base.spec.causal:
        assert sweep(base, entries[:1], metrics.loss(base))[0] == pytest.approx(edited.loss.item(), rel=1e-10)
        guess = edited.guess("c")
        assert sweep(base, entries[:1], metrics.rank(model, "c"))[0] == guess.rank - 1
    assert measure_base(base, metrics.divergence(base, at)) == pytest.approx(0, abs=1e-12)


def test_what_a_metric_cannot_be() -> None:
    model = tiny("gpt2")
    with pytest.raises(BadInput, match="same token"):
        metrics.logit_difference(model, "a", "a")
    with pytest.raises(BadInput):
        metrics.logit(model, "a b")
    with pytest.raises(BadInput, match="reads position 9"):
        sweep(Base(model, TEXT), [], metrics.logit(model, "a", position=9))
    broken = metrics.function("broken", lambda x: x)
    with pytest.raises(BadInput, match="Return one number a row"):
        sweep(Base(model, TEXT), [Edit("z.0", how=Zero())], broken)
    with pytest.raises(BadInput, match="reads both ways"):
        metrics.loss(base_of("bert"))
    with pytest.raises(NotSupported, match="encoder without a head"):
        sweep(
            Base(tiny("encoder"), TEXT), [Edit("z.0", how=Zero())], metrics.function("any", lambda x: x[:, 0])
        )


# ---- bounds and stops ------------------------------------------------------------------------------
def test_parts_give_the_same_numbers_and_fill_as_they_come() -> None:
    base = base_of("llama")
    metric = difference(base)
    entries = [
        Edit(Site("resid_pre", layer), Where(positions=p), Scale(2.0)) for layer in range(3) for p in range(8)
    ]
    seen: list[torch.Tensor] = []
    tight = sweep(base, entries, metric, budget=20_000, partial=seen.append)
    assert len(seen) > 3
    assert [int(part.isnan().sum()) for part in seen] == sorted(
        (int(p.isnan().sum()) for p in seen), reverse=True
    )
    assert not seen[-1].isnan().any()
    for part in seen:
        kept = ~part.isnan()
        assert torch.equal(part[kept], tight[kept])
    torch.testing.assert_close(tight, sweep(base, entries, metric), rtol=1e-12, atol=1e-12)
    with pytest.raises(TooLarge, match="past the budget of 100 bytes"):
        sweep(base, entries, metric, budget=100)


def test_a_cancelled_sweep_keeps_what_it_gave() -> None:
    base = base_of("gpt2")
    entries = [
        Edit(Site("resid_pre", layer), Where(positions=p), Scale(2.0)) for layer in range(3) for p in range(8)
    ]
    seen: list[torch.Tensor] = []
    with pytest.raises(Cancelled):
        sweep(
            base, entries, difference(base), budget=20_000, partial=seen.append,
            progress=Progress(cancelled=lambda: len(seen) == 2),
        )  # fmt: skip
    assert len(seen) == 2
    assert 0 < int((~seen[-1].isnan()).sum()) < len(entries)


@pytest.mark.parametrize(
    ("edit", "error", "said"),
    [
        (Edit("z.9", how=Zero()), EditNeverFired, "layers 0 to 2"),
        (Edit("mlp_pre_linear.0", how=Zero()), EditNeverFired, "mlp_pre_linear"),
        (Edit("z.0", Where(heads=9), Zero()), BadInput, "picks head 9"),
        (Edit("z.0", Where(positions=99), Zero()), BadInput, "picks position 99"),
        (Edit("resid_pre.0", how=Replace(np.ones(3))), BadShape, r"shape \[3\]"),
    ],
)
def test_an_edit_that_cannot_be(edit: Edit, error: type[Exception], said: str) -> None:
    base = base_of("gpt2")
    with pytest.raises(error, match=said):
        sweep(base, [edit], difference(base))


def test_a_number_that_is_not_finite_names_its_entry() -> None:
    base = base_of("gpt2")
    with pytest.raises(NotFinite, match=r"logit difference.*for the entry 'replace:inf resid_pre.1"):
        sweep(base, [Edit("resid_pre.1", Where(positions=7, units=0), Replace(math.inf))], difference(base))


def test_one_text_at_a_time() -> None:
    with pytest.raises(BadInput, match="one text at a time; 2 were given"):
        Base(tiny("gpt2"), ["a b", "c d"])
    assert len(KINDS) > 20
