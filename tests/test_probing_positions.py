"""A probe at every site and word: on a tiny model that is told the label at a word that is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import tiny

from llm_workings.core.errors import BadInput, Cancelled
from llm_workings.core.progress import Progress
from llm_workings.probing import at_word, labelled_texts, probe, probe_words, template
from llm_workings.probing.alignment import Passage
from llm_workings.probing.positions import ByWord
from llm_workings.probing.tasks import Task

LETTERS = "abcdefgh"
TOLD = 2


def early_or_late(n: int = 150, length: int = 5) -> Task:
    """Random letters; whether the third is of the first half of the letters. Read at the last."""
    draw = np.random.default_rng(0)
    rows = [draw.choice(list(LETTERS), length).tolist() for _ in range(n)]
    passages = tuple(
        Passage.of(SimpleNamespace(text=" ".join(row), words=[SimpleNamespace(form=form) for form in row]))
        for row in rows
    )
    labels = np.array([int(row[TOLD] < "e") for row in rows])
    keys = tuple(passage.text for passage in passages)
    return Task(
        "early", passages, np.arange(n), np.full(n, length - 1), labels, ("late", "early"), keys, "Early?"
    )


def test_each_is_the_probe_that_is_fitted_there_by_hand() -> None:
    model, task = tiny("llama"), early_or_late()
    found = probe_words(model, task, "mlp_out.*", seed=3)
    assert [str(site) for site in found.sites] == ["mlp_out.0", "mlp_out.1", "mlp_out.2"]
    for word in (0, TOLD, 4):
        report = probe(model, at_word(task, word), "mlp_out.*", limit=None, l2=30, mdl=False, seed=3)
        assert (found.n_train, found.n_test) == (report.n_train, report.n_test)
        assert found.majority == report.majority
        assert found.lookup[word] == report.lookup
        assert found.word_types[word] == report.word_types
        for row, layer in zip(found.results, report.layers, strict=True):
            assert row[word] == layer  # score, interval, control, shuffled and all
    chosen = probe_words(model, task, "mlp_out.1", l2=None)
    report = probe(model, task, "mlp_out.1", limit=None, mdl=False)
    assert chosen.results[0][4] == report.layers[0]


def test_what_no_word_has_said_cannot_be_read_by_a_causal_model() -> None:
    task = early_or_late(400)
    found = probe_words(tiny("llama"), task, "resid_post.*", l2=1.0)
    assert found.told_at == TOLD
    score = np.array([[one.score.value for one in row] for row in found.results])
    low = np.array([[one.score.low for one in row] for row in found.results])
    assert score[:, :TOLD].mean() == pytest.approx(0.5, abs=0.08)
    assert low[:, :TOLD].max() < 0.5
    assert low[:, TOLD].max() > 0.6
    both = probe_words(tiny("encoder"), task, "ln2.*", l2=1.0)
    assert max(one.score.low for row in both.results for one in row[:TOLD]) > 0.6  # it has seen what comes
    shuffled = np.array([[one.shuffled for one in row] for row in found.results])
    assert shuffled.mean() == pytest.approx(0.5, abs=0.08)


def test_it_is_followed_site_by_site_and_stopped() -> None:
    seen: list[ByWord] = []
    task = early_or_late(60)
    whole = probe_words(tiny("llama"), task, watch=seen.append)
    assert [len(one.results) for one in seen] == [1, 2]
    assert seen[1].results == whole.results[:2]
    said = [""]
    stop = Progress(
        lambda what, done, total: said.append(f"{what} {done}"), lambda: said[-1].endswith("word 7")
    )
    with pytest.raises(Cancelled, match="probing early at every word"):
        probe_words(tiny("llama"), task, progress=stop)


def test_words_are_compared_in_sentences_of_one_length_and_label() -> None:
    model, task = tiny("llama"), early_or_late(40)
    longer = early_or_late(40, 6)
    mixed = replace(task, passages=(*task.passages[:39], longer.passages[39]))
    with pytest.raises(BadInput, match=r"have 5 to 6 words.*one length"):
        probe_words(model, mixed)
    with pytest.raises(BadInput, match="position: a sentence is to have one label"):
        probe_words(model, template("position", 60))
    texts = [f"{a} {b}" for a in LETTERS[:5] for b in LETTERS[:5]]
    with pytest.raises(BadInput, match="have no words of their own"):
        probe_words(model, labelled_texts(["xy"[i % 2] for i in range(25)], texts))
    with pytest.raises(BadInput, match="no word 5: the sentences have 5"):
        at_word(task, 5)
