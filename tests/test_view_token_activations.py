"""Units by tokens: the heatmap of a text against plain computations of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import SAYINGS, causal, masked
from tiny_models import tiny

from llm_workings.activations.rows import by_peak, most, partners, together
from llm_workings.core.errors import BadInput, Cancelled
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.models.tokens import from_vocabulary
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.token_activations import TokenActivations

TEXT = "the cat sat on the big red mat and a lion slept on the mat"


def shown(lab: Lab, model: str = "causal", prompt: str = TEXT, **request: Any) -> TokenActivations:
    payload = REGISTRY["token_activations"].run(lab, {"prompt": prompt, "model": model, **request})
    assert isinstance(payload, TokenActivations)
    assert unpack(pack(payload), TokenActivations).reading() == payload.reading()
    return payload


def lab_of(**models: LanguageModel) -> Lab:
    lab = Lab()
    for name, model in models.items():
        lab.add(name, model)
    return lab


# ---- the rows --------------------------------------------------------------------------------------


def drawn(n: int, units: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, units)).astype(np.float32)


def test_a_planted_pair_is_found_and_chance_is_not() -> None:
    values = drawn(40, 200)
    values[:, 7] = 3 - 2 * values[:, 120]  # the same unit at another scale, upside down
    noise = drawn(40, 1, seed=1)[:, 0]
    values[:, 9] = values[:, 33] + 0.15 * noise
    found = partners(values, np.array([7, 9, 50]))
    assert (found[0].unit, found[0].flag) == (120, "duplicate")
    assert found[0].correlation == pytest.approx(-1, abs=1e-6)
    r = np.corrcoef(values[:, 9], values[:, 33])[0, 1]
    assert (found[1].unit, found[1].flag) == (33, "correlated")
    assert found[1].correlation == pytest.approx(r, abs=1e-6)
    others = np.abs(np.corrcoef(values.T)[50])
    others[50] = 0
    assert (found[2].unit, found[2].flag) == (int(others.argmax()), "")
    assert abs(found[2].correlation) == pytest.approx(others.max(), abs=1e-6)
    assert 0.35 < found[2].chance < 0.8  # of the largest of 199 over 40 inputs
    assert partners(values, np.array([7, 9, 50])) == found  # one seed, one answer


def test_over_few_inputs_what_chance_reaches_is_not_flagged() -> None:
    values = drawn(4, 2000)
    found = partners(values, np.arange(100))
    assert max(abs(one.correlation) for one in found) > 0.99
    assert sum(one.flag != "" for one in found) < 20  # one in twenty passes by chance
    assert {one.unit for one in partners(values[:2], np.arange(3))} == {None}


def test_a_unit_that_never_changes_has_no_partner() -> None:
    values = drawn(12, 5)
    values[:, 3] = 1.5
    alone, other = partners(values, np.array([3, 0]))
    assert (alone.unit, alone.flag) == (None, "")
    assert other.unit in (1, 2, 4)


def test_rows_are_ordered_by_peak_by_likeness_and_by_size() -> None:
    rows = np.zeros((5, 6), np.float32)
    rows[0, 4], rows[1, 1], rows[3, 1], rows[4, 2] = 9, -3, 0.1, 1  # row 2 is flat
    assert by_peak(rows).tolist() == [3, 1, 4, 0, 2]
    wave = np.sin(np.arange(30) / 3)
    likes = np.stack(
        [wave, np.cos(np.arange(30) / 3), 2 * wave + 1, np.zeros(30), np.cos(np.arange(30) / 3) * 5]
    )
    order = together(likes).tolist()
    assert order[-1] == 3
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(4)) == 1
    values = np.array([[0, 10, 1], [0, 10, -1], [5, 10, 1]])
    assert most(values, 2).tolist() == [0, 2]
    assert most(values, 2, "strongest").tolist() == [1, 0]


# ---- the picture -----------------------------------------------------------------------------------


def test_the_cells_are_what_transformers_computes() -> None:
    peers = pytest.importorskip("peers")
    peer = peers.peer_of("llama")
    tokenizer = from_vocabulary([*SAYINGS, *(f"w{i}" for i in range(53 - len(SAYINGS)))], separator=" ")
    lab = lab_of(peer=LanguageModel(peers.ours_of(peer), tokenizer, "peer"))
    posts: list[torch.Tensor] = []
    blocks = peer.model.layers
    hooks = [
        b.mlp.down_proj.register_forward_hook(lambda _, given, __: posts.append(given[0][0])) for b in blocks
    ]
    payload = shown(lab, "peer", layer=1, most=256)
    ids = torch.tensor([[token.id for token in payload.tokens]])
    with torch.no_grad(), peers.exact(peer):
        stream = peer(ids, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    post = posts[1].detach().numpy()
    kept = [one.unit for one in payload.units]
    assert kept == np.argsort(-post[1:].std(0), kind="stable").tolist()  # all 40, the most variable first
    np.testing.assert_allclose(payload.values, post[:, kept].T, rtol=1e-4, atol=1e-5)
    best = payload.units[0]
    assert (best.mean, best.deviation) == pytest.approx(
        (post[1:, kept[0]].mean(), post[1:, kept[0]].std()), rel=1e-4
    )
    assert best.at == 1 + int(np.abs(post[1:, kept[0]]).argmax())
    first = shown(lab, "peer", rows="layers", site="resid_post").values[0]
    np.testing.assert_allclose(first, stream[1][0].norm(dim=-1).numpy(), rtol=1e-5)
    mean = shown(lab, "peer", rows="layers", site="resid_post", of="mean").values[0]
    np.testing.assert_allclose(mean, stream[1][0].mean(-1).numpy(), rtol=1e-4, atol=1e-5)
    one = shown(lab, "peer", rows="layers", site="resid_post", of="5").values[0]
    np.testing.assert_allclose(one, stream[1][0, :, 5].numpy(), rtol=1e-4, atol=1e-5)


def test_a_planted_copy_and_a_dead_neuron_are_flagged() -> None:
    model = causal()
    mlp = model.transformer.blocks[1].mlp  # type: ignore[union-attr]
    with torch.no_grad():
        mlp.gate.weight[3] = mlp.gate.weight[11]
        mlp.input.weight[3] = -2 * mlp.input.weight[11]
        mlp.input.weight[20] = 0
    payload = shown(lab_of(causal=model), layer=1, most=256)
    rows = {one.unit: one for one in payload.units}
    assert (rows[3].partner, rows[11].partner) == (11, 3)
    assert rows[3].correlation == pytest.approx(-1, abs=1e-5)
    assert payload.flagged("duplicate") == [one.unit for one in payload.units if one.unit in (3, 11)]
    assert "r = -1.0000" in rows[11].flags[0]
    assert (payload.dead, payload.flagged("dead")) == (1, [20])
    assert payload.units[-1].unit == 20
    assert rows[20].partner is None
    assert "2 of those shown go with another" in payload.reading()


def test_heads_are_shown_by_the_length_of_what_they_write() -> None:
    model = causal()
    payload = shown(lab_of(causal=model), site="result", layer=2, keep="strongest")
    written = model.run(TEXT, keep=["result.2"])["result", 2][0].norm(dim=-1).numpy()
    order = [one.unit for one in payload.units]
    assert order == np.argsort(-written[1:].max(0)).tolist()
    np.testing.assert_allclose(payload.values, written[:, order].T, rtol=1e-5)
    assert sorted(payload.by_peak.tolist()) == sorted(payload.by_cluster.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "bert", "encoder", "attention_only"])
def test_every_kind_of_block_has_rows(kind: str) -> None:
    lab = lab_of(tiny=tiny(kind))
    first = shown(lab, "tiny", "a b c d e f")
    assert first.site == first.sites[0] == ("result" if kind == "attention_only" else "mlp_post")
    assert first.first_left_out == (kind not in ("bert", "encoder"))
    for site in first.sites:
        assert np.isfinite(shown(lab, "tiny", "a b c d e f", site=site).values).all()
        assert np.isfinite(shown(lab, "tiny", "a b c d e f", site=site, rows="layers").values).all()
    alone = shown(lab, "tiny", "a")
    assert not alone.first_left_out or len(alone.tokens) > 1
    assert {one.partner for one in shown(lab, "tiny", "a b").units} == {None} or kind in ("bert", "encoder")


def test_what_is_not_there_is_refused_with_a_way_on() -> None:
    lab = lab_of(causal=causal(), masked=masked(), bare=tiny("attention_only"))
    for model, prompt, request, message, hint in (
        ("causal", TEXT, {"layer": 3}, "no layer 3: causal has layers 0 to 2", "Take 2"),
        ("bare", "a b", {"site": "mlp_post"}, "bare has no mlp_post", "Take one of result"),
        ("causal", TEXT, {"rows": "layers", "of": "32"}, "no neuron 32: mlp_post has 32", "Take norm, mean"),
        ("causal", TEXT, {"of": "median"}, "of = 'median'", "Where the rows are layers"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            shown(lab, model, prompt, **request)
        assert hint in caught.value.hint


def test_layers_fill_in_and_can_be_stopped() -> None:
    seen: list[TokenActivations] = []
    progress = Progress(cancelled=lambda: len(seen) > 1, show=lambda make: seen.append(make()))  # type: ignore[arg-type]
    lab = lab_of(causal=causal())
    with pytest.raises(Cancelled):
        shown(lab.for_job(progress), rows="layers")
    assert [np.isfinite(one.values[:, 0]).sum() for one in seen] == [1, 2]
    assert not seen[0].complete
    assert seen[0].reading()


def test_a_file_carries_the_other_layers() -> None:
    lab = lab_of(causal=causal())
    page = export_view(lab, "token_activations", {"prompt": TEXT, "model": "causal", "layer": 1})
    assert page.count('"view": "token_activations"') + page.count('"view":"token_activations"') >= 5
    assert "Other sites and other units" in page
