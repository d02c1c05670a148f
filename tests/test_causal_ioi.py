"""Indirect object identification on SmolLM2: which heads decide between the names, and how they are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import llm_workings
from llm_workings.causal import metrics
from llm_workings.causal.ablation import MeanOf, ablate
from llm_workings.causal.attribution_patching import attribute
from llm_workings.causal.patching import Pair
from llm_workings.causal.path_patching import patch_paths
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.sites import site
from llm_workings.trace.model import LanguageModel

NAME = "smollm2-135m"
CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
MARY, JOHN_AGAIN = 1, 9

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    if not WHEELS[NAME].wheel.is_here():
        pytest.skip(f"{NAME} is not in the cache: fetch it with `llm-workings fetch {NAME}`")
    return llm_workings.load(NAME, device="cpu")


@pytest.fixture(scope="module")
def pair(model: LanguageModel) -> Pair:
    return Pair(model, CLEAN, CORRUPTED)


@pytest.fixture(scope="module")
def metric(model: LanguageModel) -> metrics.Metric:
    return metrics.logit_difference(model, " Mary", " John")


@pytest.mark.parametrize(("direction", "steps"), [("denoising", 0), ("noising", 0), ("denoising", 8)])
def test_attribution_of_heads_agrees_with_the_exact_sweep(
    pair: Pair, metric: metrics.Metric, direction: Any, steps: int
) -> None:
    found = attribute(pair, "z", metric, direction=direction, steps=steps)
    print(found)
    assert found.agreement.compared == found.agreement.total == 270
    assert found.agreement.pearson >= 0.8
    assert found.strongest(1)[0][0] == (23, 3)
    exact = found.exact.abs().flatten().argmax()
    assert divmod(int(exact), 9) == (23, 3)


def test_the_direct_paths_to_the_logits(pair: Pair, metric: metrics.Metric, model: LanguageModel) -> None:
    """Three kinds of heads: one that speaks against the name that came twice, and name movers for and
    against the other (Wang et al. 2022, section 3, on GPT-2)."""
    found = patch_paths(pair, "logits", metric)
    print(found, *(f"{part} {effect:+.2f}" for part, effect in found.strongest(8)))
    assert len(found.senders) == 30 * 9 + 30
    assert str(found.strongest(1)[0][0]) == "head.23.3"
    grid = found.grid()
    end = pair.clean.value(site("pattern", 23))[0, :, -1]
    late = pair.clean.value(site("pattern", 24))[0, :, -1]
    assert float(grid[23, 3]) < -4
    assert int(end[3].argmax()) == JOHN_AGAIN
    assert float(grid[23, 0]) < -1  # looks at Mary, and is for her
    assert int(end[0].argmax()) == MARY
    assert float(grid[24, 4]) > 1  # looks at Mary, and is against her
    assert int(late[4].argmax()) == MARY
    # What 23.3 adds is less of John rather than more of Mary.
    attention = model.transformer.blocks[23].attention
    written = pair.clean.value(site("z", 23))[0, -1, 3] @ attention.w_o[3]
    final = pair.clean.stream[-1][-1]
    scale = final.pow(2).mean().add(model.spec.norm.eps).sqrt()  # type: ignore[union-attr]
    read = written / scale * model.transformer.final_norm.weight
    mary, john = (
        float(read.detach() @ model.transformer.unembed.weight[model.token(w)].detach())
        for w in (" Mary", " John")
    )
    print(f"23.3 adds {mary:+.2f} to Mary and {john:+.2f} to John")
    assert john < mary
    assert john < 0
    assert abs(john) > abs(mary)


def test_values_reach_it_from_the_first_mlp(pair: Pair, metric: metrics.Metric) -> None:
    """What 23.3 reads of the name is there from the first layer on; its query hardly knows a name."""
    value, query = (patch_paths(pair, f"{through}.23.3", metric) for through in ("v", "q"))
    print(value, query, sep="\n")
    assert str(value.strongest(1)[0][0]) == "mlp.0"
    assert value.strongest(1)[0][1] < -1
    assert float(query.effects.abs().max()) < 0.5


def test_means_and_zeros_rank_early_heads_differently(
    pair: Pair, metric: metrics.Metric, model: LanguageModel
) -> None:
    names = ["Anna and Peter", "Tom and Kate", "Paul and Jane", "Sarah and Luke"]
    mean = MeanOf(model, [f"When {each} went to the store, Mark gave a drink to" for each in names])
    parts = ["head.23.3", "head.29.1", "head.0.0", "head.1.5"]
    zero, averaged = ablate(pair.clean, parts, metric), ablate(pair.clean, parts, metric, mean)
    print(zero, averaged, sep="\n")
    for found in (zero, averaged):
        assert torch.all(found.effects[:2] < -1)
    assert float((zero.effects[2:] - averaged.effects[2:]).abs().max()) > 1
