"""Attribution patching against a derivative taken patch by patch, and its stated agreement."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_models import CAUSAL, tiny
from torch import Tensor

from llm_workings.causal import metrics
from llm_workings.causal.agreement import agreement, pearson, ranks
from llm_workings.causal.attribution_patching import Attribution, attribute, attribute_all
from llm_workings.causal.patching import Pair, patch
from llm_workings.core.errors import BadInput, TooLarge, UnknownName
from llm_workings.models.sites import Site, site

CLEAN, CORRUPTED = "a b c d e f g h", "a b x d e y g h"
MASKED = [text.replace("d", "<mask>") for text in (CLEAN, CORRUPTED)]


def case_of(kind: str) -> tuple[Pair, metrics.Metric]:
    pair = Pair(tiny(kind), *(MASKED if kind == "bert" else (CLEAN, CORRUPTED)))
    return pair, metrics.logit_difference(pair.model, "b", "k", position=3 if kind == "bert" else -1)


class Moved:
    """A tap by hand: sets one site to a value, and adds to another `size` times a part of a difference."""

    def __init__(self, place: Site, step: Tensor, size: Tensor, first: tuple[Site, Tensor] | None = None):
        self.place, self.step, self.size, self.first = place, step, size, first

    def wants(self, where: Site) -> bool:
        return where == self.place

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if self.first is not None and where == self.first[0]:
            value = self.first[1]
        return value + self.size * self.step if where == self.place else value


def slope(
    pair: Pair, metric: metrics.Metric, place: Site, step: Tensor, first: tuple[Site, Tensor] | None = None
) -> float:
    """The metric's derivative along one step, by a forward of its own."""
    size = torch.zeros((), dtype=torch.float64, requires_grad=True)
    into = pair.corrupted
    logits = pair.model.transformer(into.run.tokens, tap=Moved(place, step, size, first))
    assert logits is not None
    picked = logits[:, metric.positions(into.n)][..., list(metric.tokens or ())]
    return float(torch.autograd.grad(metric.value(picked).sum(), size, allow_unused=True)[0] or 0.0)


def part_of(difference: Tensor, axes: tuple[str, ...], picked: dict[str, int]) -> Tensor:
    """The difference at one head, position or neuron; zero elsewhere."""
    mask = torch.zeros_like(difference)
    index = [
        slice(None) if (found := picked.get(axis.removeprefix("key_value_"))) is None else found
        for axis in axes
    ]
    mask[tuple(index)] = 1
    return difference * mask


EACH = [("z", "head"), ("resid_pre", "position"), ("mlp_out", "position"), ("mlp_post", "neuron")]


@pytest.mark.parametrize("kind", [*CAUSAL, "bert"])
@pytest.mark.parametrize("form", ["linear", "inputs", "site"])
def test_estimates_are_slopes_times_differences(kind: str, form: Any) -> None:
    pair, metric = case_of(kind)
    steps = 0 if form == "linear" else 3
    along = "inputs" if form == "linear" else form
    kinds = EACH[:2] if kind == "attention_only" else EACH
    found = attribute_all(
        pair, [name for name, _ in kinds], metric,
        by={name: [axis] for name, axis in kinds}, steps=steps, along=along,  # type: ignore[list-item]
    )  # fmt: skip
    for name, axis in kinds:
        for layer in (0, 2):
            place = Site(name, layer)
            moving = site("embed") if form == "inputs" else place
            here, there = (base.value(moving) for base in (pair.corrupted, pair.clean))
            difference = pair.clean.value(place) - pair.corrupted.value(place)
            for index in (0, 2, 3):
                step = part_of(difference, place.axes, {axis: index})
                if form == "linear":
                    expected = slope(pair, metric, place, step)
                else:
                    at = [here + share * (there - here) for share in (1 / 6, 3 / 6, 5 / 6)]
                    expected = sum(slope(pair, metric, place, step, (moving, x)) for x in at) / 3
                value = float(found[name].effects[layer, index])
                assert value == pytest.approx(expected, rel=1e-10, abs=1e-12), (place, index)


@pytest.mark.parametrize("kind", ["q", "k", "v", "pattern"])
def test_parts_of_attention_by_position(kind: str) -> None:
    pair, metric = case_of("llama")
    found = attribute(pair, kind, metric, by=["position", "head"], layers=[1])
    heads = 2 if kind in ("k", "v") else 4
    assert found.axes == ("layer", "head", "position")
    assert found.effects.shape == (1, heads, 8)
    place = Site(kind, 1)
    difference = pair.clean.value(place) - pair.corrupted.value(place)
    names = tuple("position" if axis == "query" else axis for axis in place.axes)
    step = part_of(difference, names, {"head": 1, "position": 5})
    assert float(found.effects[0, 1, 5]) == pytest.approx(slope(pair, metric, place, step), rel=1e-10)
    assert float(found.effects.sum()) == pytest.approx(slope(pair, metric, place, difference), rel=1e-10)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_exact_numbers_beside_it_are_those_of_patching(direction: Any) -> None:
    pair, metric = case_of("gpt2")
    exact = patch(pair, "z", metric, direction=direction, by=["head", "position"])
    found = attribute(pair, "z", metric, direction=direction, by=["head", "position"])
    plain = exact.corrupted if direction == "denoising" else exact.clean
    torch.testing.assert_close(found.exact, exact.values - plain, rtol=1e-10, atol=1e-10)
    assert found.agreement.compared == found.agreement.total == 3 * 4 * 8
    stacked = torch.stack((found.effects.flatten(), found.exact.flatten()))
    assert found.agreement.pearson == pytest.approx(float(torch.corrcoef(stacked)[0, 1]), rel=1e-9)
    torch.testing.assert_close(found.values, found.effects + plain)
    some = attribute(pair, "z", metric, direction=direction, by=["head", "position"], check=20, seed=4)
    assert int((~some.exact.isnan()).sum()) == some.agreement.compared == 20
    drawn = ~some.exact.isnan()
    torch.testing.assert_close(some.exact[drawn], found.exact[drawn], rtol=1e-10, atol=1e-10)
    assert torch.equal(some.effects, found.effects)
    other = attribute(pair, "z", metric, direction=direction, by=["head", "position"], check=20, seed=5)
    assert not torch.equal(other.exact.isnan(), some.exact.isnan())
    assert "20 drawn at random of 96" in repr(some)
    assert "all of 96" in repr(found)
    assert f"Pearson {found.agreement.pearson:.3f}" in repr(found)


def test_the_last_stream_is_read_off_exactly() -> None:
    """Without a norm the logits are linear in the last stream: nothing is left to estimate."""
    pair, metric = case_of("attention_only")
    found = attribute(pair, "resid_post", metric, layers=[2])
    torch.testing.assert_close(found.effects, found.exact, rtol=1e-10, atol=1e-10)
    assert float(found.effects[0, -1]) == pytest.approx(found.clean - found.corrupted, rel=1e-10)
    assert found.agreement.worst < 1e-10


def test_the_way_of_a_site_adds_up_to_patching_it_whole() -> None:
    """The completeness of integrated gradients (Sundararajan et al. 2017, proposition 1)."""
    pair, metric = case_of("llama")
    whole = patch(pair, "z", metric, by=[])
    off = []
    for steps in (1, 4, 64):
        found = attribute(pair, "z", metric, steps=steps, along="site")
        off.append(float((found.effects.sum(1) - (whole.values - whole.corrupted)).abs().max()))
    assert off[2] < 1e-3 < off[0]
    assert off[2] < off[1] / 20  # the midpoint rule: sixteen times as many steps, 256 times as close


def test_a_tight_budget_takes_the_steps_in_turn() -> None:
    pair, metric = case_of("gpt2")
    for along in ("inputs", "site"):
        free = attribute(pair, "z", metric, steps=5, along=along)  # type: ignore[arg-type]
        tight = attribute(pair, "z", metric, steps=5, along=along, budget=300_000)  # type: ignore[arg-type]
        torch.testing.assert_close(free.effects, tight.effects, rtol=1e-12, atol=1e-12)
    with pytest.raises(TooLarge):
        attribute(pair, "z", metric, steps=5, budget=1000)


def test_agreement_of_numbers_known() -> None:
    exact = torch.tensor([0.0, 1.0, 2.0, 3.0, torch.nan])
    found = agreement(torch.tensor([0.0, 1.0, 8.0, 27.0, 5.0]), exact)
    assert found.spearman == pytest.approx(1, abs=1e-12)
    assert found.pearson == pytest.approx(0.9076, abs=1e-4)
    assert (found.compared, found.total, found.worst) == (4, 5, 24)
    assert ranks(torch.tensor([5.0, 1.0, 5.0, 0.0])).tolist() == [2.5, 1, 2.5, 0]
    assert math.isnan(pearson(torch.ones(3), torch.arange(3)))
    with pytest.raises(BadInput, match="1 exact values are too few"):
        agreement(torch.zeros(2), torch.tensor([0.0, torch.nan]))


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"kind": "zz"}, UnknownName, "Did you mean 'z'"),
        ({"kind": "z", "by": ["neuron"]}, BadInput, "cannot be patched by neuron"),
        ({"kind": "z", "layers": [5]}, BadInput, "layers 0 to 2"),
        ({"kind": "z", "direction": "noise"}, UnknownName, "Did you mean 'noising'"),
        ({"kind": "z", "along": "input"}, UnknownName, "Did you mean 'inputs'"),
        ({"kind": "z", "steps": -1}, BadInput, "-1 steps"),
        ({"kind": "z", "check": 1}, BadInput, "1 entries to check"),
    ],
)
def test_what_cannot_be_attributed(asked: dict[str, Any], error: type[Exception], said: str) -> None:
    pair, metric = case_of("gpt2")
    with pytest.raises(error, match=said):
        attribute(pair, metric=metric, **asked)


def test_a_rank_has_no_slope() -> None:
    pair, _ = case_of("gpt2")
    with pytest.raises(BadInput, match="'rank' has no slope"):
        attribute(pair, "z", metrics.rank(pair.model, "b"))
    kl = attribute(pair, "z", metrics.divergence(pair.clean))  # one that reads the whole vocabulary
    assert isinstance(kl, Attribution)
    assert kl.agreement.pearson > 0.5
