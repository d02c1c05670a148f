"""Path patching against its definition: one whole forward with everything frozen, then one more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import CAUSAL, tiny

from llm_workings.causal import metrics
from llm_workings.causal.parts import Part
from llm_workings.causal.patching import Pair
from llm_workings.causal.path_patching import PathPatching, Receiver, patch_paths
from llm_workings.core.errors import BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models import spec as sp
from llm_workings.models.sites import Site, stream_of
from llm_workings.trace.edits import Edit, Replace, Where
from llm_workings.trace.model import LanguageModel

CLEAN, CORRUPTED = "a b c d e f g h", "a b x d e y g h"
KINDS = [*CAUSAL, "bert", "qwen"]


def model_of(kind: str) -> LanguageModel:
    if kind != "qwen":
        return tiny(kind)
    return tiny("llama", attention=sp.Attention(4, 2, 6, query_key_norm=sp.RMSNorm()))


def case_of(kind: str) -> tuple[Pair, metrics.Metric]:
    texts = [text.replace("d", "<mask>") if kind == "bert" else text for text in (CLEAN, CORRUPTED)]
    pair = Pair(model_of(kind), *texts)
    return pair, metrics.logit_difference(pair.model, "b", "k", position=3 if kind == "bert" else -1)


def by_definition(
    pair: Pair,
    metric: metrics.Metric,
    sender: Part,
    receivers: list[Receiver],
    direction: str,
    mlps: str,
    positions: list[int] | None = None,
) -> float:
    """Two whole forwards: all frozen but the sender, then all free but the receivers."""
    into, source = (pair.corrupted, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupted)
    model, spec = pair.model, pair.model.spec
    frozen = []
    where = list(range(into.n)) if positions is None else positions
    for layer in range(spec.n_layers):
        z = into.value(Site("z", layer)).clone()
        if (sender.kind, sender.layer) == ("head", layer):
            z[:, where, sender.index] = source.value(Site("z", layer))[:, where, sender.index]
        frozen.append(Edit(f"z.{layer}", how=Replace(z)))
        if isinstance(spec.mlp, sp.NoMLP):
            continue
        out = into.value(Site("mlp_out", layer)).clone()
        mine = (sender.kind, sender.layer) == ("mlp", layer)
        if mine:
            out[:, where] = source.value(Site("mlp_out", layer))[:, where]
        if mlps == "frozen" or mine:
            frozen.append(Edit(f"mlp_out.{layer}", how=Replace(out)))
    last = stream_of(spec)[-1]
    kept = [last, *(Site(kind, layer) for kind in "qkv" for layer in range(spec.n_layers))]
    run = model.run(into.run.tokens, keep=kept, edits=frozen)
    edits = []
    for receiver in receivers:
        site = Site(receiver.through, receiver.layer)
        if receiver.layer <= sender.layer:
            continue
        group = spec.attention.n_heads // spec.attention.n_key_value_heads
        head = receiver.head if receiver.through == "q" else receiver.head // group
        edit = Edit(site, Where(heads=head), Replace(run[site][:, :, head : head + 1]))
        if all((edit.site, edit.where) != (other.site, other.where) for other in edits):
            edits.append(edit)
    logits = run.logits if not receivers else model.run(into.run.tokens, edits=edits).logits
    picked = logits[:, metric.positions(into.n)][..., list(metric.tokens or ())]
    return float(metric.value(picked)[0])


SETS: dict[str, list[str]] = {
    "query": ["q.2.1"],
    "key": ["k.2.1"],
    "value": ["v.2.1"],
    "several": ["q.2.1", "k.2.3", "v.1.0", "q.1.2", "q.2.0", "k.2.2"],
    "logits": ["logits"],
}


@pytest.mark.parametrize("mlps", ["frozen", "recomputed"])
@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_path_is_what_two_whole_forwards_give(kind: str, which: str, mlps: Any) -> None:
    pair, metric = case_of(kind)
    direction: Any = "noising" if which in ("query", "logits", "several") else "denoising"
    found = patch_paths(pair, SETS[which], metric, direction=direction, mlps=mlps)
    layers = 3 if which == "logits" else 2
    assert len(found.senders) == layers * (4 if kind == "attention_only" else 5)
    receivers = [] if which == "logits" else [Receiver.parse(text) for text in SETS[which]]
    for sender, value in zip(found.senders, found.values.tolist(), strict=True):
        expected = by_definition(pair, metric, sender, receivers, direction, mlps)
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10), sender
    assert float(found.effects.abs().max()) > 1e-8  # far above what is tested


def test_freezing_the_mlps_makes_a_difference() -> None:
    pair, metric = case_of("gpt2")
    frozen, recomputed = (
        patch_paths(pair, "q.2.1", metric, mlps=mlps)  # type: ignore[arg-type]
        for mlps in ("frozen", "recomputed")
    )
    assert float((frozen.values - recomputed.values).abs().max()) > 1e-6
    assert "MLPs frozen" in repr(frozen)
    assert "MLPs recomputed" in repr(recomputed)


def test_senders_and_positions_of_ones_own() -> None:
    pair, metric = case_of("llama")
    found = patch_paths(pair, "k.2.1", metric, senders=["mlp.1", "head.0.3"], positions=[-3, 2])
    assert found.senders == (Part("head", 0, 3), Part("mlp", 1))
    for sender, value in zip(found.senders, found.values.tolist(), strict=True):
        expected = by_definition(pair, metric, sender, [Receiver("k", 2, 1)], "noising", "frozen", [5, 2])
        assert value == pytest.approx(expected, rel=1e-10)
    everywhere = patch_paths(pair, "k.2.1", metric, senders=["mlp.1", "head.0.3"])
    assert float((everywhere.values - found.values).abs().max()) > 1e-8


def test_the_last_mlp_reaches_the_logits_and_nothing_else() -> None:
    """Without norms the direct effects are parts of a sum; all of them make the whole difference."""
    pair, metric = case_of("attention_only")
    found = patch_paths(pair, "logits", metric, direction="denoising")
    embedded = pair.clean.stream[0][-1] - pair.corrupted.stream[0][-1]
    assert embedded.abs().max() == 0  # the last token is the same
    assert float(found.share.sum()) == pytest.approx(1, abs=1e-10)
    noised = patch_paths(pair, "logits", metric)
    torch.testing.assert_close(noised.share, found.share, rtol=1e-10, atol=1e-10)  # linear: either way


def test_a_key_is_shared_by_the_heads_of_its_group() -> None:
    pair, metric = case_of("llama")  # four heads share two keys
    assert Receiver("k", 2, 1).shared(pair.clean) == (0, 1)
    assert Receiver("q", 2, 1).shared(pair.clean) == (1,)
    one, other = (patch_paths(pair, f"k.2.{head}", metric) for head in (0, 1))
    assert torch.equal(one.values, other.values)
    third = patch_paths(pair, "k.2.2", metric)
    assert not torch.equal(one.values, third.values)


def test_parts_of_the_senders_give_the_same_and_can_be_stopped() -> None:
    pair, metric = case_of("neox")
    free = patch_paths(pair, ["q.2.0", "v.2.3"], metric)
    seen: list[PathPatching] = []
    tight = patch_paths(pair, ["q.2.0", "v.2.3"], metric, budget=50_000, partial=seen.append)
    assert len(seen) > 2
    assert bool(seen[0].values.isnan().any())
    torch.testing.assert_close(free.values, tight.values, rtol=1e-12, atol=1e-12)
    seen.clear()
    with pytest.raises(Cancelled):
        patch_paths(
            pair, "q.2.0", metric, budget=50_000, partial=seen.append,
            progress=Progress(cancelled=lambda: len(seen) == 1),
        )  # fmt: skip
    assert len(seen) == 1
    assert 0 < int((~seen[0].values.isnan()).sum()) < len(seen[0].values)


def test_the_grid_and_the_strongest() -> None:
    pair, metric = case_of("gpt2")
    found = patch_paths(pair, "logits", metric)
    heads, mlps = found.grid("head"), found.grid("mlp")
    assert heads.shape == (3, 4)
    assert mlps.shape == (3,)
    best, effect = found.strongest(1)[0]
    assert abs(effect) == float(found.effects.abs().max())
    assert effect == float(heads[best.layer, best.index] if best.kind == "head" else mlps[best.layer])
    assert "15 senders into the logits" in repr(found)


@pytest.mark.parametrize(
    ("receivers", "senders", "error", "said"),
    [
        ("p.1.2", None, UnknownName, "no receiver 'p.1.2'"),
        ("q.1", None, BadInput, "names no head's input"),
        ("q.3.0", None, BadInput, "layers 0 to 2 of heads 0 to 3"),
        ("q.1.4", None, BadInput, "layers 0 to 2 of heads 0 to 3"),
        ("q.0.0", None, BadInput, "no part stands below layer 0"),
        ([], None, BadInput, "not nowhere"),
        (["logits", "q.1.0"], None, BadInput, "not both"),
        ("q.1.0", ["head.1.0"], BadInput, "head.1.0 reaches none of q.1.0"),
        ("q.1.0", ["layer.0"], BadInput, "layer.0 cannot send"),
        ("q.1.0", ["head.9.0"], BadInput, "layers 0 to 2"),
    ],
)
def test_paths_that_are_not_there(receivers: Any, senders: Any, error: type[Exception], said: str) -> None:
    pair, metric = case_of("gpt2")
    with pytest.raises(error, match=said):
        patch_paths(pair, receivers, metric, senders=senders)


def test_ways_that_are_not_there() -> None:
    pair, metric = case_of("gpt2")
    with pytest.raises(UnknownName, match="Did you mean 'recomputed'"):
        patch_paths(pair, "logits", metric, mlps="recompute")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="Did you mean 'noising'"):
        patch_paths(pair, "logits", metric, direction="noise")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="no position 8"):
        patch_paths(pair, "logits", metric, positions=[8])
    assert Receiver.parse("query.2.1") == Receiver("q", 2, 1)
    same = metrics.function("none", lambda x: x[:, 0] ** 2 * 0)
    with pytest.raises(BadInput, match="nothing to share out"):
        _ = patch_paths(pair, "logits", same).share
