"""Prompts written to excite a neuron: against every prompt there is, of a model small enough for that."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import causal, masked
from tiny_models import tiny

from llm_workings.core.errors import BadInput, Cancelled, NotSupported, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.neurons import Corpus, read_layer, scan
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.neuron_prompt import NeuronPrompt

WORDS = 13  # of the small model's vocabulary
TEXT = "the cat sat on the big red mat and the dog ran on the mat and a lion slept"


@pytest.fixture
def model() -> LanguageModel:
    return causal()


@pytest.fixture
def lab(model: LanguageModel) -> Lab:
    lab = Lab()
    lab.add("causal", model)
    lab.add("masked", masked())
    lab.add("tiny", tiny("attention_only"))
    return lab


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A text that the small model can read, kept as a page keeps one."""
    monkeypatch.setattr(scan, "cache_folder", lambda: tmp_path)
    return Corpus.of_text(TEXT, "lions").keep().name


def written(lab: Lab, model: str = "causal", **request: object) -> NeuronPrompt:
    payload = REGISTRY["neuron_prompt"].run(lab, {"model": model, **request})
    assert isinstance(payload, NeuronPrompt)
    assert unpack(pack(payload), NeuronPrompt).reading() == payload.reading()
    return payload


def every(model: LanguageModel, layer: int, neuron: int, n: int) -> torch.Tensor:
    """The neuron at the last token of each prompt of n words."""
    rows = [list(words) for words in product(range(WORDS), repeat=n)]
    return model.run(rows, keep=[f"mlp_post.{layer}"])["mlp_post", layer][:, -1, neuron]


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize(("layer", "neuron", "n"), [(0, 3, 2), (1, 5, 2), (2, 17, 3)])
def test_the_best_of_all_prompts_is_found(
    lab: Lab, model: LanguageModel, layer: int, neuron: int, n: int, lowest: bool
) -> None:
    payload = written(lab, layer=layer, neuron=neuron, n=n, lowest=lowest, steps=10, seeds=6)
    values = every(model, layer, neuron, n)
    best = float(values.min() if lowest else values.max())
    assert payload.best is not None
    assert payload.prompts[payload.best].value == pytest.approx(best, rel=1e-4)


def test_a_neuron_that_reads_one_word_is_excited_by_it(lab: Lab, model: LanguageModel) -> None:
    """Its rows are the word's own embedding; without attention the stream of layer 0 is the embedding."""
    word = model.tokenizer.one("lion")
    with torch.no_grad():
        block = model.transformer.blocks[0]
        block.attention.output.weight.zero_()
        embedded = model.transformer.embed.weight[word]
        for row in (block.mlp.gate, block.mlp.input):
            row.weight[4] = embedded / block.ln2.weight
    found = written(lab, layer=0, neuron=4, n=3, steps=6)
    assert [each.tokens[-1].text for each in found.prompts] == ["lion"] * 3


def test_of_one_token_between_what_the_tokenizer_sets_the_best_is_found(lab: Lab) -> None:
    model = lab.model("masked")
    words = [i for i in range(model.tokenizer.vocab_size) if not model.tokenizer.is_special(i)]
    rows = [model.tokenizer.encode(model.tokenizer.piece(i)) for i in words]
    best = float(model.run(rows, keep="mlp_post.1")["mlp_post", 1][:, 1, 6].max())
    found = written(lab, "masked", layer=1, neuron=6, n=1, steps=6)
    assert max(each.value for each in found.prompts) == pytest.approx(best, rel=1e-4)


def test_what_is_shown_is_what_the_model_does_with_the_text(
    lab: Lab, model: LanguageModel, corpus: str
) -> None:
    found = written(lab, layer=1, neuron=5, n=3, steps=5, corpus=corpus)
    assert found.complete
    assert (found.planned, [each.seed for each in found.prompts]) == (4, [None, 0, 1, 2])
    for each in found.prompts:
        run = model.run(each.text, keep="mlp_post.1")
        assert [token.id for token in each.tokens] == run.tokens[0].tolist()
        np.testing.assert_allclose(each.values, run["mlp_post", 1][0, :, 5], atol=1e-5)
        assert each.at == 2
        assert each.history.shape == (5,)
        assert sorted(each.history.tolist()) == each.history.tolist()
        assert each.history[-1] == pytest.approx(each.value, abs=1e-5)
        assert each.history[0] >= each.start - 1e-5
        logits = run.logits[0].log_softmax(-1)
        surprise = [-float(logits[i, token.id]) for i, token in enumerate(each.tokens[1:])]
        assert each.loss == pytest.approx(np.mean(surprise), rel=1e-5)


def test_it_is_compared_with_the_best_place_of_the_corpus(
    lab: Lab, model: LanguageModel, corpus: str
) -> None:
    found = written(lab, layer=1, neuron=5, n=3, steps=5, corpus=corpus)
    ids = model.tokenizer.encode(TEXT)
    post = model.run(TEXT, keep="mlp_post.1")["mlp_post", 1][0, :, 5]
    at = 1 + int(post[1:].argmax())
    assert found.real is not None
    assert found.real.values[found.real.at] == pytest.approx(float(post[at]), rel=1e-5)
    assert found.real.tokens[found.real.at].id == ids[at]
    assert found.best is not None
    best = found.prompts[found.best].value
    assert f"comes to {best:+.3g}: {best / float(post[at]):.3g} times" in found.compared
    low = written(lab, layer=1, neuron=5, n=3, steps=5, corpus=corpus, lowest=True)
    assert low.real is not None
    assert low.real.values[low.real.at] == pytest.approx(float(post[1:].min()), rel=1e-5)
    started = next(each for each in found.prompts if each.seed is None)
    statistics = read_layer(model, Corpus.of_text(TEXT), 1)[5]
    place = next(each for each in statistics.top if each.position >= 3)
    words = model.run([[*ids[place.position - 2 : place.position + 1]]], keep="mlp_post.1")
    assert started.start == pytest.approx(float(words["mlp_post", 1][0, -1, 5]), rel=1e-5)


def test_without_a_corpus_it_says_so_and_writes_all_the_same(lab: Lab) -> None:
    found = written(lab, layer=0, neuron=0, n=2, steps=2, seeds=2)
    assert found.real is None
    assert "no real text" in found.compared
    assert [each.seed for each in found.prompts] == [0, 1]


def test_fluency_gives_up_activation_for_likelier_text(lab: Lab) -> None:
    plain, fluent = (
        written(lab, layer=2, neuron=5, n=4, steps=12, seeds=1, fluency=w).prompts[0] for w in (0.0, 100.0)
    )
    assert fluent.loss is not None
    assert plain.loss is not None
    assert fluent.loss < plain.loss
    assert fluent.value < plain.value


def test_a_masked_model_reads_the_prompt_within_its_frame(lab: Lab) -> None:
    found = written(lab, "masked", layer=1, neuron=2, n=2, steps=4, seeds=1).prompts[0]
    assert [token.text for token in found.tokens][::3] == ["[CLS]", "[SEP]"]
    assert (found.at, found.loss) == (2, None)


def test_what_is_written_so_far_is_shown_and_writing_can_be_stopped(model: LanguageModel) -> None:
    seen: list[NeuronPrompt] = []
    stopping = Progress(cancelled=lambda: len(seen) >= 7, show=lambda make: seen.append(make()))  # type: ignore[arg-type]
    lab = Lab(progress=stopping)
    lab.add("causal", model)
    with pytest.raises(Cancelled):
        written(lab, layer=1, neuron=5, n=3, steps=5)
    assert [len(each.prompts) for each in seen] == [1] * 5 + [2] * 2
    assert [len(each.prompts[-1].history) for each in seen] == [1, 2, 3, 4, 5, 1, 2]
    assert not any(each.complete for each in seen)
    assert all("None" not in each.reading() for each in seen)


def test_a_file_carries_the_prompts_that_the_page_shows(lab: Lab) -> None:
    request = {"prompt": TEXT, "model": "causal"}
    state = {"neuron": "1.5", "excite": "low", "excite_n": "3", "excite_seed": "2", "excite_fluency": "0.5"}
    html = export_view(lab, "mlp", request, state)
    assert html.count('"view": "neuron_prompt"') == 1
    for said in ('"lowest": true', '"n": 3', '"seed": 2', '"fluency": 0.5'):
        assert said in html
    one = export_view(
        lab, "neuron", {**request, "layer": 1, "neuron": 5}, {"excite": "high", "excite_n": "2"}
    )
    assert one.count('"view": "neuron_prompt"') == 1
    assert '"view": "neuron_prompt"' not in export_view(lab, "mlp", request, {"neuron": "1.5"})
    bad = export_view(lab, "mlp", request, {**state, "excite_n": "many"})
    assert "Prompts that excite neuron 1.5: " in bad


@pytest.mark.parametrize(
    ("model_", "request_", "error", "says"),
    [
        ("causal", {"layer": 3, "neuron": 0}, BadInput, "no layer 3"),
        ("causal", {"layer": 0, "neuron": 32}, BadInput, "neurons 0 to 31"),
        ("causal", {"layer": 0, "neuron": 0, "n": 0}, BadInput, "n = 0"),
        ("causal", {"layer": 0, "neuron": 0, "corpus": "text-0123456789abcdef"}, UnknownName, "corpus"),
        ("masked", {"layer": 0, "neuron": 0, "fluency": 1}, BadInput, "how likely"),
        ("tiny", {"layer": 0, "neuron": 0}, NotSupported, "attention only"),
    ],
)
def test_what_cannot_be_written_for_is_refused(
    lab: Lab, model_: str, request_: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        written(lab, model_, **request_)


def test_one_token_where_nothing_stands_before_it_is_refused(lab: Lab) -> None:
    with pytest.raises(BadInput, match="first thing"):
        written(lab, layer=0, neuron=0, n=1)
