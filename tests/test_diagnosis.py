"""What is said of a training: networks made by hand that show each finding, and others that must not."""

from __future__ import annotations

import numpy as np
import pytest

from llm_workings.core.dataset import Dataset
from llm_workings.playground.config import Config
from llm_workings.playground.diagnosis import Finding, curves_here, diagnose, of_curves, of_units, units
from llm_workings.playground.record import Parameters
from llm_workings.playground.run import MEASURES, Run


def dataset(inputs: object, targets: object, *, classes: int = 2, test: int = 0) -> Dataset:
    x, y = np.array(inputs, float), np.array(targets)
    n = len(x)
    return Dataset(
        name="points",
        points=x,
        inputs=x.copy(),
        targets=y,
        task="classes" if classes else "regression",
        classes=tuple(f"class {i}" for i in range(classes)),
        train=np.arange(n - test),
        test=np.arange(n - test, n),
        coordinates=tuple(f"x{i}" for i in range(x.shape[1])),
        features=tuple(f"x{i}" for i in range(x.shape[1])),
        domain=None,
    )


XOR = dataset([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])


def noise(n: int = 60, test: int = 0, seed: int = 0) -> Dataset:
    """Classes that have nothing to do with the points."""
    draw = np.random.default_rng(seed)
    return dataset(draw.normal(size=(n, 2)), draw.integers(0, 2, n), test=test)


def made(weights: list[object], biases: list[object]) -> Parameters:
    return Parameters(tuple(np.array(w, float) for w in weights), tuple(np.array(b, float) for b in biases))


def kinds(findings: tuple[Finding, ...] | list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def only(kind: str, findings: tuple[Finding, ...]) -> Finding:
    (finding,) = (finding for finding in findings if finding.kind == kind)
    return finding


# --- diverged ------------------------------------------------------------------------------------
def test_a_learning_rate_of_a_million_is_said_to_be_why_it_diverged() -> None:
    config = Config.of(layers=(2, 4, 1), activations="relu", loss="mse", learning_rate=1e6, batch_size=4)
    run = Run(config, XOR)
    made = run.step(1000)
    assert made < 1000
    (finding,) = diagnose(run)
    assert finding.kind == "diverged"
    assert finding.text.startswith(
        f"The update after step {made} gives numbers that are not finite, first in "
    )
    assert "grew most: the largest from" in finding.text
    assert (
        finding.advice == "Go back and try a learning rate of 0.1 (it is 1e+06), or clip the gradient to 1."
    )
    assert finding.places
    run.back(1)
    assert "diverged" not in kinds(diagnose(run))  # the update that leads on from here is finite


@pytest.mark.parametrize(
    ("weights", "where", "places"),
    [
        # The sum of unit 1 of layer 1 is 1e200 · 1e200.
        ([[[1.0, 1e200], [0.0, 0.0]], [[1.0], [1.0]]], "the sums of layer 1", ("u1.1",)),
        # Layer 1 is finite, and layer 2 overflows on it.
        ([[[1.0, 1e10], [0.0, 0.0]], [[1.0], [1e200]]], "the sums of layer 2", ("u2.0",)),
        # An output of 1e200 is finite, its square is not.
        ([[[1.0, 1e-10], [0.0, 0.0]], [[1.0], [1e10]]], "the loss", ("u2.0",)),
    ],
)
def test_the_layer_that_first_lost_its_numbers_is_named(
    weights: list[object], where: str, places: tuple[str, ...]
) -> None:
    data = dataset([[1e200, 0.0], [0.0, 1.0]], [[0.0], [0.0]], classes=0)
    config = Config.of(layers=(2, 2, 1), activations="linear", loss="mse", learning_rate=1.0, batch_size=2)
    run = Run(config, data, made(weights, [[0.0, 0.0], [0.0]]))
    assert run.step() == 0
    (finding,) = diagnose(run)
    assert f"first in {where}." in finding.text
    assert finding.places == places
    assert "grew most" not in finding.text  # nothing was updated yet
    assert "0.1" in finding.advice


def test_a_gradient_that_overflows_on_its_way_back_is_named() -> None:
    """Both outputs are 0, and the slope 2 · 1e160 times the weight 1e200 is not finite."""
    data = dataset([[0.0], [0.0]], [[1e160], [1e150]], classes=0)
    config = Config.of(layers=(1, 1, 1), activations="linear", loss="huber", huber_delta=1e6, batch_size=2)
    run = Run(config, data, made([[[1.0]], [[1e305]]], [[0.0], [0.0]]))
    assert run.step() == 0
    (finding,) = diagnose(run)
    assert "first in the gradient at layer 1, going back" in finding.text
    assert finding.places == ("u1.0",)


def test_advice_fits_the_optimizer_and_the_clip() -> None:
    data = dataset([[1e200, 0.0], [0.0, 1.0]], [[0.0], [0.0]], classes=0)
    given = {"optimizer": "adam", "learning_rate": 0.005, "clip": 1.0, "batch_size": 2}
    config = Config.of(layers=(2, 1), activations="linear", loss="mse", **given)
    run = Run(config, data)
    assert run.step() == 0
    (finding,) = diagnose(run)
    assert finding.advice == "Go back and try a learning rate of 0.0005 (it is 0.005)."


# --- units ---------------------------------------------------------------------------------------
def test_relu_units_that_are_off_on_every_sample_are_dead() -> None:
    """Unit 1 never gets above -1; unit 0 answers on (1, 1) alone."""
    config = Config.of(layers=(2, 3, 1), activations="relu", batch_size=4)
    run = Run(config, XOR, made([[[1, -1, 1], [1, -1, 1]], [[1], [1], [1]]], [[-1, -1, 0.5], [0]]))
    finding = only("dead", diagnose(run))
    assert finding.places == ("u1.1",)
    assert finding.text == (
        "1 of 3 units of layer 1 answers the same to every training sample: "
        "a ReLU that is off passes no gradient."
    )
    assert "leaky_relu" in finding.advice


def test_a_layer_behind_dead_units_tells_no_sample_from_another() -> None:
    config = Config.of(layers=(2, 2, 2, 1), activations="relu", batch_size=4)
    weights = [[[-1, -1], [-1, -1]], [[1, 1], [1, 1]], [[1], [1]]]
    run = Run(config, XOR, made(weights, [[-1, -1], [0.5, 0.5], [0]]))
    finding = only("dead", diagnose(run))
    assert finding.places == ("u1.0", "u1.1", "u2.0", "u2.1", "u3.0")
    assert "2 of 2 units of layer 1, 2 of 2 units of layer 2 and 1 of 1 units of layer 3" in finding.text
    assert "they tell no sample from another" in finding.text


def test_units_that_answer_are_not_dead() -> None:
    config = Config.of(layers=(2, 2, 1), activations="relu", batch_size=4)
    run = Run(config, XOR, made([[[1, 1], [1, 1]], [[1], [-2]]], [[0, -1], [0]]))
    assert not {"dead", "saturated"} & set(kinds(diagnose(run)))


def test_one_sample_alone_says_nothing_of_dead_units() -> None:
    run = Run(Config.of(layers=(2, 2, 1)), dataset([[1, 2]], [1]))
    assert "dead" not in kinds(diagnose(run))


@pytest.mark.parametrize(("name", "large", "small"), [("tanh", 30.0, 0.5), ("sigmoid", 60.0, 1.0)])
def test_units_at_the_ends_of_their_range_are_saturated(name: str, large: float, small: float) -> None:
    """Unit 0's sums are ±large / 2 on the four points, unit 1's ±small / 2."""
    config = Config.of(layers=(2, 2, 1), activations=name, batch_size=4)
    weights = [[[large, small], [0, 0]], [[1], [1]]]
    run = Run(config, XOR, made(weights, [[-large / 2, -small / 2], [0]]))
    finding = only("saturated", diagnose(run))
    assert finding.places == ("u1.0",)
    assert "1 of 2 units of layer 1 is near an end of the range on at least 90%" in finding.text


def test_nearly_all_samples_are_nine_of_ten() -> None:
    config = Config.of(layers=(1, 1, 1), activations=["tanh", "sigmoid"])
    for at_the_end, saturated in ((9, True), (8, False)):
        a = np.array([[0.999] * at_the_end + [0.1] * (10 - at_the_end)])
        found = units(config, [a, a, a])
        assert [flags.tolist() for flags in found.saturated] == [[saturated], [False]]


def test_a_sure_output_is_saturated_only_where_its_loss_begins_at_the_activation() -> None:
    a = np.array([[0.0, 1.0] * 5])
    for loss, saturated in (("mse", True), ("binary_cross_entropy", False)):
        config = Config.of(layers=(1, 1), activations="sigmoid", loss=loss)
        found = units(config, [a, a])
        assert found.saturated[0].tolist() == [saturated]
        assert kinds(of_units(config, found)) == ["saturated"] * saturated
        assert of_units(config, found, solved=True) == []


# --- the course of the loss ----------------------------------------------------------------------
def curves(train: object, test: object = None, stride: int = 10) -> dict[str, np.ndarray]:
    y = np.array(train, float)
    found = {name: np.full(len(y), np.nan) for name in MEASURES}
    found |= {"step": stride * np.arange(len(y)), "train": y}
    if test is not None:
        found["test"] = np.array(test, float)
    return found


STEPS = np.arange(100)
FALLING = np.exp(-STEPS / 40)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (curves(FALLING), []),
        (curves(FALLING, FALLING + 0.1), []),
        (curves(np.full(100, 0.7)), ["plateau"]),
        (curves(0.7 + 0.001 * np.sin(STEPS)), ["plateau"]),
        (curves(np.full(100, 0.7), stride=1), []),  # 100 updates are too few to say
        (curves(np.full(5, 0.7), stride=1000), []),
        (curves(0.02 * np.exp(STEPS / 10)), ["growing"]),
        (curves(np.where(STEPS < 30, 5.0, 0.0) + FALLING), []),  # a spike that it came back from
        (curves(FALLING, np.abs(STEPS - 40) / 100 + 0.3), ["overfitting"]),
        (curves(FALLING, np.abs(STEPS - 98) / 100 + 0.3), []),  # the test loss has only just turned
        (curves(np.full(100, 0.7), np.abs(STEPS - 40) / 100 + 0.3), ["plateau"]),  # train does not fall
        (curves(FALLING, 1 - FALLING / 20), []),  # the test loss rises by a hair
    ],
)
def test_the_course_of_the_loss(given: dict[str, np.ndarray], said: list[str]) -> None:
    assert kinds(of_curves(Config.of(), given)) == said


def test_overfitting_names_the_step_to_go_back_to() -> None:
    (finding,) = of_curves(Config.of(), curves(FALLING, np.abs(STEPS - 40) / 100 + 0.3))
    assert "lowest at step 400, 0.3, and is 0.89 now" in finding.text
    assert "from 0.368 to 0.0842" in finding.text
    assert finding.advice.startswith("Go back to step 400")


def test_a_network_that_learns_noise_by_heart_is_overfitting() -> None:
    config = Config.of(layers=(2, 32, 32, 1), optimizer="adam", learning_rate=0.02, batch_size=30)
    run = Run(config, noise(test=30))
    run.step(600)
    assert "overfitting" in kinds(diagnose(run))
    run.goto(2)
    assert "overfitting" not in kinds(diagnose(run))


def test_a_line_cannot_learn_xor_and_stands_still() -> None:
    run = Run(Config.of(layers=(2, 1), activations="sigmoid", batch_size=4, learning_rate=0.5), XOR)
    run.step(3000)
    finding = only("plateau", diagnose(run))
    assert "stayed near 0.693" in finding.text


def test_xor_learnt_is_solved_and_no_plateau() -> None:
    run = Run(Config.of(layers=(2, 4, 1), batch_size=4, learning_rate=0.5, seed=1), XOR)
    assert "solved" not in kinds(diagnose(run))
    run.step(6000)
    said = diagnose(run)
    assert said[0].kind == "solved"
    assert said[0].text == "All training points are classified right."
    assert said[0].advice == ""
    assert not {"plateau", "growing", "diverged"} & set(kinds(said))


def test_training_points_right_and_test_points_wrong_is_not_solved() -> None:
    line = [[float(i)] for i in range(-10, 11) if i]
    right = [int(x[0] > 0) for x in line]
    wrong = [*right[:-4], 0, 0, 0, 0]
    parameters = made([[[1.0]]], [[0.0]])
    config = Config.of(layers=(1, 1), activations="sigmoid")
    assert kinds(diagnose(Run(config, dataset(line, right, test=4), parameters))) == ["solved"]
    assert diagnose(Run(config, dataset(line, wrong, test=4), parameters)) == ()


def test_values_are_solved_where_their_variance_is_explained() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    data = dataset(x, 3 * x, classes=0)
    config = Config.of(layers=(1, 1), loss="mae", activations="linear")
    for slope, solved in (
        (3.0, True),
        (2.8, True),
        (2.6, False),
    ):  # (1 - slope / 3)² is left: 0, 0.4 %, 1.8 %
        assert ("solved" in kinds(diagnose(Run(config, data, made([[[slope]]], [[0.0]]))))) == solved


def test_curves_lead_over_the_branches_to_where_it_stands() -> None:
    run = Run(Config.of(batch_size=4), XOR)
    run.step(20)
    run.goto(10)
    run.change(learning_rate=0.1)
    run.step(5)
    run.back(2)
    found = curves_here(run)
    assert found["step"].tolist() == list(range(14))
    other = Run(Config.of(batch_size=4), XOR)
    other.step(10)
    assert found["train"][10] == other.measure()["train"]
