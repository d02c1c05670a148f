"""A training as the Python that makes it again, bit for bit: its settings, its data, and every fork."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import BaseModel

from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import initial
from llm_workings.playground.record import Array, Parameters
from llm_workings.playground.run import Branch, Run

BY_HAND = 40  # parameters set one by one; of more, all are written down
WIDTH = 100  # characters of a line
IMPORTS = (
    "import numpy as np",
    "",
    "import llm_workings as lw",
    "from llm_workings.playground.record import Parameters",
)


def script_of(run: Run, spec: DataSpec) -> str:
    """A program for the public API that makes all branches, and stands in the end where the run stands."""
    root, *others = run.branches.values()
    given = root.states[0].parameters
    by_hand = np.flatnonzero(given != initial(root.config).parameters)
    positional = [_written(root.config.layers), _written(root.config.activations)]
    settings = _unlike_default(root.config, {"layers", "activations"})
    lines = ["import llm_workings as lw", ""]
    if len(by_hand) > BY_HAND:
        lines = [*IMPORTS, "", *_parameters(run.kernel_at(0, 0).split(given)), ""]
        settings.append("parameters=parameters")
    lines += _call("data = lw.dataset", [_written(spec.name), *_unlike_default(spec, {"name"})])
    lines += _call("network = lw.Network", [*positional, *settings])
    if 0 < len(by_hand) <= BY_HAND:
        lines += ["network.train(data, steps=0)", "run = network.run", *_edits(run, by_hand, given)]
        lines += _steps(root)
    else:
        lines += [f"network.train(data, steps={root.tip})", "run = network.run"]
    for branch in others:
        lines += _forked(run, branch)
    last = others[-1] if others else root
    if run.here != (last.id, last.tip):
        lines += ["", f"run.goto({run.step_now}, branch={run.branch})"]
    return "\n".join([*lines, "print(network)"]) + "\n"


def _forked(run: Run, branch: Branch) -> list[str]:
    """Lines that make a branch: to where it left, what was changed there, and its steps."""
    assert branch.parent is not None
    parent = run.branches[branch.parent]
    changed = {name: new for name, (_, new) in parent.config.difference(branch.config).items()}
    before, after = run.state_at(branch.start, parent.id), branch.states[branch.start]
    by_hand = np.flatnonzero(before.parameters != after.parameters)
    lines = ["", f"run.goto({branch.start}, branch={parent.id})"]
    same_memory = before.slots.keys() == after.slots.keys()
    if same_memory and any((before.slots[name] != slot).any() for name, slot in after.slots.items()):
        # The optimizer was changed and changed back: its memory was let go.
        lines.append('run.change(optimizer="sgd")')
        changed["optimizer"] = branch.config.optimizer
    if changed:
        lines += _call("run.change", [f"{name}={_written(value)}" for name, value in changed.items()])
    elif not len(by_hand):
        by_hand = np.array([0])  # nothing was changed in the end: setting a weight to what it is forks, too
    return [*lines, *_edits(run, by_hand, after.parameters), *_steps(branch)]


def _steps(branch: Branch) -> list[str]:
    made = branch.tip - branch.start
    return [f"run.step({made})"] if made else []


def _edits(run: Run, indices: Array, values: Array) -> list[str]:
    """Parameters set by hand, by their places in the flat array."""
    places = _places(run.config)
    return [f'run.edit("{places[index]}", {float(values[index])!r})' for index in indices]


def _places(config: Config) -> list[str]:
    """The name of each parameter, in the flat array's order."""
    names = []
    for layer, (into, out) in enumerate(pairwise(config.layers), 1):
        names += [f"w{layer}.{i}.{o}" for i in range(into) for o in range(out)]
        names += [f"b{layer}.{o}" for o in range(out)]
    return names


def _parameters(parameters: Parameters) -> list[str]:
    parts = {
        name: "(" + "".join(f"np.array({array.tolist()}), " for array in arrays).rstrip(" ") + ")"
        for name, arrays in (("weights", parameters.weights), ("biases", parameters.biases))
    }
    return ["parameters = Parameters(", *(f"    {name}={part}," for name, part in parts.items()), ")"]


def _unlike_default(record: BaseModel, apart: set[str]) -> list[str]:
    """Its fields that are not at their defaults, as arguments."""
    return [
        f"{name}={_written(value)}"
        for name, field in type(record).model_fields.items()
        if name not in apart and (value := getattr(record, name)) != field.default
    ]


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(what: str, arguments: list[str]) -> list[str]:
    """A call on one line, or an argument a line where that is too long."""
    line = f"{what}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return [line]
    return [f"{what}(", *(f"    {argument}," for argument in arguments), ")"]
