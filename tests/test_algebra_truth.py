"""The algebra of a step is the record's: against its arrays, measured derivatives, torch; and in part."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_records import EVERYTHING, configs, last_place, points, record_of, records

from llm_workings.core.errors import BadInput
from llm_workings.playground.algebra import Document, explain
from llm_workings.playground.config import Config
from llm_workings.playground.expression import numbers_of_text
from llm_workings.playground.kernel import Kernel
from llm_workings.playground.record import Parameters, StepRecord


# ---- it says what the record says -----------------------------------------------------------------
def expected(record: StepRecord, sample: int) -> dict[str, float]:
    """The record's numbers by the ids of the equations that work them out."""
    found: dict[str, float] = {}
    for l in range(len(record.pre)):
        for j in range(record.pre[l].shape[1]):
            found[f"forward.z{l + 1}.{j}"] = record.pre[l][sample, j]
            found[f"forward.a{l + 1}.{j}"] = record.activations[l + 1][sample, j]
            found[f"backward.z{l + 1}.{j}"] = record.delta[l][sample, j]
            if record.upstream[l] is not None:
                found[f"backward.a{l + 1}.{j}"] = record.upstream[l][sample, j]
    if record.config.loss != "cross_entropy":
        for k in range(record.losses.shape[1]):
            found[f"loss.u{len(record.pre)}.{k}"] = record.losses[sample, k]
    if record.config.loss == "cross_entropy" or record.losses.shape[1] > 1:
        found["loss.sample"] = record.losses[sample].mean()
    found["loss.data"] = record.loss.data
    config = record.config
    for name in ("l1", "l2"):
        if getattr(config, name):
            found[f"loss.{name}"] = getattr(record.loss, name)
    if config.confidence_penalty:
        found["loss.confidence"] = record.loss.confidence
    if config.confidence_penalty or config.l1 or config.l2:
        found["loss.total"] = record.loss.total
    if config.clip is not None:
        found |= {"clip.norm": record.norm, "clip.factor": record.clipped}
    if config.schedule != "constant" or config.warmup:
        found["optimizer.rate"] = record.learning_rate
    total = Parameters(
        tuple(g + p for g, p in zip(record.gradient.weights, record.penalty.weights, strict=True)),
        tuple(g + p for g, p in zip(record.gradient.biases, record.penalty.biases, strict=True)),
    )
    kinds = {"gradient.": record.gradient, "optimizer.step.": record.update, "update.": record.after}
    kinds |= {f"optimizer.{name}.": slot for name, slot in record.slots_after.items()}
    for l, (into, out) in enumerate(zip(config.layers, config.layers[1:], strict=False)):
        for j in range(out):
            for i in range(into + 1):
                bias = i == into
                place = f"b{l + 1}.{j}" if bias else f"w{l + 1}.{i}.{j}"

                def of(
                    parameters: Parameters, l: int = l, i: int = i, j: int = j, bias: bool = bias
                ) -> float:
                    return parameters.biases[l][j] if bias else parameters.weights[l][i, j]

                found |= {kind + place: of(parameters) for kind, parameters in kinds.items()}
                if (config.l1 or config.l2) and (config.penalize_bias or not bias):
                    found[f"penalty.{place}"] = of(total)
                if record.clipped != 1:
                    found[f"clip.{place}"] = of(total) * record.clipped
    return found


@settings(max_examples=100, deadline=None)
@given(records(), st.data())
def test_the_document_says_what_the_record_says(record: StepRecord, data: st.DataObject) -> None:
    sample = data.draw(st.integers(0, len(record.samples) - 1))
    document = explain(record, sample, most=EVERYTHING)
    found = {line.id: line.value for line in document.equations}
    wanted = expected(record, sample)
    assert wanted.keys() <= found.keys()
    for id, value in wanted.items():
        assert found[id] == pytest.approx(value, rel=1e-12, abs=1e-12), id
        # And to the digits shown, which are worked out from the operands shown.
        result = float(document[id].result)
        assert abs(result - value) <= max(1e-12, last_place(document[id].result) * 1.001), id
    extra = {id.partition(".")[2] for id in found.keys() - wanted.keys()}
    assert all(re.match(r"softmax|mix|entropy|squares|l[12]\.", name) for name in extra), extra


# ---- derivatives, measured ------------------------------------------------------------------------
def near_a_kink(record: StepRecord) -> bool:
    """Whether some sum or error is so close to a kink that a small move may cross it."""
    config, reach = record.config, 1e-3
    for z, name in zip(record.pre, config.activations, strict=True):
        if name in ("relu", "leaky_relu") and np.abs(z).min() < reach:
            return True
    error = np.abs(record.activations[-1] - record.targets)
    at = {"mae": 0.0, "huber": config.huber_delta}.get(config.loss)
    if at is not None and np.abs(error - at).min() < reach:
        return True
    return config.loss == "hinge" and np.abs(record.activations[-1] * record.targets - 1).min() < reach


@settings(max_examples=100, deadline=None)
@given(configs(), st.integers(1, 9), st.integers(0, 3))
def test_measured_derivatives_agree(config: Config, n: int, steps: int) -> None:
    config = config.changed(init_scale=min(config.init_scale, 1.0))
    kernel = Kernel(config, points(config, n, config.seed))
    kernel.advance(steps)
    record = kernel.record()
    lines = [line for line in explain(record, most=EVERYTHING).equations if line.section == "gradient"]
    assert len(lines) == config.n_parameters
    assert all(line.check for line in lines)
    if not near_a_kink(record):
        assert max(line.check.difference for line in lines) < 1e-6


def test_the_measured_loss_can_be_anothers() -> None:
    record = record_of(layers=(2, 3, 1))

    def sum_of_squares(parameters: Parameters) -> float:
        return float((parameters.flat() ** 2).sum())

    check = explain(record, places=["w1.1.2"], loss_of=sum_of_squares)["gradient.w1.1.2"].check
    assert check.measured == pytest.approx(2 * record.before.weights[0][1, 2], abs=1e-8)


# ---- against torch --------------------------------------------------------------------------------
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.99),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_written_updates_are_torchs(name: str) -> None:
    """torch.optim fed with the gradients that the documents write ends where the documents say."""
    config = Config.of(
        layers=(2, 3, 1),
        optimizer=name,
        learning_rate=0.05,
        weight_decay=0.1,
        penalize_bias=True,  # torch decays biases too
        batch_size=3,
    )
    kernel = Kernel(config, points(config, 8))
    kernel.advance(0)
    parameters: dict[str, torch.Tensor] = {}
    for _ in range(5):
        document = explain(kernel.record(), most=EVERYTHING)
        slopes = {line.places[0]: line.value for line in document.equations if line.section == "gradient"}
        moved = {line.places[0]: line.value for line in document.equations if line.section == "update"}
        if not parameters:
            before = kernel.record().before
            for place in slopes:
                layer, *units = map(int, place[1:].split("."))
                array = before.weights[layer - 1] if place[0] == "w" else before.biases[layer - 1]
                parameters[place] = torch.tensor(array[tuple(units)], dtype=torch.float64)
            optimizer = OPTIMIZERS[name](list(parameters.values()))
        for place, parameter in parameters.items():
            parameter.grad = torch.tensor(slopes[place], dtype=torch.float64)
        optimizer.step()
        assert {place: float(p) for place, p in parameters.items()} == pytest.approx(moved, abs=1e-12)
        kernel.advance(1)


# ---- a part of it ---------------------------------------------------------------------------------
def ids(document: Document) -> list[str]:
    return [line.id for line in document.equations]


def test_a_unit_brings_what_belongs_to_it() -> None:
    record = record_of(l2=0.01, clip=1e-3)
    document = explain(record, places=["u1.2"])
    own = ["w1.0.2", "w1.1.2", "b1.2"]
    assert ids(document) == [
        "forward.z1.2",
        "forward.a1.2",
        "backward.a1.2",
        "backward.z1.2",
        *(f"gradient.{place}" for place in own),
        "penalty.w1.0.2",
        "penalty.w1.1.2",
        "clip.squares",
        "clip.norm",
        "clip.factor",
        *(f"clip.{place}" for place in own),
        *(f"optimizer.step.{place}" for place in own),
        *(f"update.{place}" for place in own),
    ]
    assert document["forward.z1.2"].title == "Unit 2 of layer 1 adds up its inputs"
    assert document["forward.z1.2"].places == ("u1.2", "w1.0.2", "w1.1.2", "b1.2", "u0.0", "u0.1")
    assert (document["forward.z1.2"].layer, document["forward.z1.2"].unit) == (1, 2)
    assert document["gradient.w1.0.2"].places == ("w1.0.2", "u1.2", "u0.0")
    assert (document["gradient.w1.0.2"].sample, document["forward.z1.2"].sample) == (None, 0)
    assert document["forward.z1.2"].symbolic == (
        r"z^{(1)}_{2} = w^{(1)}_{0\to 2}\,x_{0}+w^{(1)}_{1\to 2}\,x_{1}+b^{(1)}_{2}"
    )
    assert document.samples == tuple(record.samples)


def test_a_weight_a_bias_an_input_and_an_output() -> None:
    record = record_of()
    one = ids(explain(record, places=["w2.3.0"]))
    assert [id for id in one if id.startswith("gradient")] == ["gradient.w2.3.0"]
    assert "forward.z2.0" in one
    assert "loss.data" in one
    assert "gradient.b1.1" in ids(explain(record, places=["b1.1"]))
    read = [id for id in ids(explain(record, places=["u0.1"])) if id.startswith("update")]
    assert read == [f"update.w1.1.{j}" for j in range(4)]
    both = explain(record, places=["u1.0", "w1.0.1", "u1.0"])
    assert [line.id for line in both.equations if line.section == "update"] == [
        "update.w1.0.0",
        "update.w1.1.0",
        "update.b1.0",
        "update.w1.0.1",
    ]


@settings(max_examples=60, deadline=None)
@given(records(), st.data())
def test_what_is_left_out_is_counted(record: StepRecord, data: st.DataObject) -> None:
    config = record.config
    layer = data.draw(st.integers(0, len(config.layers) - 1))
    place = f"u{layer}.{data.draw(st.integers(0, config.layers[layer] - 1))}"
    whole = explain(record, most=EVERYTHING)
    part = explain(record, places=[place], most=EVERYTHING)
    assert len(part.equations) + part.left_out == len(whole.equations)
    assert set(part.equations) <= set(whole.equations)
    most = data.draw(st.integers(0, 120))
    some = explain(record, most=most)
    assert len(some.equations) <= most
    assert len(some.equations) + some.left_out == len(whole.equations)


def test_of_a_large_network_every_section_has_something() -> None:
    settings = {"activations": ("relu", "softmax"), "loss": "cross_entropy", "optimizer": "adam"}
    record = record_of(layers=(64, 32, 10), batch_size=32, n=40, l1=1e-4, l2=1e-3, clip=0.1, **settings)
    for places in (None, ["u1.3"], ["u2.9"]):
        document = explain(record, places=places)
        sections = {line.section for line in document.equations}
        assert {"forward", "backward", "gradient", "penalty", "clip", "optimizer", "update"} <= sections
        assert 200 < len(document.equations) <= 400
        assert document.check() == []
    every = explain(record, most=EVERYTHING)
    assert every.left_out == 0
    assert len(every.equations) == len(document.equations) + document.left_out
    squares = [line for line in every.equations if re.fullmatch(r"clip.squares.u\d+.\d+", line.id)]
    assert sum(line.value for line in squares) == pytest.approx(record.norm**2)


def test_a_long_sum_is_added_up_in_parts() -> None:
    """180 samples: three sums of sixty, and a sum of those; no term is missing."""
    record = record_of(n=180, batch_size=180, layers=(2, 3, 1))
    document = explain(record, places=["w1.1.2"], most=EVERYTHING)
    parts = [document[f"gradient.w1.1.2.S{k}"] for k in (1, 2, 3)]
    assert [len(numbers_of_text(part.text)) for part in parts] == [120, 120, 120]
    whole = document["gradient.w1.1.2"]
    assert sum(part.value for part in parts) / 180 == pytest.approx(whole.value)
    assert numbers_of_text(whole.text)[:2] == [("1", 0), ("180", 0)]
    assert document.check() == []
    assert r"\begin{aligned}" in parts[0].numeric
    few = explain(record, places=["w1.1.2"], most=15)
    assert "gradient.w1.1.2" in ids(few)
    assert few.check() == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("x1.2", "no place"),
        ("w1.2", "no place"),
        ("u3.0", "layer 3"),
        ("b0.0", "layers 1 to 2"),
        ("u1.4", "unit 4"),
        ("w1.2.0", "unit 2"),
        ("w2.0.1", "unit 1"),
    ],
)
def test_a_place_that_is_not_there_says_so(place: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        explain(record_of(), places=[place])


@pytest.mark.parametrize("sample", [-1, 4])
def test_a_sample_that_is_not_in_the_batch_says_so(sample: int) -> None:
    with pytest.raises(BadInput, match="the batch has 4"):
        explain(record_of(), sample)
