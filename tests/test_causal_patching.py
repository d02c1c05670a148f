"""Activation patching: its numbers against whole forwards, and its bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import CAUSAL, tiny

from llm_workings.causal import metrics
from llm_workings.causal.patching import Pair, Patching, patch
from llm_workings.causal.sweep import measure_base
from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.models.sites import Site
from llm_workings.trace.edits import Edit, Replace, Where

CLEAN, CORRUPTED = "a b c d e f g h", "a b x d e y g h"


def pair_of(kind: str) -> Pair:
    texts = (
        (CLEAN, CORRUPTED)
        if kind != "bert"
        else (CLEAN.replace("d", "<mask>"), CORRUPTED.replace("d", "<mask>"))
    )
    return Pair(tiny(kind), *texts)


def metric_of(pair: Pair) -> metrics.Metric:
    return metrics.logit_difference(pair.model, "b", "k", position=-1 if pair.model.spec.causal else 3)


def by_hand(pair: Pair, edit: Edit, direction: str, metric: metrics.Metric) -> float:
    into = pair.corrupted if direction == "denoising" else pair.clean
    logits = pair.model.run(into.run.tokens, edits=edit).logits[0, metric.positions(into.n)][None]
    return float(metric.value(logits[..., list(metric.tokens or ())])[0])


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("kind", [*CAUSAL, "bert"])
def test_layer_by_position_and_by_head_are_whole_forwards(kind: str, direction: Any) -> None:
    pair = pair_of(kind)
    metric = metric_of(pair)
    source = pair.clean if direction == "denoising" else pair.corrupted
    found = patch(pair, "resid_pre", metric, direction=direction)
    assert found.axes == ("layer", "position")
    assert found.values.shape == (3, 8)
    for layer in range(3):
        for position in range(8):
            value = source.stream[layer][position].numpy()
            edit = Edit(f"resid_pre.{layer}", Where(positions=position), Replace(value))
            assert found.values[layer, position] == pytest.approx(
                by_hand(pair, edit, direction, metric), rel=1e-10
            )
    heads = patch(pair, "z", metric, direction=direction)
    assert heads.values.shape == (3, 4)
    for layer in range(3):
        z = source.run.model.run(source.run.tokens, keep=f"z.{layer}")["z", layer]
        for head in range(4):
            edit = Edit(f"z.{layer}", Where(heads=head), Replace(z[:, :, head : head + 1].numpy()))
            assert heads.values[layer, head] == pytest.approx(
                by_hand(pair, edit, direction, metric), rel=1e-10
            )


def test_what_only_the_last_stream_carries_restores_the_answer_whole() -> None:
    pair = pair_of("llama")
    metric = metric_of(pair)
    found = patch(pair, "resid_post", metric)
    assert found.normalized[2, 7] == pytest.approx(
        1, abs=1e-10
    )  # the last stop at the last position: the answer itself
    assert found.normalized[2, :7].abs().max() < 1e-10  # elsewhere nobody reads it any more
    assert patch(pair, "resid_pre", metric).normalized[0, [0, 1, 3, 4]].abs().max() == 0  # same tokens there
    assert (found.clean, found.corrupted) == (
        measure_base(pair.clean, metric),
        measure_base(pair.corrupted, metric),
    )
    noised = patch(pair, "resid_post", metric, direction="noising")
    assert noised.normalized[2, 7] == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("kind", ["q", "k", "v", "pattern", "z"])
def test_heads_by_position(kind: str) -> None:
    pair = pair_of("llama")
    metric = metric_of(pair)
    found = patch(pair, kind, metric, by=("layer", "head", "position"), layers=[1])
    whole = patch(pair, kind, metric, layers=[1])
    heads = 2 if kind in ("k", "v") else 4
    assert found.values.shape == (1, heads, 8)
    assert whole.values.shape == (1, heads)
    value = pair.clean.value(Site(kind, 1))
    axis = 2 if kind == "pattern" else 1
    part = value.select(axis, 5).unsqueeze(axis)
    part = part[:, 1:2] if kind == "pattern" else part[:, :, 1:2]
    edit = Edit(f"{kind}.1", Where(heads=1, positions=5), Replace(part.numpy()))
    assert found.values[0, 1, 5] == pytest.approx(by_hand(pair, edit, "denoising", metric), rel=1e-10)


def test_neurons_one_by_one() -> None:
    pair = pair_of("gpt2")
    metric = metric_of(pair)
    found = patch(pair, "mlp_post", metric, layers=[2])
    assert found.values.shape == (1, 20)
    value = pair.clean.run.model.run(pair.clean.run.tokens, keep="mlp_post.2")["mlp_post", 2]
    edit = Edit("mlp_post.2", Where(units=7), Replace(value[:, :, 7:8].numpy()))
    assert found.values[0, 7] == pytest.approx(by_hand(pair, edit, "denoising", metric), rel=1e-10)
    place, moved = found.strongest(1)[0]
    assert moved == found.values[0, place[1]]
    assert (found.values - found.corrupted).abs().max() == abs(moved - found.corrupted)
    assert "20 of 20 patches" in repr(found)


def test_the_picture_fills() -> None:
    pair = pair_of("gpt2")
    seen: list[Patching] = []
    found = patch(pair, "resid_pre", metric_of(pair), budget=20_000, partial=seen.append)
    assert len(seen) > 1
    assert seen[0].values.isnan().any()
    assert torch.equal(seen[-1].values, found.values)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"kind": "resid_per"}, UnknownName, "Did you mean 'resid_pre'"),
        ({"kind": "mlp_pre_linear"}, BadInput, "has no layered site 'mlp_pre_linear'"),
        ({"kind": "z", "by": ["neuron"]}, BadInput, "cannot be patched by neuron"),
        ({"kind": "z", "by": ["heads"]}, UnknownName, "Did you mean 'head'"),
        ({"kind": "z", "layers": [7]}, BadInput, "layers 0 to 2"),
        ({"kind": "z", "direction": "denoise"}, UnknownName, "Did you mean 'denoising'"),
    ],
)
def test_what_cannot_be_patched(asked: dict[str, Any], error: type[Exception], said: str) -> None:
    pair = pair_of("gpt2")
    with pytest.raises(error, match=said):
        patch(pair, metric=metric_of(pair), **asked)


def test_texts_that_do_not_align_say_where() -> None:
    model = tiny("gpt2")
    with pytest.raises(BadInput, match=r"Clean \(4 tokens\).*Corrupted \(5 tokens\)") as caught:
        Pair(model, "a b c d", "a b x y d")
    assert caught.value.given["position"] == 2
    with pytest.raises(BadInput, match="are the same"):
        Pair(model, "a b", "a b")
    pair = Pair(model, "a b c", "a b d")
    same = metrics.function("none", lambda x: x[:, 0] ** 2 * 0)
    with pytest.raises(BadInput, match="Both runs score 0"):
        _ = patch(pair, "z", same).normalized
