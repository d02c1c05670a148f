"""The waterfall of direct attribution: it adds up, level by level, and names what the model said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from small_models import causal, masked, small_lab

from llm_workings.causal.direct_attribution import attribute
from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.wire import pack, unpack
from llm_workings.models import spec as sp
from llm_workings.views import REGISTRY
from llm_workings.views.direct_attribution import DirectAttribution
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the cat and the"
LEVELS = ["layer", "part", "head", "source", "neuron"]
MODELS = {
    "grouped": {},
    "biased": {
        "attention": sp.Attention(4, 4, 6, input_bias=True, output_bias=True),
        "mlp": sp.PlainMLP(20, "gelu"),
        "norm": sp.LayerNorm(),
        "positions": sp.LearnedPositions(),
        "head": sp.NextTokenHead(tied=False, bias=True),
    },
    "attention_only": {"mlp": sp.NoMLP(), "norm": sp.NoNorm()},
}


@pytest.fixture(scope="module")
def lab() -> Lab:
    lab = small_lab()
    for name, changes in MODELS.items():
        lab.add(name, causal(name, **changes))
    return lab


def ask(lab: Lab, model: str = "grouped", prompt: str = TEXT, **request: Any) -> DirectAttribution:
    payload = REGISTRY["direct_attribution"].run(lab, {"prompt": prompt, "model": model, **request})
    assert isinstance(payload, DirectAttribution)
    return payload


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", [{"answer": "cat", "wrong": "dog"}, {"answer": "mat", "position": 3}])
def test_every_level_adds_up_to_the_logit(lab: Lab, model: str, asked: dict[str, Any]) -> None:
    payload = ask(lab, model, **asked)
    logits = lab.model(model).run(TEXT).logits[0, asked.get("position", -1)]
    token = lab.model(model).token
    said = float(logits[token(asked["answer"])])
    if "wrong" in asked:
        said -= float(logits[token(asked["wrong"])])
    assert payload.logit == pytest.approx(said, abs=1e-5)
    for by in LEVELS:
        terms = payload.terms(by)  # type: ignore[arg-type]
        assert math.fsum(terms.values()) == pytest.approx(payload.total, abs=1e-5)
    assert payload.total == pytest.approx(payload.logit, abs=1e-4)
    assert abs(payload.logit) > 1e-2


@pytest.mark.parametrize("model", MODELS)
def test_the_terms_are_the_librarys(lab: Lab, model: str) -> None:
    payload = ask(lab, model, answer="cat", wrong="dog")
    found = attribute(lab.model(model), TEXT, right="cat", wrong="dog")
    for by in ("part", "head", "source", "neuron"):
        wanted = dict(found.terms(by))
        terms = payload.terms(by)
        assert list(terms) == list(wanted)
        np.testing.assert_allclose([*terms.values()], [*wanted.values()], atol=1e-6)
    by_layer = payload.terms("layer")
    parts = dict(found.terms("part"))
    assert by_layer["layer.1"] == pytest.approx(parts["attention.1"] + parts.get("mlp.1", 0.0))
    bias = 0 if payload.value_bias is None else payload.value_bias[1, 2]
    assert payload.heads[1, 2] == pytest.approx(payload.sources[1, 2].sum() + bias, abs=1e-5)
    np.testing.assert_allclose(payload.pattern.sum(-1), 1, atol=1e-6)


def test_without_an_answer_it_is_the_models_own_best(lab: Lab) -> None:
    payload = ask(lab)
    best = lab.model("grouped").run(TEXT).top(1)[0]
    assert payload.answer.text == best.piece
    assert payload.wrong is None
    assert payload.guesses[0].token == payload.answer
    assert payload.position == len(payload.tokens) - 1
    assert payload.guesses[1].rank == 1  # the runner-up, for a difference


def test_the_answer_and_the_wrong_one_are_always_among_the_guesses(lab: Lab) -> None:
    worst = lab.model("grouped").run(TEXT).top(15)[-1].piece
    payload = ask(lab, answer="cat", wrong=worst if worst != "cat" else "dog")
    ids = [guess.token.id for guess in payload.guesses]
    assert payload.answer.id in ids
    assert payload.wrong is not None
    assert payload.wrong.id in ids
    assert [guess.rank for guess in payload.guesses] == sorted(guess.rank for guess in payload.guesses)


def test_the_reading_says_the_sum_and_the_norm(lab: Lab) -> None:
    payload = ask(lab, answer="cat", wrong="dog", by="head")
    said = payload.reading()
    assert f"{len(payload.terms())} terms by head add up to {payload.total:+.4f}" in said
    assert "remainder" in said
    assert f"Final RMSNorm: its divisor is held at this run's {payload.scale:.4g}" in said
    assert unpack(pack(payload), DirectAttribution).reading() == said


def test_a_post_norm_model_is_refused_with_the_reason(lab: Lab) -> None:
    lab.add("masked", masked("masked"))
    with pytest.raises(NotSupported, match="norms its stream after every addition") as caught:
        ask(lab, "masked", "the [MASK] sat on the mat")
    assert "Ablation" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"answer": "cat dog"}, "2 tokens"),
        ({"answer": "cat", "wrong": "cat"}, "same token"),
        ({"position": 99}, "no position 99"),
        ({"by": "molecule"}, "cannot use by = 'molecule'"),
    ],
)
def test_what_cannot_be_asked(lab: Lab, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ask(lab, **asked)
