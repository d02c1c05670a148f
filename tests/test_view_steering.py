"""The steering bench: the texts, doses and comparisons of the library, from a page's request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_workings.causal.steered import dose_response, effect, side_by_side, word_odds
from llm_workings.causal.steering import contrastive_pairs
from llm_workings.core.errors import BadInput
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.data.contrasts import SEA
from llm_workings.export.record import export_view
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.contrasts import contrast_of
from llm_workings.views.lab import Lab
from llm_workings.views.steering import Steering
from llm_workings.views.steering_trials import STRENGTHS, SteeringDoses, SteeringEffect

TOY = "induction-2l"
FIRSTS, SECONDS = "abcq\nbdcq\ncdeq\nfgbq", "abcz\nbdcz\ncdez\nfgbz"
OWN = {"model": TOY, "contrast": "own", "firsts": FIRSTS, "seconds": SECONDS}


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="module")
def model(lab: Lab) -> LanguageModel:
    return lab.model(TOY)


def ask(lab: Lab, name: str = "steering", **request: Any) -> Any:
    return REGISTRY[name].run(lab, {**OWN, **({"prompt": "abcdab"} if name == "steering" else {}), **request})


def pairs() -> list[tuple[str, str]]:
    return list(zip(FIRSTS.split("\n"), SECONDS.split("\n"), strict=True))


def test_three_texts_from_one_seed_are_the_library_s(lab: Lab, model: LanguageModel) -> None:
    payload: Steering = ask(lab, strength=1.5, n=6, seed=3, temperature=1.0)
    directions = contrastive_pairs(model, pairs())
    vector = directions.at(0)  # the middle one of two
    wanted = side_by_side(model, vector, "abcdab", 1.5, 6, seed=3, temperature=1.0)
    assert [one.text for one in payload.written] == [text.text for text in wanted.texts[0]]
    assert [one.kind for one in payload.written] == ["unsteered", "steered", "random"]
    assert ["".join(token.text for token in one.tokens) for one in payload.written] == [
        one.text for one in payload.written
    ]
    assert payload.layer == 0
    assert payload.site == "resid_post.0"
    assert payload.natural == pytest.approx(vector.natural)
    np.testing.assert_allclose(payload.naturals, directions.natural, rtol=1e-6)
    np.testing.assert_allclose(payload.consistency, directions.consistency, rtol=1e-5)
    assert "seed 3" in payload.reading()
    assert unpack(pack(payload), Steering).written == payload.written
    none: Steering = ask(lab, strength=0, n=6)
    assert len({one.text for one in none.written}) == 1


def test_words_of_one_s_own_contrast_are_those_of_one_side(model: LanguageModel) -> None:
    own = contrast_of(model, "own", "abq cat\n\nabc cat ", "abz dog\nabc dog")
    assert own.lexicon == (frozenset({"abq", "cat"}), frozenset({"abz", "dog"}))
    assert own.tally("cat, cat dog ABQ") == 2
    assert own.paired
    assert not contrast_of(model, "own", "abq\nacq", "abz").paired
    assert set(own.next_words[0]) == {"t", "q"}  # the tokens that stand on one side only
    assert set(own.next_words[1]) == {"d", "o", "g", "z"}
    assert own.prompts[0] == "abq"


def test_the_built_in_contrasts_are_taken_as_they_are() -> None:
    real = Lab().model("smollm2-135m")
    sea = contrast_of(real, "sea", "", "")
    assert (sea.firsts, sea.prompts, sea.next_words) == (SEA.firsts, SEA.prompts, SEA.next_words)
    assert sea.tally("The sea, the SEA and money") == SEA.tally("The sea, the SEA and money") == 1


def test_doses_fill_prompt_by_prompt_and_are_means(lab: Lab, model: LanguageModel) -> None:
    seen: list[SteeringDoses] = []
    watched = lab.for_job(Progress(show=lambda make: seen.append(make())))  # type: ignore[arg-type]
    payload: SteeringDoses = ask(watched, "steering_doses", prompts=3, layer=1)
    assert [one.done for one in seen] == [1, 2, 3]
    assert payload.kinds == ["vector", "random", "random", "shuffled", "shuffled"]
    directions = contrastive_pairs(model, pairs())
    made = contrast_of(model, "own", FIRSTS, SECONDS)
    wanted = dose_response(
        model,
        directions.at(1),
        made.prompts[:3],
        word_odds(model, *made.next_words),
        STRENGTHS,
        controls=[directions.at(1).random(0), directions.at(1).random(1)],
    )
    np.testing.assert_allclose(payload.score[:3], wanted.score.mean(-1), atol=1e-5)
    np.testing.assert_allclose(payload.divergence[:3], wanted.divergence.mean(-1), atol=1e-5)
    np.testing.assert_allclose(payload.divergence[:, payload.zero], 0, atol=1e-6)
    assert ((payload.distinct >= 0) & (payload.distinct <= 1)).all()
    assert "Over 3 prompts, at layer 1" in payload.reading()


def test_whether_it_holds_is_the_comparison_of_the_library(lab: Lab, model: LanguageModel) -> None:
    payload: SteeringEffect = ask(lab, "steering_effect", strength=2.0, n=5, seed=1)
    made = contrast_of(model, "own", FIRSTS, SECONDS)
    directions = contrastive_pairs(model, pairs())
    vector = directions.at(0)
    controls = [*(vector.random(1 + i) for i in range(3)), *(directions.shuffled(0, 1 + i) for i in range(2))]
    texts = side_by_side(model, vector, made.prompts, 2.0, 5, controls=controls, seed=1)
    found = effect(texts.scores(made.tally), texts.labels, 1)
    assert [one.texts for one in payload.columns] == [
        [text.text for text in texts.column(i)] for i in range(len(controls) + 2)
    ]
    assert payload.columns[1].difference == pytest.approx(found.steered.difference)
    assert payload.columns[1].p == pytest.approx(found.steered.p)
    assert [one.difference for one in payload.columns[2:]] == pytest.approx(
        [one.difference for one in found.controls]
    )
    assert payload.columns[0].difference is None
    assert payload.beyond == pytest.approx(found.beyond.difference)  # type: ignore[union-attr]
    assert payload.done == len(made.prompts)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"firsts": ""}, "no texts with it"),
        ({"seconds": "\n \n"}, "no texts with its opposite"),
        ({"firsts": "ab\nabq", "seconds": "abz\nab"}, "'ab' is on both sides"),
        ({"contrast": "sea"}, "has its own texts"),
        ({"layer": 2}, "no layer 2: induction-2l has 2, from 0 to 1"),
        ({"strength": float("nan")}, "strength"),
        ({"strength": 99}, "strength = 99"),
        ({"contrast": "see"}, "contrast = 'see'"),
    ],
)
def test_what_cannot_be_steered_by_is_said(lab: Lab, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ask(lab, **request_)


def test_a_file_holds_what_was_measured(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "standalone.js").write_text("0;", "utf-8")
    page = export_view(
        lab, "steering", {**OWN, "prompt": "abc", "n": 3}, {"trial": "on", "doses": "on"}, bundle=tmp_path
    )
    assert page.count('"view": "steering_effect"') == page.count('"view": "steering_doses"') == 1


def test_a_contrast_that_the_vocabulary_cannot_write_is_refused_with_a_way_on(lab: Lab) -> None:
    with pytest.raises(BadInput, match="cannot write the texts of the contrast 'sea'") as refused:
        REGISTRY["steering"].run(lab, {"prompt": "abcab", "model": "induction-2l"})
    assert "own" in refused.value.hint
