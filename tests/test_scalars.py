"""Heads and directions over a corpus: known answers, and every number against a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import COMMON, causal, headless, masked
from tiny_models import tiny

import llm_workings as lw
from llm_workings.core.errors import BadInput, Cancelled, NotSupported, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.handmade import induction_circuit
from llm_workings.models.sites import site
from llm_workings.neurons import (
    Corpus,
    Scalar,
    along,
    head_attention,
    head_writes,
    read_layer,
    read_scalars,
    unembedding,
)
from llm_workings.neurons.statistics import Statistics
from llm_workings.trace.model import LanguageModel


@pytest.fixture
def model() -> LanguageModel:
    return causal()


@pytest.fixture
def text() -> Corpus:
    return Corpus.of_text(" ".join(np.random.default_rng(0).choice(COMMON, 400)))


def alone(model: LanguageModel, text: Corpus, keep: str) -> list[torch.Tensor]:
    """A site in each passage, run by itself, of the tokens that count."""
    rows = text.rows(model)
    return [model.run([ids], keep=keep)[keep][0, rows.first : len(ids) - rows.after] for ids in rows.ids]


def agrees(found: Statistics, passages: list[torch.Tensor], first: int) -> None:
    """Its moments, and the places of its examples, are those of the values `[position]` of each passage."""
    values = torch.cat(passages)
    assert found.mean == pytest.approx(float(values.mean()), abs=1e-4)
    assert found.spread == pytest.approx(float(values.std(correction=0)), abs=1e-4)
    assert (found.low, found.high) == pytest.approx((float(values.min()), float(values.max())), abs=1e-5)
    assert found.counts.sum() == len(values)
    order = sorted(range(len(passages)), key=lambda i: -float(passages[i].max()))
    assert [each.passage for each in found.top[:3]] == order[:3]
    for each in (*found.top, *found.drawn):
        value = float(passages[each.passage][each.position - first])
        assert each.value == pytest.approx(value, abs=2e-3 * max(1, abs(value)))


# --- known answers -------------------------------------------------------------------------------


def repeated() -> tuple[Corpus, set[tuple[str, int]]]:
    """Lines of letters, some said twice; and the places where a letter comes again."""
    draw = np.random.default_rng(3)
    lines = []
    for number in range(12):
        said = "".join(draw.choice(list("abcdefghijklm"), 10, replace=False))
        lines.append(said[:6] + said[:4] if number % 2 else said)
    again = {(line, at) for line in lines for at, letter in enumerate(line) if letter in line[:at]}
    return Corpus("lines", "lines", tuple(lines)), again


def test_the_head_made_for_induction_attends_where_a_token_comes_again() -> None:
    made = induction_circuit()
    model = LanguageModel(made.transformer, made.tokenizer, "circuit")
    corpus, again = repeated()
    rows = corpus.rows(model)
    (attends,) = read_scalars(model, corpus, [head_attention(model, *made.induction)])
    found = {(corpus.passages[each.passage], each.position - rows.first) for each in attends.top[:6]}
    assert len(again) == 24
    assert found <= again
    assert {line for line, _ in found} == {line for line, _ in again}  # one place a passage
    assert attends.top[5].value > 0.9
    assert attends.top[6].value < 0.5  # the lines that say nothing twice


def test_the_trained_induction_head_does_too_and_its_neighbours_do_not() -> None:
    model = lw.load("induction-2l", device="cpu")
    corpus, again = repeated()
    first = corpus.rows(model).first
    heads = [(layer, head) for layer in range(2) for head in range(model.spec.attention.n_heads)]
    found = read_scalars(model, corpus, [head_attention(model, *head) for head in heads])
    share = [
        np.mean([(corpus.passages[e.passage], e.position - first) in again for e in each.top[:6]])
        for each in found
    ]
    strength = [each.top[5].value for each in found]
    induction = [i for i, part in enumerate(share) if part == 1 and strength[i] > 0.5]
    assert induction
    assert all(heads[i][0] == 1 for i in induction)


def test_the_direction_of_a_token_ranks_places_by_its_logit(model: LanguageModel, text: Corpus) -> None:
    first = text.rows(model).first
    (found,) = read_scalars(model, text, [along(model, "ln_final", unembedding(model, "lion"))])
    logits = [each[:, model.token("lion")] for each in alone(model, text, "logits")]
    agrees(found, logits, first)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox"])
def test_below_the_last_norm_it_is_the_logit_but_for_the_divisor(kind: str) -> None:
    model = tiny(kind)
    last = f"resid_post.{model.spec.n_layers - 1}"
    scalar = along(model, last, unembedding(model, 7, last))
    run = model.run([[1, 5, 2, 9]], keep=[last, "ln_final", "ln_final_scale"], logits=True)
    exact = along(model, "ln_final", unembedding(model, 7))
    norm = model.transformer.final_norm
    bias = getattr(norm, "bias", None)
    shift = 0.0 if bias is None else bias @ model.transformer.unembed.weight[7]
    expected = exact.value(run) - shift
    divided = scalar.value(run) / run["ln_final_scale"][..., 0]
    assert torch.allclose(divided, expected, rtol=1e-4, atol=1e-5)


# --- against a loop ------------------------------------------------------------------------------


def test_heads_are_read_as_the_model_runs_them(model: LanguageModel, text: Corpus) -> None:
    first = text.rows(model).first
    vector = torch.randn(model.spec.d_model, generator=torch.Generator().manual_seed(5))
    scalars = [
        head_writes(model, 1, 3),
        head_writes(model, 2, 0, vector),
        head_attention(model, 1, 2, "off_first"),
        head_attention(model, 1, 2),
    ]
    norm, part, off, largest = read_scalars(model, text, scalars)
    agrees(norm, [each[:, 3].norm(dim=-1) for each in alone(model, text, "result.1")], first)
    agrees(part, [each[:, 0] @ vector for each in alone(model, text, "result.2")], first)
    patterns = [model.run([ids], keep="pattern.1")["pattern.1"][0, 2] for ids in text.rows(model).ids]
    agrees(off, [1 - each[first:, 0] for each in patterns], first)
    strongest = [
        torch.stack([torch.cat((row[1:q], row[q + 1 :])).max() for q, row in enumerate(each) if q >= first])
        for each in patterns
    ]
    agrees(largest, strongest, first)


def test_a_coordinate_of_the_neurons_is_the_neuron(
    model: LanguageModel, text: Corpus, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuron = read_layer(model, text, 1, cache=False)[7]
    (found,) = read_scalars(model, text, [along(model, "mlp_post.1", 7)])
    for name in ("mean", "spread", "low", "high", "selectivity"):
        assert getattr(found, name) == pytest.approx(getattr(neuron, name), rel=1e-5)
    assert [e.position for e in found.top] == [e.position for e in neuron.top]
    assert [e.position for e in found.drawn] == [e.position for e in neuron.drawn]
    assert [each.token for each in found.selective] == [each.token for each in neuron.selective]


def test_what_one_writes_oneself_and_a_model_that_reads_both_ways(text: Corpus) -> None:
    model = masked()
    at = site("resid_post", 0)
    length = Scalar("length", (at,), lambda run: run[at].norm(dim=-1))
    found = read_scalars(model, text, [length, along(model, "z.1", 5)], tokens=100)
    assert "length, in masked, over" in repr(found[0])
    assert not {token.token for token in found[0].selective} & {
        model.tokenizer.cls_id,
        model.tokenizer.sep_id,
    }
    assert found[0].kept is found[1].kept


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda m: along(m, "resid_post.0", 24), BadInput, "no coordinate 24"),
        (lambda m: along(m, "resid_post.0", torch.ones(3)), BadInput, "3 numbers, and resid_post.0 24"),
        (lambda m: along(m, "pattern.0", 0), BadInput, "no one site"),
        (lambda m: along(m, "resid_post.*", 0), BadInput, "no one site"),
        (lambda m: along(m, "resid_pst.0", 0), UnknownName, "resid_pst"),
        (lambda m: head_writes(m, 3, 0), BadInput, "layers 0 to 2"),
        (lambda m: head_attention(m, 0, 4), BadInput, "no head 0.4: .* heads 0 to 3"),
        (lambda m: head_writes(m, 0, 0, torch.ones(2)), BadInput, "2 numbers"),
        (lambda m: unembedding(m, "cat dog"), BadInput, "cat dog"),
        (lambda m: unembedding(headless(), 3), NotSupported, "no logits"),
        (lambda m: read_scalars(m, Corpus.of_text("the cat"), []), BadInput, "no scalars"),
    ],
)
def test_what_cannot_be_read_is_said(
    model: LanguageModel, make: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make(model)


def test_reading_says_how_far_it_is_and_can_be_stopped(model: LanguageModel, text: Corpus) -> None:
    told: list[tuple[str, int, int]] = []
    scalars = [head_writes(model, 0, 0)]
    read_scalars(model, text, scalars, progress=Progress(lambda *said: told.append(said)))
    assert "z.0" in told[0][0]
    assert told[-1][1:] == (400, 400)
    with pytest.raises(Cancelled):
        read_scalars(model, text, scalars, progress=Progress(cancelled=lambda: True))
