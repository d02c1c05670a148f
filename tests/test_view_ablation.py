"""The ablation view against whole runs with edits, and what it says of what stood in the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import masked, small_lab

from llm_workings.causal import metrics
from llm_workings.causal.ablation import MeanOf, edits_of
from llm_workings.causal.base import Base
from llm_workings.core.errors import BadInput, Cancelled, NotSupported
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.views import REGISTRY
from llm_workings.views.ablation import AblatedAnswer, Ablation
from llm_workings.views.lab import Lab

TEXT = "the cat sat on the cat and the"
OTHERS = [
    "the dog ran on the mat and a",
    "a lion slept on the big red mat",
    "the cat ran and the big dog sat",
]
PAIR = {"answer": "cat", "wrong": "dog"}


@pytest.fixture(scope="module")
def lab() -> Lab:
    return small_lab()


def ask(lab: Lab, model: str = "causal", prompt: str = TEXT, **request: Any) -> Ablation:
    payload = REGISTRY["ablation"].run(lab, {"prompt": prompt, "model": model, **request})
    assert isinstance(payload, Ablation)
    return payload


def measured(lab: Lab, edits: Any, model: str = "causal", position: int = -1) -> float:
    loaded = lab.model(model)
    logits = loaded.run(TEXT if model == "causal" else MASKED, edits=edits).logits[0, position]
    return float(logits[loaded.token("cat")] - logits[loaded.token("dog")])


MASKED = "the [MASK] sat on the mat"


@pytest.mark.parametrize("parts", ["head", "mlp", "attention", "layer", "neuron"])
def test_each_cell_is_a_run_without_that_part(lab: Lab, parts: str) -> None:
    payload = ask(lab, parts=parts, **PAIR, **({"layer": 1} if parts == "neuron" else {}))
    base = Base(lab.model("causal"), TEXT)
    assert payload.base == pytest.approx(measured(lab, []), abs=1e-5)
    shapes = {"head": (3, 4), "neuron": (1, 32)}
    assert payload.values.shape == shapes.get(parts, (3, 1))
    for row, column in ((0, 0), (payload.values.shape[0] - 1, payload.values.shape[1] - 1)):
        name = payload.name(row, column)
        assert payload.values[row, column] == pytest.approx(measured(lab, edits_of(base, name)), abs=1e-4), (
            name
        )
    assert payload.strongest(1)[0][1] == pytest.approx(
        payload.effects().flat[np.abs(payload.effects()).argmax()]
    )


@pytest.mark.parametrize("metric", ["logit", "probability", "log_probability", "loss", "divergence"])
def test_every_measure(lab: Lab, metric: str) -> None:
    payload = ask(lab, parts="layer", metric=metric, answer="cat")
    base = Base(lab.model("causal"), TEXT)
    ways = {"loss": lambda: metrics.loss(base), "divergence": lambda: metrics.divergence(base)}
    wanted = ways.get(metric, lambda: getattr(metrics, metric)(base.model, "cat"))()
    logits = base.model.run(TEXT, edits=edits_of(base, "layer.1")).logits
    read = logits[:, wanted.positions(base.n)]
    read = read if wanted.tokens is None else read[..., list(wanted.tokens)]
    assert payload.values[1, 0] == pytest.approx(float(wanted.value(read)[0]), abs=1e-4)
    assert payload.unit == wanted.unit
    assert payload.wrong is None
    # The curve begins with what was missed most, whichever way is worse.
    assert payload.knocked is not None
    first = payload.knocked.order[0]
    worst = (
        payload.effects()[:, 0].argmax()
        if metric in ("loss", "divergence")
        else payload.effects()[:, 0].argmin()
    )
    assert first == f"layer.{worst}"


def test_the_curve_runs_from_the_model_to_nothing(lab: Lab) -> None:
    payload = ask(lab, **PAIR)
    curve, base = payload.knocked, Base(lab.model("causal"), TEXT)
    assert curve is not None
    assert curve.counts[0] == 0
    assert curve.counts[-1] == len(curve.order) == 12
    for at in (0, 3, len(curve.counts) - 1):
        out = curve.order[: curve.counts[at]]
        wanted = measured(lab, edits_of(base, out) if out else [])
        assert curve.values[at] == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_allclose(curve.random[:, 0], payload.base, atol=1e-4)
    np.testing.assert_allclose(curve.random[:, -1], curve.values[-1], atol=1e-4)
    assert curve.random.std(0)[1:-1].max() > 1e-3
    assert payload.orders is not None
    assert len(payload.orders.skipped) == 3
    assert len(payload.orders.swapped) == 2
    layer = ask(lab, parts="layer", metric="loss")
    np.testing.assert_allclose(payload.orders.skipped, layer.values[:, 0], atol=1e-4)


def test_own_texts_stand_in_the_place_and_are_named(lab: Lab) -> None:
    payload = ask(lab, instead="mean", source="own", texts=OTHERS, **PAIR)
    base = Base(lab.model("causal"), TEXT)
    mean = MeanOf(base.model, OTHERS, by_position=True)
    wanted = measured(lab, edits_of(base, "head.1.2", mean))
    assert payload.values[1, 2] == pytest.approx(wanted, abs=1e-4)
    assert payload.stood.said.startswith("its mean over 3 texts of ")
    assert payload.stood.said.endswith("given by you, position by position")
    assert len(payload.stood.texts) == 3
    assert not np.allclose(payload.values, ask(lab, **PAIR).values, atol=1e-3)  # than zero


def test_texts_that_the_model_wrote_repeat_by_seed(lab: Lab) -> None:
    first = ask(lab, instead="resample", seed=3, **PAIR)
    again = ask(small_lab(), instead="resample", seed=3, **PAIR)
    other = ask(lab, instead="resample", seed=4, **PAIR)
    np.testing.assert_allclose(first.values, again.values, atol=1e-5)
    assert first.stood == again.stood
    assert first.stood.texts != other.stood.texts
    assert "written by the model" in first.stood.said
    tokens = lab.model("causal").tokens(TEXT)
    assert f"of 12 texts of {len(tokens)} tokens" in first.stood.said


def test_the_answer_without_several_parts(lab: Lab) -> None:
    out = ["head.1.2", "mlp.0"]
    found = REGISTRY["ablated_answer"].run(lab, {"prompt": TEXT, "model": "causal", "out": out, **PAIR})
    assert isinstance(found, AblatedAnswer)
    model = lab.model("causal")
    edits = edits_of(Base(model, TEXT), out)
    assert found.before == pytest.approx(measured(lab, []), abs=1e-4)
    assert found.after == pytest.approx(measured(lab, edits), abs=1e-4)
    run = model.run(TEXT, edits=edits)
    assert [guess.token.text for guess in found.answer[:3]] == [guess.piece for guess in run.top(3)]
    best = model.run(TEXT).top(1)[0].piece
    assert best in [guess.token.text for guess in found.answer]
    assert found.unablated[0].token.text == best
    for shown, changes in ((found.written_after, edits), (found.written_before, [])):
        assert [token.id for token in shown] == [
            guess.token for guess in model.stream(TEXT, 12, edits=changes)
        ]
    assert "head.1.2, mlp.0" in found.reading()


def test_the_mean_holds_at_the_texts_own_tokens(lab: Lab) -> None:
    asked = {"prompt": TEXT, "model": "causal", "out": ["head.0.1"], "instead": "mean", **PAIR}
    found = REGISTRY["ablated_answer"].run(lab, {**asked, "source": "own", "texts": OTHERS})
    assert isinstance(found, AblatedAnswer)
    assert found.holds == "at the text's own tokens only"
    assert len(found.written_after) > 0


def test_it_fills_as_it_goes_and_can_be_stopped(lab: Lab) -> None:
    shown: list[Ablation] = []
    stopped = lambda: len(shown) > 1 and shown[-1].knocked is not None  # noqa: E731
    progress = Progress(cancelled=stopped, show=lambda make: shown.append(make()))  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        ask(lab.for_job(progress), prompt=" ".join(["the cat sat on"] * 12), **PAIR)
    assert np.isnan(shown[0].values[0]).any()
    assert np.isfinite(shown[0].values[-1]).all()  # the highest layer first
    assert np.isfinite(shown[-1].values).all()
    assert not any(each.complete for each in shown)


def test_a_masked_model_is_swept_at_its_mask(lab: Lab) -> None:
    lab.add("masked", masked("masked"))
    payload = ask(lab, "masked", MASKED, parts="layer", **PAIR)
    position = lab.model("masked").run(MASKED).tokens[0].tolist().index(lab.model("masked").tokenizer.mask_id)
    assert payload.position == position
    base = Base(lab.model("masked"), MASKED)
    wanted = measured(lab, edits_of(base, "layer.1"), "masked", position)
    assert payload.values[1, 0] == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(NotSupported, match="writes no texts"):
        ask(lab, "masked", MASKED, instead="mean", **PAIR)


def test_the_other_answer_is_the_one_that_patching_proposes() -> None:
    lab = Lab()
    text = "hqzkwvbnmrtyhqzkwvbnmrt"
    toy = "induction-2l"
    pair: Any = REGISTRY["text_pair"].run(lab, {"prompt": text, "model": toy})
    assert pair.answer == "y"  # what came after the first t
    payload = ask(lab, toy, text)
    assert payload.wrong is not None
    assert [payload.answer.text, payload.wrong.text] == [pair.answer, pair.wrong]
    assert lab.model(toy).run(text).top(2)[1].piece != pair.wrong  # more than the runner-up
    elsewhere = ask(lab, toy, text, answer="q")  # no pair asks for it
    assert elsewhere.wrong is not None
    assert elsewhere.wrong.text == "y"


def test_the_reading_says_what_stood_there(lab: Lab) -> None:
    payload = ask(lab)
    assert payload.wrong is not None  # the runner-up: this text proposes no other
    two = lab.model("causal").run(TEXT).top(2)
    assert [payload.answer.text, payload.wrong.text] == [guess.piece for guess in two]
    said = payload.reading()
    assert "12 of 12 parts taken out in turn, in their place zero" in said
    assert unpack(pack(payload), Ablation).reading() == said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"instead": "mean", "source": "own"}, "no texts of your own"),
        ({"parts": "neuron", "layer": 9}, "no neuron.9"),
        ({"position": 99}, "no position 99"),
        ({"answer": "cat", "wrong": "cat"}, "same token"),
        ({"instead": "noise"}, "cannot use instead = 'noise'"),
    ],
)
def test_what_cannot_be_asked(lab: Lab, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ask(lab, **asked)


def test_a_part_that_is_not_there(lab: Lab) -> None:
    with pytest.raises(BadInput, match=r"no head\.9\.9"):
        REGISTRY["ablated_answer"].run(lab, {"prompt": TEXT, "model": "causal", "out": ["head.9.9"]})
