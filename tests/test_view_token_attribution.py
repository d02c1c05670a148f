"""Token attribution as a page shows it: the library's values, how they agree, and what is refused."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small_models import causal, small_lab

from llm_workings import cli_explain
from llm_workings.attribution.tokens.gradient import gradient_x_input, integrated_gradients
from llm_workings.attribution.tokens.mixing import attention_rollout, value_zeroing
from llm_workings.attribution.tokens.question import Answer
from llm_workings.attribution.tokens.relevance import attn_lrp, cp_lrp
from llm_workings.attribution.tokens.removal import leave_one_out
from llm_workings.cli import main
from llm_workings.core.errors import BadInput, Cancelled, NotSupported
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.models.catalogue import WHEELS
from llm_workings.views import REGISTRY
from llm_workings.views.lab import Lab
from llm_workings.views.token_attribution import MOST, Attributed, TokenAttribution
from llm_workings.views.token_methods import METHODS, Method

TEXT = "the cat sat on the cat and the"
STORE = "When Mary and John went to the store, John gave a drink to"
REAL = "smollm2-135m"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return small_lab()


def ask(lab: Lab, model: str = "causal", prompt: str = TEXT, **request: Any) -> TokenAttribution:
    payload = REGISTRY["token_attribution"].run(lab, {"prompt": prompt, "model": model, **request})
    assert isinstance(payload, TokenAttribution)
    return payload


def row_of(payload: TokenAttribution, method: Method) -> Attributed:
    return next(row for row in payload.rows if row.method == method)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"answer": "dog", "wrong": "lion"}, Answer("dog", "lion", position=7)),
        ({"answer": "mat", "position": 3}, Answer("mat", position=3)),
        ({"answer": "mat", "kind": "probability"}, Answer("mat", kind="probability", position=7)),
    ],
)
def test_every_line_is_the_librarys(lab: Lab, asked: dict[str, Any], answer: Answer) -> None:
    payload, model = ask(lab, **asked), lab.model("causal")
    assert [row.method for row in payload.rows] == list(METHODS)
    assert payload.complete
    at = answer.position
    assert at is not None
    assert payload.readable == at + 1
    for method, find in {
        "leave_one_out": leave_one_out,
        "attn_lrp": attn_lrp,
        "cp_lrp": cp_lrp,
        "gradient_x_input": gradient_x_input,
        "integrated_gradients": integrated_gradients,
    }.items():
        found, row = find(model, TEXT, answer), row_of(payload, method)  # type: ignore[operator, arg-type]
        np.testing.assert_allclose(row.values, found.values.numpy(), atol=1e-6)
        assert payload.score == pytest.approx(found.score, abs=1e-5)
        assert row.expected == (None if found.expected is None else pytest.approx(found.expected, abs=1e-5))
        assert row.sum == pytest.approx(found.sum, abs=1e-5)
        assert tuple(row.notes) == found.notes
        assert row.done == len(payload.tokens) == 8
    for method, mix in (("attention_rollout", attention_rollout), ("value_zeroing", value_zeroing)):
        row = row_of(payload, method)  # type: ignore[arg-type]
        np.testing.assert_allclose(row.values, mix(model, TEXT).of(at).numpy(), atol=1e-6)
        assert row.values[at + 1 :].tolist() == [0] * (7 - at)
        assert not row.of_answer
    again = unpack(pack(payload), TokenAttribution)
    np.testing.assert_array_equal(again.rows[0].values, payload.rows[0].values)


def test_agreement_is_over_what_the_answer_can_read(lab: Lab) -> None:
    payload = ask(lab, answer="dog", wrong="lion", position=5)
    first = payload.reference
    assert first is not None
    assert (first.same_top, first.spearman, first.spearman_sizes) == (None, None, None)
    assert first.top == int(np.abs(first.values).argmax())
    kinds = set()
    for row in payload.rows[1:]:
        mine, theirs = row.values[:6], first.values[:6]
        top = int(np.abs(row.values).argmax())
        assert row.top == top
        assert row.same_top is (top == first.top)
        if row.of_answer:
            assert row.spearman == pytest.approx(spearmanr(mine, theirs).statistic, abs=1e-9)
        else:
            assert row.spearman is None
        sizes = spearmanr(np.abs(mine), np.abs(theirs)).statistic
        assert row.spearman_sizes == pytest.approx(sizes, abs=1e-9)
        signs = np.sign(row.values[top]) == np.sign(first.values[top])
        assert row.same_sign == (bool(signs) if row.same_top and row.of_answer else None)
        kinds.add(row.same_top)
    assert kinds == {True, False}
    said = payload.reading()
    assert f"without {payload.tokens[first.top].text!r}".replace("'", '"') in said
    assert f"Of 6 other methods {sum(bool(row.same_top) for row in payload.rows)} name the same" in said


def test_a_constant_line_has_no_rank_and_no_first(lab: Lab) -> None:
    lab.add("blank", blank := causal("blank"))
    with torch.no_grad():
        blank.transformer.unembed.weight.zero_()
    payload = ask(lab, "blank", answer="dog", wrong="lion", methods=["leave_one_out", "cp_lrp"])
    assert [row.top for row in payload.rows] == [None, None]
    assert payload.rows[1].spearman is None
    assert payload.rows[1].same_top is None
    assert any("zero" in note.lower() for note in payload.rows[1].notes)
    assert "loses most" not in payload.reading()


def test_one_token_is_no_agreement(lab: Lab) -> None:
    payload = ask(lab, prompt="cat", answer="dog", wrong="lion")
    assert payload.rows[0].top == 0
    assert {row.same_top for row in payload.rows} == {None}
    assert {row.spearman for row in payload.rows} == {None}
    assert "other methods" not in payload.reading()


def test_the_answer_is_the_models_own_and_the_texts_tokens_are_among_the_guesses(lab: Lab) -> None:
    payload = ask(lab, methods=["gradient_x_input"])
    best = lab.model("causal").run(TEXT).top(1)[0]
    assert payload.answer.text == best.piece
    assert payload.wrong is None
    assert len({guess.token.text for guess in payload.guesses} & set(TEXT.split())) >= 3
    assert [row.method for row in payload.rows] == ["gradient_x_input"]
    assert payload.reference is None


def test_a_model_that_reads_both_ways_answers_at_its_mask(lab: Lab) -> None:
    payload = ask(lab, "masked", "the cat [MASK] on the mat", answer="sat", wrong="ran")
    assert payload.tokens[payload.position].text == "[MASK]"
    assert payload.readable == len(payload.tokens)
    assert all(row.values[-1] != 0 for row in payload.rows if row.of_answer)


def test_it_fills_cheap_methods_first_and_leaving_out_token_by_token(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_workings.attribution.tokens.removal.AT_ONCE", 16)  # two places at a time
    seen: list[TokenAttribution] = []
    progress = Progress(show=lambda make: seen.append(make()))  # type: ignore[arg-type]
    ask(lab.for_job(progress), answer="dog", wrong="lion")
    done = [{row.method: row.done for row in partial.rows} for partial in seen]
    assert not any(partial.complete for partial in seen)
    assert [method for method, count in done[0].items() if count] == ["gradient_x_input"]
    for before, after in itertools.pairwise(done):
        assert all(after[method] >= count for method, count in before.items())
    assert {counts["leave_one_out"] for counts in done} == {0, 2, 4, 6, 8}
    partly = next(partial for partial in seen if 0 < partial.rows[0].done < 8)
    assert partly.rows[0].top is None
    assert partly.rows[1].same_top is None
    assert set(done[-1].values()) == {8}


def test_it_can_be_stopped_while_tokens_are_left_out(lab: Lab) -> None:
    reached: list[str] = []
    progress = Progress(
        listen=lambda what, done, total: reached.append(what),
        cancelled=lambda: "leaving tokens out" in reached,
    )
    with pytest.raises(Cancelled):
        ask(lab.for_job(progress), answer="dog")
    assert "integrating" not in reached


@pytest.mark.parametrize(
    ("model", "request_", "said"),
    [
        ("headless", {"prompt": "the cat"}, "has no head"),
        ("masked", {"prompt": "the cat"}, "answers at a mask; the text has 0"),
        ("causal", {"answer": "the cat"}, "'the cat'"),
        ("causal", {"answer": "dog", "wrong": "dog"}, "same token"),
        ("causal", {"answer": "dog", "wrong": "cat", "kind": "probability"}, "of one token"),
        ("causal", {"position": 8}, "no position 8"),
        ("causal", {"methods": ["attn"]}, "methods.0 = 'attn'"),
        ("causal", {"methods": []}, "methods = "),
    ],
)
def test_what_cannot_be_asked_is_said(lab: Lab, model: str, request_: dict[str, Any], said: str) -> None:
    with pytest.raises((BadInput, NotSupported), match=said):
        ask(lab, model, **{"prompt": TEXT, **request_})


def test_a_long_text_is_refused_before_it_is_run(lab: Lab) -> None:
    lab.add("long", causal("long", n_ctx=2 * MOST))
    with pytest.raises(BadInput, match=f"has {MOST + 1} tokens; at most {MOST}"):
        ask(lab, "long", " ".join(["cat"] * (MOST + 1)))


def test_the_command_prints_the_views_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli_explain.METHODS == tuple(METHODS) == get_args(Method)
    monkeypatch.setattr("llm_workings.views.bundle.BUNDLE", tmp_path)
    (tmp_path / "standalone.js").write_text("1;", "utf-8")

    def call(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["llm-workings", "explain", *arguments, "--model", "induction-2l"])
        with pytest.raises(SystemExit):
            main()
        said = capsys.readouterr()
        return said.out, said.err

    page = tmp_path / "page.html"
    named = ["--method", "cp_lrp", "--method", "leave_one_out"]
    out, err = call("abcdeab", "-a", "c", "-w", "d", *named, "-o", str(page))
    assert err == ""
    payload = ask(
        Lab(), "induction-2l", "abcdeab", answer="c", wrong="d", methods=["leave_one_out", "cp_lrp"]
    )
    table = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    shown = np.array([[float(cell) for cell in line[-2:]] for line in table])
    np.testing.assert_allclose(shown, np.stack([row.values for row in payload.rows], 1), atol=6e-5)
    assert f"is {payload.score:+.4f}" in out
    assert f"sum {payload.rows[1].sum:+.4f} of {payload.rows[1].expected:+.4f}" in out
    assert '"view": "token_attribution"' in page.read_text("utf-8")
    assert "attn_lrp" in call("abcdeab", "-a", "c", "--method", "attnlrp")[1]


@pytest.mark.skipif(not WHEELS[REAL].wheel.is_here(), reason=f"{REAL} is not in the cache")
def test_on_smollm2_three_methods_name_the_token_that_is_missed_most() -> None:
    """Of the answer " Mary" rather than " John"; integrated gradients say that they have not converged."""
    methods = ["leave_one_out", "attn_lrp", "cp_lrp", "gradient_x_input"]
    payload = ask(Lab(), REAL, STORE, answer=" Mary", wrong=" John", methods=methods)
    first = payload.reference
    assert first is not None
    assert first.top is not None
    assert payload.tokens[first.top].text == " Mary"
    assert [row.same_top for row in payload.rows[1:]] == [True, True, True]
    assert [row.same_sign for row in payload.rows[1:]] == [True, True, False]
    assert row_of(payload, "cp_lrp").sum == pytest.approx(payload.score, abs=1e-4)
    assert "3 name the same token first: AttnLRP, CP-LRP, Gradient × input" in payload.reading()
    assert " John" in {guess.token.text for guess in payload.guesses}
