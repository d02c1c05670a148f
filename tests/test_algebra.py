"""The algebra of a step: every line adds up, can be caught lying, and survives the edges of the numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, expit, logsumexp
from step_records import EVERYTHING, last_place, record_of, records

from llm_workings.playground.algebra import Equation, explain
from llm_workings.playground.expression import numbers_of_latex, numbers_of_text
from llm_workings.playground.record import Parameters, StepRecord

# Another reading of the plain text than `evaluate`'s: Python's own, with NumPy's and SciPy's functions.
NAMES = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": expit,
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "erf": erf,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "abs": abs,
    "sign": np.sign,
    "floor": np.floor,
    "max": max,
    "min": min,
    "logsumexp": lambda *x: logsumexp(x),
    "pi": np.pi,
}


# ---- every line adds up ---------------------------------------------------------------------------
def assert_adds_up(line: Equation) -> None:
    """The shown text, read by Python itself, comes to the shown result at the digits shown."""
    with np.errstate(all="ignore"):
        found = float(eval(line.text, {"__builtins__": {}}, NAMES))
    if line.result == "0":
        assert found == 0, line
    elif np.isfinite(float(line.result)):
        assert abs(found - float(line.result)) <= last_place(line.result) * (1 + 1e-9), line


@settings(max_examples=200, deadline=None)
@given(records(), st.data())
def test_every_equation_adds_up(record: StepRecord, data: st.DataObject) -> None:
    document = explain(record, data.draw(st.integers(0, len(record.samples) - 1)), most=EVERYTHING)
    assert document.check() == []
    for line in document.equations:
        assert_adds_up(line)
        assert numbers_of_latex(line.numeric) == numbers_of_text(f"{line.text} {line.result}")
        assert line.numeric.count("{") == line.numeric.count("}")
        assert "\0" not in line.numeric + line.symbolic
    ids = [line.id for line in document.equations]
    assert len(ids) == len(set(ids))
    assert document.left_out == 0


def first_digit(number: re.Match[str]) -> int | None:
    """Where the first digit that is not 0 stands."""
    digit = re.search("[1-9]", number[0])
    return number.start() + digit.start() if digit else None


@pytest.mark.parametrize("place", ["forward.z1.1", "gradient.w1.0.1", "update.w2.1.0", "backward.z1.1"])
@pytest.mark.parametrize("what", ["operand", "result", "numeric"])
def test_one_changed_digit_is_caught(place: str, what: str) -> None:
    """The first digit of each number in turn."""
    document = explain(record_of(activations="tanh", optimizer="adam", l2=0.01))
    assert document.check() == []
    line = document[place]
    shown = {"operand": line.text, "result": line.result, "numeric": line.numeric}[what]
    numbers = [at for found in re.finditer(r"\d+(\.\d+)?", shown) if (at := first_digit(found)) is not None]
    assert numbers
    for at in numbers:
        other = str(int(shown[at]) % 9 + 1)
        changed = shown[:at] + other + shown[at + 1 :]
        lie = replace(line, **{{"operand": "text"}.get(what, what): changed})
        lines = tuple(lie if one is line else one for one in document.equations)
        assert replace(document, equations=lines).check() == [place], (shown, changed)


@settings(max_examples=30, deadline=None)
@given(records(), st.data())
def test_a_changed_result_is_caught_in_every_equation(record: StepRecord, data: st.DataObject) -> None:
    """The last digit shown, of any equation."""
    document = explain(record, most=EVERYTHING)
    line = data.draw(st.sampled_from(document.equations))
    mantissa, e, exponent = line.result.partition("e")
    if line.result != "0":
        mantissa = mantissa[:-1] + str((int(mantissa[-1]) + 5) % 10)
    else:
        mantissa = "0.0001"
    assert not replace(line, result=mantissa + e + exponent).adds_up()


def test_a_record_that_is_wrong_does_not_add_up() -> None:
    """The lines are the field's formulas with the record's numbers: a kernel's mistake would show."""
    record = record_of()
    wrong = record.delta[0].copy()
    wrong[0, 1] *= 1.001
    assert explain(replace(record, delta=(wrong, record.delta[1]))).check()[:1] == ["backward.z1.1"]
    gradient = Parameters(tuple(1.01 * w for w in record.gradient.weights), record.gradient.biases)
    document = explain(replace(record, gradient=gradient))
    assert {"gradient.w1.0.0", "gradient.w2.3.0"} <= set(document.check())
    assert document["gradient.w1.0.0"].check.difference > 1e-6


# ---- at the edges ---------------------------------------------------------------------------------
@pytest.mark.parametrize("confidence", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
def test_logits_of_ten_thousand_add_up(loss: str, confidence: float) -> None:
    output = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "mse": "softmax"}[loss]
    settings = {"activations": ("linear", output), "confidence_penalty": confidence}
    record = record_of(
        layers=(2, 3, 3), loss=loss, init="uniform", init_scale=60, scale=30, steps=0, **settings
    )
    assert np.abs(record.pre[-1]).max() > 1e4
    for sample in range(4):
        document = explain(record, sample)
        assert document.check() == []
        assert all(np.isfinite(line.value) for line in document.equations)


@pytest.mark.parametrize("rate", [10.0, 1e3, 1e9])
def test_a_network_that_bursts_is_still_written_out(rate: float) -> None:
    settings = {"activations": ("linear", "linear"), "loss": "mse", "learning_rate": rate}
    record = record_of(layers=(2, 3, 1), steps=50, optimizer="momentum", **settings)
    document = explain(record)
    assert document.check() == []
    assert any(abs(line.value) > 1e30 or not np.isfinite(line.value) for line in document.equations)


def test_numbers_that_are_none_are_shown_as_such() -> None:
    record = record_of()
    pre = [z.copy() for z in record.pre]
    pre[0][0, 0], pre[0][0, 1] = np.nan, np.inf
    document = explain(replace(record, pre=tuple(pre)))
    assert document["forward.a1.0"].result == "nan"
    assert r"\mathrm{nan}" in document["forward.a1.0"].numeric
    assert r"\infty" in document["forward.a1.1"].numeric
    assert document["forward.a1.1"].adds_up() == (record.activations[1][0, 1] == 1.0)
