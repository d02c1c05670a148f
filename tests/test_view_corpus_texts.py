"""The texts that excite a head or lie along a direction, as the views show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import causal

from llm_workings import neurons
from llm_workings.causal.steering import contrastive_pairs
from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.models.handmade import induction_circuit
from llm_workings.neurons import Corpus, along, read_scalars
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.corpus_texts import CorpusTexts
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the big red mat and the dog ran on the mat and a lion slept"
OWN = {"contrast": "own", "firsts": "the cat ran\nthe dog ran", "seconds": "the cat slept\nthe dog slept"}


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.add("causal", causal())
    return lab


@pytest.fixture
def corpus() -> str:
    return Corpus.of_text(TEXT, "lions").keep().name


def shown(lab: Lab, view: str, model: str = "causal", **request: Any) -> CorpusTexts:
    payload = REGISTRY[view].run(lab, {"model": model, **request})
    assert isinstance(payload, CorpusTexts)
    assert unpack(pack(payload), CorpusTexts).reading() == payload.reading()
    return payload


def test_the_texts_of_the_head_made_for_induction_say_something_again() -> None:
    made = induction_circuit()
    lab = Lab()
    lab.add("circuit", LanguageModel(made.transformer, made.tokenizer, "circuit"))
    name = Corpus.of_text("abcdefghijkae").keep().name
    layer, head = made.induction
    found = shown(lab, "head_texts", "circuit", layer=layer, head=head, corpus=name)
    best = found.top[0]
    tokens = [token.text for token in best.tokens]
    assert tokens[best.at] in tokens[: best.at]  # an a or an e, the second time
    assert best.values[best.at] > 0.9
    assert best.looked is not None
    assert best.looked.token.text == {"a": "b", "e": "f"}[tokens[best.at]]  # what came after it before
    assert best.looked.weight == pytest.approx(float(best.values[best.at]), rel=1e-3)
    assert f', on "{best.looked.token.text}")' in found.reading()
    again = [i for i in range(1, len(tokens)) if tokens[i] in tokens[:i]]
    assert set(np.argsort(-np.nan_to_num(best.values))[: len(again)].tolist()) == set(again)


def test_a_head_is_asked_in_three_ways_in_one_pass(lab: Lab, corpus: str) -> None:
    run = lab.model("causal").run(TEXT, keep=["pattern.1", "result.1"])
    pattern, length = run["pattern", 1][0, 2], run["result", 1][0, :, 2].norm(dim=-1)
    others = pattern.masked_fill(torch.eye(len(pattern), dtype=torch.bool), 0)[:, 1:].amax(-1)
    ways = {"attends": others, "off_first": 1 - pattern[:, 0], "writes": length}
    for by, values in ways.items():
        found = shown(lab, "head_texts", layer=1, head=2, by=by, corpus=corpus)
        assert (found.head, found.by) == (2, by)
        assert "head 1.2" in found.name.lower()
        assert found.mean == pytest.approx(float(values[1:].mean()), rel=1e-4)
        assert found.high == pytest.approx(float(values[1:].max()), rel=1e-5)
        assert found.top[0].position == 1 + int(values[1:].argmax())
        assert found.bottom[0].position == 1 + int(values[1:].argmin())
        for example in (*found.top, *found.bottom, *found.drawn):
            weights = pattern[example.position].clone()
            weights[[0, example.position]] = 0
            looked = example.looked
            if looked is None:
                assert weights.max() == 0
                continue
            assert looked.position == int(weights.argmax())
            assert looked.weight == pytest.approx(float(weights.max()), rel=1e-5)
            assert looked.token.id == int(run.tokens[0, looked.position])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neurons.scalars, "scan_scalars", None)  # the layer's other heads were read with it
        shown(lab, "head_texts", layer=1, head=0, corpus=corpus)


def test_a_direction_is_measured_in_typical_norms(lab: Lab, corpus: str) -> None:
    model = lab.model("causal")
    pairs = list(zip(OWN["firsts"].splitlines(), OWN["seconds"].splitlines(), strict=True))
    vector = contrastive_pairs(model, pairs).at(1)
    found = shown(lab, "direction_texts", layer=1, corpus=corpus, **OWN)
    stream = model.run(TEXT, keep=vector.site)[vector.site][0, 1:]
    values = stream @ torch.from_numpy(vector.unit) / vector.typical
    assert (found.low, found.high) == pytest.approx((float(values.min()), float(values.max())), rel=1e-4)
    assert found.top[0].position == 1 + int(values.argmax())
    assert found.left_out == 0
    text = "what lies along it"
    (same,) = read_scalars(
        model, Corpus.of_text(TEXT), [along(model, vector.site, torch.from_numpy(vector.unit), text)]
    )
    assert same.mean / vector.typical == pytest.approx(found.mean, rel=1e-4)


def test_the_texts_that_made_the_direction_are_left_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Corpus("made", "made", (TEXT, "the cat ran", "the dog slept"))
    monkeypatch.setattr(neurons, "corpus", lambda name: made)
    found = shown(lab, "direction_texts", layer=1, corpus="made", **OWN)
    assert found.left_out == 2
    assert found.tokens == len(TEXT.split()) - 1
    others = shown(
        lab, "direction_texts", layer=1, corpus="made", **{**OWN, "firsts": "a lion slept\na cat slept"}
    )
    assert others.left_out == 1


def test_files_carry_the_texts_that_the_page_shows(lab: Lab, corpus: str) -> None:
    request = {"prompt": TEXT, "model": "causal"}
    state = {"texts": "writes", "corpus": corpus}
    atlas = export_view(lab, "attention", request, {"pin": "1.2", **state})
    head = export_view(lab, "head", {**request, "layer": 1, "head": 2}, state)
    for html in (atlas, head):
        assert html.count('"view": "head_texts"') == 1
        assert '"by": "writes"' in html
        assert '"view": "corpora"' in html
    bench = export_view(lab, "steering", {**request, **OWN, "n": 2}, {"texts": "on", "corpus": corpus})
    assert bench.count('"view": "direction_texts"') == 1
    without = export_view(lab, "head", {**request, "layer": 1, "head": 2})
    assert '"view": "head_texts"' not in without
    assert "Texts of a corpus that excite it" in without
    unreadable = export_view(lab, "head", {**request, "layer": 1, "head": 2}, {"texts": "attends"})
    assert "The vocabulary of" in unreadable


@pytest.mark.parametrize(
    ("view", "request_", "error", "says"),
    [
        ("head_texts", {"layer": 3, "head": 0}, BadInput, "no layer 3"),
        ("head_texts", {"layer": 0, "head": 4}, BadInput, "heads 0 to 3"),
        ("head_texts", {"layer": 0, "head": 0, "by": "looks"}, BadInput, "by = 'looks'"),
        ("head_texts", {"layer": 0, "head": 0}, BadInput, "vocabulary"),
        ("head_texts", {"layer": 0, "head": 0, "corpus": "text-0123456789abcdef"}, UnknownName, "corpus"),
        ("direction_texts", {"layer": 9, **OWN}, BadInput, "no layer 9"),
        ("direction_texts", {"contrast": "own"}, BadInput, "no texts"),
    ],
)
def test_what_cannot_be_read_is_said(
    lab: Lab, view: str, request_: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        shown(lab, view, **request_)
