"""A probe of every layer: on tiny models, where what can be read is known."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import masked
from tiny_models import KINDS, tiny

from llm_workings.core.errors import BadInput, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.sites import stream_of
from llm_workings.probing.alignment import Passage
from llm_workings.probing.probes import LinearProbe, RidgeProbe
from llm_workings.probing.report import probe, probe_all
from llm_workings.probing.scores import Split
from llm_workings.probing.tasks import Task, labelled_texts

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(name: str, n: int = 150, length: int = 8, seed: int = 0) -> Task:
    """Every letter of random words of one letter each, labelled by something of it.

    "vowel" is of the letter alone; "after" is whether the letter before it
    is one of the first thirteen; "place" is where it
    stands, a value; "noise" is nothing at all.
    """
    draw = np.random.default_rng(seed)
    rows = [draw.choice(list(LETTERS), length).tolist() for _ in range(n)]
    labels = {
        "vowel": [[int(letter in "aeiou") for letter in row] for row in rows],
        "after": [[int(i > 0 and row[i - 1] < "n") for i in range(length)] for row in rows],
        "place": [list(range(length)) for _ in rows],
        "noise": draw.integers(0, 2, (n, length)).tolist(),
    }[name]
    passages = tuple(
        Passage.of(SimpleNamespace(text=" ".join(row), words=[SimpleNamespace(form=form) for form in row]))
        for row in rows
    )
    at = np.arange(n * length)
    values = np.array(labels, float if name == "place" else int).reshape(-1)
    classes = () if name == "place" else ("no", "yes")
    keys = tuple(passage.text for passage in passages)
    return Task(name, passages, at // length, at % length, values, classes, keys)


def test_a_property_of_the_word_is_read_from_its_embedding_and_so_is_any_other() -> None:
    """Twenty-six words in 16 dimensions: a probe of the embedding learns any label by heart."""
    report = probe(tiny("llama"), letters("vowel"))
    first = report["resid_pre.0"]
    assert first.score.value > 0.95
    assert report.lookup == 1
    assert first.control is not None
    assert first.control > 0.85
    assert first.selectivity == pytest.approx(first.score.value - first.control)
    assert first.selectivity < 0.12
    assert report.word_types == 26
    assert "26 word types only" in repr(report)
    assert first.code is not None
    assert first.code.compression > 1.5


def test_a_property_of_the_context_is_read_above_the_embedding_only() -> None:
    report = probe(tiny("gpt2"), letters("after", 500, 4), mlp=True)
    first, best = report["resid_pre.0"], report.best
    assert report.lookup == pytest.approx(report.majority, abs=0.03)
    assert first.score.value < report.majority + 0.03
    assert best.site.kind == "resid_post"
    assert best.score.low > report.majority + 0.03
    assert best.code is not None
    assert first.code is not None
    assert best.code.bits < first.code.bits
    assert first.mlp is not None
    assert best.mlp is not None
    assert first.mlp < report.majority + 0.05 < best.mlp
    assert best.mlp_control is not None


def test_noise_and_shuffled_labels_stay_at_chance() -> None:
    report = probe(tiny("llama"), letters("noise"))
    for layer in report.layers:
        assert layer.score.low < 0.55
        assert layer.shuffled == pytest.approx(0.5, abs=0.09)
        assert layer.code is not None
        assert layer.code.compression == pytest.approx(1, abs=0.06)


def test_a_value_is_read_with_r2_and_ranks() -> None:
    """Learned positions stand in the first stop of GPT-2's stream, and in no embedding of rotary models."""
    report = probe(tiny("gpt2"), letters("place", 300, 3))
    first = report["resid_pre.0"]
    assert first.score.value > 0.8
    assert first.spearman is not None
    assert first.spearman > 0.85
    assert first.selectivity is not None
    assert first.code is not None
    assert first.code.uniform == pytest.approx(report.n_train * np.log2(3))
    assert first.code.compression > 1.2
    assert report.majority == pytest.approx(0, abs=0.02)
    assert first.shuffled < 0.15
    assert isinstance(report.probe("resid_pre.0"), RidgeProbe)
    rotary = probe(tiny("llama"), letters("place"), sites="resid_pre.0").layers[0]
    assert rotary.score.high < 0.1
    assert "spearman" in repr(report)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_probed_at_every_stop(kind: str) -> None:
    model = tiny(kind)
    report = probe(model, letters("vowel", 60), mdl=False, l2=10)
    assert tuple(layer.site for layer in report.layers) == stream_of(model.spec)
    assert all(layer.score.low <= layer.score.value <= layer.score.high for layer in report.layers)
    assert all(layer.code is None and layer.l2 == 10 for layer in report.layers)
    assert report["resid_pre.0"].score.value > report.majority


def test_several_properties_are_read_in_one_pass_as_they_are_alone() -> None:
    model, tasks = tiny("gpt2"), [letters("vowel"), letters("place")]
    runs = 0
    run = model.run

    def counted(*given: object, **named: object) -> object:
        nonlocal runs
        runs += 1
        return run(*given, **named)  # type: ignore[arg-type]

    model.run = counted  # type: ignore[method-assign, assignment]
    together = probe_all(model, tasks)
    once = runs
    alone = [probe(model, task) for task in tasks]
    assert runs == 3 * once
    for one, other in zip(together, alone, strict=True):
        assert one.as_dict() == other.as_dict()
    with pytest.raises(BadInput, match="on different sentences"):
        probe_all(model, [letters("vowel"), letters("place", seed=1)])
    with pytest.raises(BadInput, match="no task"):
        probe_all(model, [])


def test_the_probe_that_is_returned_predicts_what_is_reported() -> None:
    model, task = tiny("llama"), letters("vowel")
    report = probe(model, task)
    fitted = report.probe("resid_post.1")
    assert isinstance(fitted, LinearProbe)
    words = [model.run(form, keep="resid_post.1", logits=False) for form in "ae"]
    assert fitted.weight.shape == (2, 16)
    assert fitted.predict(np.stack([run["resid_post.1"][0, 0].numpy() for run in words])).shape == (2,)
    at = [str(layer.site) for layer in report.layers].index("resid_post.1")
    right = (report.predictions[at] == report.labels).mean()
    assert right == pytest.approx(report["resid_post.1"].score.value)
    assert report.n_test == len(report.labels) == len(report.forms) == len(report.positions)
    with pytest.raises(UnknownName):
        report.probe("resid_post.7")


def test_positions_add_up_to_the_whole() -> None:
    report = probe(tiny("llama"), letters("vowel"))
    found = report.by_position()
    assert found.counts.sum() == report.n_test
    assert found.counts.tolist()[4:] == [0] * 3 or found.counts[4] > 0
    have = found.counts > 0
    for row, layer in zip(found.scores, report.layers, strict=True):
        assert (row[have] * found.counts[have]).sum() / report.n_test == pytest.approx(layer.score.value)
    assert np.isnan(found.scores[:, ~have]).all()


def test_the_report_is_json_and_the_same_again() -> None:
    one, again = (probe(tiny("llama"), letters("vowel", 60)) for _ in range(2))
    assert json.loads(json.dumps(one.as_dict())) == again.as_dict()
    assert one.as_dict()["layers"][0]["site"] == "resid_pre.0"
    assert one.as_dict() != probe(tiny("llama"), letters("vowel", 60), seed=1).as_dict()
    table = repr(one).splitlines()
    assert table[0].startswith("vowel in tiny-llama: linear probes, accuracy")
    assert len(table) == 5 + len(one.layers)
    assert len({len(line) for line in table[4:]}) == 1


def test_two_threads_find_what_one_does() -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(probe(tiny("gpt2"), letters("vowel", 60), mlp=True).as_dict())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_words_are_limited_by_whole_sentences() -> None:
    report = probe(tiny("llama"), letters("vowel"), limit=240)
    assert (report.n_train, report.n_test) == (160, 80)
    assert (report.train_sentences, report.test_sentences) == (20, 10)


def test_other_sentences_can_be_tested_on_but_not_the_same() -> None:
    model, task = tiny("llama"), letters("vowel", 60)
    other = letters("vowel", 20, seed=5)
    report = probe(model, task, test=other, limit=None)
    assert (report.train_sentences, report.test_sentences) == (60, 20)
    leaking = other.join(task.take([3]))
    with pytest.raises(BadInput, match="1 of the 21 sentences that are tested on are also learned from"):
        probe(model, task, test=leaking)
    assert probe(model, task, test=leaking.without(task)).test_sentences == 20
    with pytest.raises(BadInput, match="also learned from"):
        probe(model, task, test=Split(np.arange(30), np.arange(29, 60)))
    assert probe(model, task, test=Split(np.arange(30), np.arange(30, 60))).test_sentences == 30
    with pytest.raises(BadInput, match="ask different things"):
        probe(model, task, test=letters("after", 20, seed=5))
    with pytest.raises(BadInput, match="not understood"):
        probe(model, task, test="some")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="1 tasks to learn and 2 to test on"):
        probe_all(model, [task], test=[other, other])


def test_whole_texts_have_no_control_task() -> None:
    draw = np.random.default_rng(0)
    words = ["cat", "dog", "mat", "lion"]
    texts = sorted({f"the {a} {b} and {c}" for a, b, c in draw.choice(words, (90, 3)) if "sat" not in (a, b)})
    labels = ["lion" if "lion" in text else "none" for text in texts]
    report = probe(masked(), labelled_texts(labels, texts), limit=None)
    assert report.lookup is None
    assert report.word_types == 0
    assert all(layer.control is None and layer.selectivity is None for layer in report.layers)
    assert report["resid_pre.0"].score.value > 0.9  # the mean of the tokens has every word in it
    assert "selectivity" not in repr(report)


def test_nothing_to_learn_is_said() -> None:
    model = tiny("llama")
    with pytest.raises(BadInput, match="limit=1 leaves nothing"):
        probe(model, letters("vowel", 20), limit=1)
    task = letters("noise", 20)
    same = Task("same", task.passages, task.sentence, task.word, task.labels * 0, task.classes, task.keys)
    with pytest.raises(BadInput, match="same: what is learned from has a single label"):
        probe(model, same)


def test_it_says_how_far_it_is_and_stops_when_asked_to() -> None:
    said: list[str] = []
    probe(tiny("llama"), letters("vowel", 30), progress=Progress(lambda what, done, total: said.append(what)))
    assert list(dict.fromkeys(said)) == ["splitting words into tokens", "reading the layers", "probing vowel"]
    assert said.count("probing vowel") == 5
    said.append("")
    stop = Progress(lambda what, done, total: said.append(what), lambda: "probing" in said[-1])
    with pytest.raises(Cancelled, match="probing vowel"):
        probe(tiny("llama"), letters("vowel", 30), progress=stop)
