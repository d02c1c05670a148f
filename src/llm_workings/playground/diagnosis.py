"""What is going wrong, or right, in a training: in words, from its numbers, with what to try.

Each rule is a plain threshold, stated where it stands; none of them is a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

import numpy as np

from .activations import POINTWISE
from .config import Config
from .kernel import Reader
from .losses import fused
from .record import Array, Parameters, StepRecord
from .run import MEASURES, Run

Kind = Literal["diverged", "growing", "dead", "saturated", "plateau", "overfitting", "solved"]

CONSTANT = 1e-9  # a unit whose answers differ by less than this share of their size always answers the same
FLAT = 0.05  # share of the steepest slope below which a unit hardly learns
NEARLY_ALL = 0.9  # of the training samples
FEW = 10  # points of a curve below which nothing is said of its course
LONG = 300  # updates below which a loss may stand still
STILL = 0.01  # share of the loss that it must have fallen by, from one quarter of a curve to the next but one
WORSE = 1.1  # times its lowest value: a test loss that has risen
BETTER = 0.95  # times its value back then: a training loss that has fallen
GROWN = 2.0  # times the loss at the beginning
EXPLAINED = 0.01  # share of the values' variance that may be left
RIGHT = 0.95  # test accuracy of a solved problem
USUAL = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 0.001, "adam": 0.001, "adamw": 0.001}
NAMED = 12  # places in a finding


@dataclass(frozen=True)
class Finding:
    """One thing that is to be said.

    Attributes:
        text: what is the case, with its numbers.
        advice: what to try; empty where nothing is wrong.
        places: units `u1.2` it is about, a dozen at the most.
    """

    kind: Kind
    text: str
    advice: str = ""
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Units:
    """Which units do not take part, `[unit]` bool a layer of weights each.

    Attributes:
        dead: answers the same to every training sample.
        off: a ReLU that gives 0 to all of them: no gradient passes it.
        saturated: tanh or sigmoid, and so near its end on nearly all of them that its slope is next to
            nothing. An output whose loss begins at its sum (the cross-entropies) never is.
    """

    dead: tuple[Array, ...]
    off: tuple[Array, ...]
    saturated: tuple[Array, ...]


def units(config: Config, activations: Sequence[Array]) -> Units:
    """Looks at `[unit, sample]` a layer of units, the inputs first, on the training samples."""
    dead, off, saturated = [], [], []
    outputs = len(config.activations) - 1
    for layer, (name, a) in enumerate(zip(config.activations, activations[1:], strict=True)):
        spread = a.max(axis=1) - a.min(axis=1)
        several = a.shape[1] > 1
        dead.append((spread <= CONSTANT * np.maximum(np.abs(a).max(axis=1), 1e-300)) & several)
        off.append((name == "relu") & several & (a == 0.0).all(axis=1))
        flat = np.zeros(len(a), bool)
        if name in ("tanh", "sigmoid") and not (layer == outputs and fused(config)):
            slope = POINTWISE[name].slope(a, a)  # of these two it follows from the value alone
            steepest = 1.0 if name == "tanh" else 0.25
            flat = (slope < FLAT * steepest).mean(axis=1) >= NEARLY_ALL
        saturated.append(flat)
    return Units(tuple(dead), tuple(off), tuple(saturated))


def units_here(run: Run) -> Units:
    """The same of a run, where it stands."""
    return units(run.config, _activations(run))


def diagnose(run: Run) -> tuple[Finding, ...]:
    """All that is to be said of a run where it stands; the worst first."""
    config, branch = run.config, run.branches[run.branch]
    if branch.diverged and run.step_now == branch.tip:
        return (of_divergence(run.record(), run.state_at(0).parameters),)
    curves = curves_here(run)
    activations = _activations(run)
    solved = of_success(run, activations[-1])
    found = list(of_curves(config, curves))
    if solved:
        found = [finding for finding in found if finding.kind not in ("plateau", "growing")]
    found += of_units(config, units(config, activations), bool(solved))
    return (*solved, *found)


def _activations(run: Run) -> list[Array]:
    data = run.data
    return Reader(run.config, data.inputs[data.train]).read(run.state.parameters)


def curves_here(run: Run) -> dict[str, Array]:
    """`MEASURES` and `step`, `[point]` each, along the line that leads to where the run stands."""
    line = run.lineage(run.branch)
    ends = [*(branch.start for branch in line[1:]), run.step_now + 1]
    rows = [
        (step, *branch.curve[step])
        for branch, end in zip(line, ends, strict=True)
        for step in sorted(branch.curve)
        if step < end and step <= run.step_now
    ]
    table = np.array(rows).reshape(-1, 1 + len(MEASURES))
    return dict(zip(("step", *MEASURES), table.T, strict=True))


# --- numbers that are no longer finite -----------------------------------------------------------
def of_divergence(record: StepRecord, first: Array) -> Finding:
    """Why the update of `record` led to numbers that are not finite.

    Args:
        first: the parameters `[parameter]`, flat, that the run began with.
    """
    where, places = _first_lost(record)
    weights = record.before.weights
    begun, at = [], 0
    for matrix, bias in zip(weights, record.before.biases, strict=True):
        begun.append(float(np.abs(first[at : at + matrix.size]).max()))
        at += matrix.size + bias.size
    now = [float(np.abs(matrix).max()) for matrix in weights]
    growth = [size / max(begin, 1e-12) for size, begin in zip(now, begun, strict=True)]
    layer = int(np.argmax(growth))
    grown = ""
    if growth[layer] > GROWN:
        grown = (
            f" Before that, the weights into layer {layer + 1} grew most: the largest from "
            f"{begun[layer]:.3g} to {now[layer]:.3g}."
        )
    text = (
        f"The update after step {record.step:,} gives numbers that are not finite, first in {where}.{grown}"
    )
    return Finding("diverged", text, _slower(record.config), places)


def _first_lost(record: StepRecord) -> tuple[str, tuple[str, ...]]:
    """Where in the course of a step the first number is not finite."""
    last = len(record.pre)
    for layer in range(1, last + 1):
        lost = ~np.isfinite(record.pre[layer - 1]) | ~np.isfinite(record.activations[layer])
        if lost.any():
            return f"the sums of layer {layer}", _named(layer, lost.any(axis=0))
    if not np.isfinite(record.losses).all():
        return "the loss", _named(last, ~np.isfinite(record.losses).all(axis=0))
    for layer in range(last, 0, -1):
        lost = ~np.isfinite(record.delta[layer - 1])
        if lost.any():
            return f"the gradient at layer {layer}, going back", _named(layer, lost.any(axis=0))
    stages = [("the gradient of", record.gradient), ("the penalty's gradient of", record.penalty)]
    stages += [(f"the optimizer's {name} of", slot) for name, slot in record.slots_after.items()]
    for what, parts in [*stages, ("", record.after)]:
        for layer, lost in _lost_by_layer(parts):
            return f"{what} the weights into layer {layer}".strip(), _named(layer, lost)
    return "the update", ()


def _lost_by_layer(parts: Parameters) -> list[tuple[int, Array]]:
    """The layers in which a number is not finite, and into which units `[unit]`."""
    found = []
    for layer, (weights, biases) in enumerate(zip(parts.weights, parts.biases, strict=True), 1):
        lost = ~np.isfinite(weights).all(axis=0) | ~np.isfinite(biases)
        if lost.any():
            found.append((layer, lost))
    return found


def _slower(config: Config) -> str:
    rate = min(config.learning_rate / 10, USUAL[config.optimizer])
    rate = round(rate, -floor(log10(rate)))
    advice = f"Go back and try a learning rate of {rate:g} (it is {config.learning_rate:g})"
    return f"{advice}, or clip the gradient to 1." if config.clip is None else f"{advice}."


# --- the course of the loss ----------------------------------------------------------------------
def of_curves(config: Config, curves: dict[str, Array]) -> list[Finding]:
    """Growing, overfitting or a plateau, as the curves tell (`curves_here`); at most one of them."""
    steps, train, test = curves["step"], curves["train"], curves["test"]
    if len(steps) < FEW:
        return []
    now, begin = float(np.median(train[-3:])), float(train[0])
    if now > GROWN * begin and now > np.median(train[len(train) // 2 :]) * 0.999:
        return [
            Finding(
                "growing",
                f"The training loss grows: {begin:.3g} at step {steps[0]:,.0f}, {now:.3g} now.",
                _slower(config),
            )
        ]
    overfitting = _overfitting(steps, train, test)
    if overfitting:
        return [overfitting]
    quarter = max(3, len(train) // 4)
    early, late = (float(np.median(part)) for part in (train[-2 * quarter : -quarter], train[-quarter:]))
    if steps[-1] - steps[0] >= LONG and abs(early - late) < STILL * abs(early):
        since = steps[-2 * quarter]
        return [
            Finding(
                "plateau",
                f"The training loss has stayed near {late:.3g} since step {since:,.0f}.",
                "Try a higher learning rate, another optimizer such as adam, more units, or another seed; "
                "if the data is noisy this may be all there is to learn.",
            )
        ]
    return []


def _overfitting(steps: Array, train: Array, test: Array) -> Finding | None:
    if not np.isfinite(test).all():
        return None
    recent = slice(-3, None)
    lowest = int(np.argmin(test))
    risen = np.median(test[recent]) > WORSE * test[lowest] and lowest < len(test) - 3
    if not risen or np.median(train[recent]) > BETTER * train[lowest]:
        return None
    return Finding(
        "overfitting",
        f"The test loss was lowest at step {steps[lowest]:,.0f}, {test[lowest]:.3g}, and is "
        f"{test[-1]:.3g} now, while the training loss went from {train[lowest]:.3g} to {train[-1]:.3g}: "
        "the network learns its training points by heart.",
        f"Go back to step {steps[lowest]:,.0f} and stop there; or try an L2 penalty, fewer units, more data.",
    )


def of_success(run: Run, outputs: Array) -> list[Finding]:
    """Whether the problem is solved. `outputs` `[output, sample]` are those of the training samples."""
    data, measured = run.data, run.measure()
    if data.task == "classes":
        right, held_back = measured["train_accuracy"], measured["test_accuracy"]
        if right < 1 or held_back < RIGHT:
            return []
        text = "All training points are classified right"
        text += f", and {held_back:.1%} of the test points." if np.isfinite(held_back) else "."
        return [Finding("solved", text)]
    targets = data.targets[data.train]
    left = float(((outputs.T - targets) ** 2).mean())
    variance = float(targets.var(axis=0).mean())
    if not left <= EXPLAINED * variance:
        return []
    share = left / variance if variance else 0.0
    return [Finding("solved", f"{share:.2%} of the variance of the training values is left unexplained.")]


# --- units ---------------------------------------------------------------------------------------
def of_units(config: Config, found: Units, solved: bool = False) -> list[Finding]:
    """Dead and saturated units. The outputs of a solved problem may be saturated: they are sure."""
    findings = []
    silent = [dead & ~saturated for dead, saturated in zip(found.dead, found.saturated, strict=True)]
    stuck = [flags & (not solved) for flags in found.saturated[-1:]]
    stuck = [*found.saturated[:-1], *stuck]
    count, said = _counted(silent)
    if count:
        off = sum(int(flags.sum()) for flags in found.off) == count
        why = "a ReLU that is off passes no gradient" if off else "they tell no sample from another"
        advice = "Try other first weights (xavier, another seed) or a lower learning rate."
        if off:
            advice = "Try leaky_relu, a lower learning rate, or other first weights (he, another seed)."
        text = f"{said} {'answers' if count == 1 else 'answer'} the same to every training sample: {why}."
        findings.append(Finding("dead", text, advice, _places(silent)))
    count, said = _counted(stuck)
    if count:
        text = (
            f"{said} {'is' if count == 1 else 'are'} near an end of the range on at least "
            f"{NEARLY_ALL:.0%} of the training samples: the slope there is next to nothing."
        )
        advice = "Try smaller first weights, a lower learning rate, an L2 penalty, or inputs of about ±1."
        findings.append(Finding("saturated", text, advice, _places(stuck)))
    return findings


def _counted(layers: Sequence[Array]) -> tuple[int, str]:
    """How many units, and "3 of 8 units of layer 1 and 1 of 4 units of layer 2"."""
    some = [(layer, flags) for layer, flags in enumerate(layers, 1) if flags.any()]
    parts = [f"{int(flags.sum())} of {len(flags)} units of layer {layer}" for layer, flags in some]
    said = " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)
    return sum(int(flags.sum()) for _, flags in some), said


def _places(layers: Sequence[Array]) -> tuple[str, ...]:
    return tuple(place for layer, flags in enumerate(layers, 1) for place in _named(layer, flags))[:NAMED]


def _named(layer: int, flags: Array) -> tuple[str, ...]:
    return tuple(f"u{layer}.{unit}" for unit in np.flatnonzero(flags)[:NAMED])
