"""The probe ladder and what erasing shows: the numbers of the library, and of the words they are read at."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from test_cli_causal import conllu

from llm_workings.core.errors import BadInput, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.models.sites import stream_of
from llm_workings.probing import collect, leace, probe, split_sentences, template
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.erased import Erased
from llm_workings.views.lab import Lab
from llm_workings.views.probe_ladder import ProbeLadder
from llm_workings.views.probe_tasks import with_tabs

TOY = "induction-2l"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


def ask(lab: Lab, name: str = "probe_ladder", **request: Any) -> Any:
    return REGISTRY[name].run(lab, {"model": TOY, **request})


def letters(count: int = 60) -> str:
    """Texts whose label is their last letter."""
    draw = Random(0)
    texts = ["".join(draw.choices("bcdfg", k=4)) + "ae"[i % 2] for i in range(count)]
    return "\n".join(f"{text[-1]} | {text}" for text in texts)


def test_the_ladder_is_what_the_library_finds(lab: Lab) -> None:
    payload: ProbeLadder = ask(lab, task="position", n=120, seed=1)
    report = probe(lab.model(TOY), template("position", 120, 1), limit=120, seed=1)
    assert payload.stops == [str(site) for site in stream_of(lab.model(TOY).spec)]
    np.testing.assert_allclose(payload.score, [layer.score.value for layer in report.layers], rtol=1e-6)
    np.testing.assert_allclose(payload.low, [layer.score.low for layer in report.layers], rtol=1e-6)
    np.testing.assert_allclose(payload.shuffled, [layer.shuffled for layer in report.layers], rtol=1e-6)
    np.testing.assert_allclose(payload.selectivity, payload.score - payload.control, atol=1e-6)
    np.testing.assert_allclose(payload.compression, payload.uniform_bits / payload.bits, rtol=1e-5)
    # what the page counts for itself: accuracy, and the words
    np.testing.assert_allclose((payload.predictions == payload.labels).mean(1), payload.score, atol=1e-6)
    words = [
        payload.sentences[s][b:e]
        for s, b, e in zip(payload.item_sentence, payload.item_begin, payload.item_end, strict=True)
    ]
    assert words == list(report.forms)
    assert [
        payload.sentences[s].split()[int(y)]
        for s, y in zip(payload.item_sentence, payload.labels, strict=True)
    ] == words
    assert payload.few_types
    assert f"best at {payload.stops[payload.best]}" in payload.reading()
    again = unpack(pack(payload), ProbeLadder)
    np.testing.assert_array_equal(again.predictions, payload.predictions)


def test_it_fills_stop_by_stop(lab: Lab) -> None:
    seen: list[ProbeLadder] = []
    watched = lab.for_job(Progress(show=lambda make: seen.append(make())))  # type: ignore[arg-type]
    whole: ProbeLadder = ask(watched, task="position", n=120)
    assert [one.done for one in seen] == list(range(1, len(whole.stops)))
    for one in seen:
        np.testing.assert_array_equal(one.score[: one.done], whole.score[: one.done])
        assert np.isnan(one.score[one.done :]).all()
    assert f"{seen[0].done} of {len(whole.stops)} stops are probed" in seen[0].reading()
    assert "stops are probed" not in whole.reading()


def test_a_toy_is_asked_for_what_its_letters_can_write(lab: Lab) -> None:
    assert ask(lab, n=60).task == "position"
    with pytest.raises(BadInput, match="has no 'T'"):
        ask(lab, n=60, task="number")


def test_own_texts_are_read_at_their_last_token_and_erased_there(lab: Lab) -> None:
    payload: ProbeLadder = ask(lab, task="labelled", labelled=letters())
    assert (payload.unit, payload.classes, payload.lookup) == ("texts", ["a", "e"], None)
    assert payload.score[0] == 1.0  # the letter itself
    assert np.isnan(payload.control).all()
    assert [payload.sentences[s][-1] for s in payload.item_sentence] == [
        payload.classes[int(y)] for y in payload.labels
    ]

    gone: Erased = ask(lab, "erased", task="labelled", labelled=letters(), stop="resid_post.0")
    assert (gone.rank, gone.before, gone.before_test) == (1, 1.0, 1.0)
    assert gone.after == pytest.approx(gone.majority)  # to the digit: no linear probe beats it
    assert gone.after_test < 0.75
    assert min(gone.random_test) > 0.9
    assert gone.effects[0].name == "the property"
    assert len(gone.effects) == 1 + len(gone.random_test)
    assert gone.effects[0].kl == pytest.approx(by_hand(lab.model(TOY), gone.sentences), rel=1e-4)
    assert gone.reading().startswith("Erasing labelled at resid_post.0 takes 1 of")


def by_hand(model: LanguageModel, measured: int) -> float:
    """KL a position when the last letter is erased after layer 0 of the texts that are tested on."""
    lines = [line.split(" | ") for line in letters().split("\n")]
    texts, labels = [text for _, text in lines], np.array([label == "e" for label, _ in lines]).astype(int)
    split = split_sentences(texts, 0.3, 0)
    eraser = leace(collect(model, texts, "resid_post.0").at("resid_post.0")[split.train], labels[split.train])
    chosen = [texts[i] for i in split.test[:measured]]
    clean = model.run(chosen)
    last = torch.zeros(clean.tokens.shape, dtype=torch.bool)
    last[:, -1] = True
    edited = model.run(chosen, edits=eraser.edit("resid_post.0", last))
    p, q = clean.log_probabilities, edited.log_probabilities
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_a_treebank_s_words_are_classes_or_values(lab: Lab) -> None:
    text = conllu(60, 0)
    kinds: ProbeLadder = ask(lab, task="part_of_speech", conllu=text, n=300)
    assert kinds.classes == ["NOUN", "VERB"]
    assert kinds.score[0] == 1.0
    assert kinds.n_train + kinds.n_test <= 300
    depths: ProbeLadder = ask(lab, task="dependency_depth", conllu=text, n=300)
    assert (depths.kind, depths.classes) == ("values", [])
    assert np.isfinite(depths.spearman).all()
    assert "R2" in depths.reading()
    with pytest.raises(BadInput, match="is a value"):
        ask(lab, "erased", task="dependency_depth", conllu=text, stop="resid_post.0")
    found: Erased = ask(lab, "erased", task="part_of_speech", conllu=text, stop="resid_post.1", n=300)
    assert found.after == pytest.approx(found.majority)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"task": "labelled"}, "no labelled texts"),
        ({"task": "labelled", "labelled": "\n\nabc"}, "line 3: there is no label before 'abc'"),
        ({"task": "labelled", "labelled": "a | b\n\nabc"}, "line 3: there is no tab in 'abc'"),
        ({"task": "labelled", "labelled": "a | b\na | "}, "line 2: the text is empty"),
        ({"task": "labelled", "labelled": "\n".join(f"a | b{c}" for c in "bcdef")}, "one class only"),
        ({"task": "labelled", "labelled": letters(8)}, "too few to learn from"),
        ({"task": "part_of_speech"}, "is read off a treebank"),
        ({"task": "part_of_speech", "conllu": "1\tb\n"}, "line 1: 2 columns"),
        ({"task": "position", "n": 12}, "12 sentences were asked for"),
    ],
)
def test_what_cannot_be_probed_is_said(lab: Lab, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        ask(lab, **request_)
    assert caught.value.hint or "makes" in str(caught.value)  # type: ignore[attr-defined]


def test_an_unknown_property_or_stop_suggests_the_nearest(lab: Lab) -> None:
    with pytest.raises(UnknownName, match="'position'"):
        ask(lab, task="positon")
    with pytest.raises(UnknownName, match="resid_post"):
        ask(lab, "erased", stop="resid_pots.1", task="position")


def test_labels_may_stand_before_a_bar() -> None:
    assert with_tabs("a | b | c\nd\te|f") == "a\tb | c\nd\te|f"
    assert with_tabs("label,text\na,b") == "label,text\na,b"


def test_a_file_holds_what_was_erased(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "standalone.js").write_text("0;", "utf-8")
    page = export_view(
        lab, "probe_ladder", {"model": TOY, "n": 60, "task": "position"}, {"erase": "1"}, bundle=tmp_path
    )
    assert '"view": "erased"' in page
    assert '"stop": "resid_post.0"' in page
    assert "Probe ladder: position in" in page
