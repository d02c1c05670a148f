"""Parameters as JSON, out and in: for a spreadsheet, another program, or by hand.

    {"layers": [2, 4, 1], "activations": ["tanh", "sigmoid"], "weights": [...], "biases": [...]}

`weights[l][i][j]` leads from unit i of layer l to unit j of layer l + 1; numbers are written so that they
are read back to the last bit.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from llm_workings.core.errors import BadFile, BadShape

from .config import Config
from .record import Array, Parameters


def parameters_json(config: Config, parameters: Parameters) -> str:
    """The parameters as JSON text, one row of weights a line."""
    layers = [json.dumps([row.tolist() for row in matrix]) for matrix in parameters.weights]
    lines = [
        f'  "layers": {json.dumps(list(config.layers))}',
        f'  "activations": {json.dumps(list(config.activations))}',
        '  "weights": [\n    '
        + ",\n    ".join(text.replace("], [", "],\n     [") for text in layers)
        + "\n  ]",
        '  "biases": [\n    ' + ",\n    ".join(json.dumps(b.tolist()) for b in parameters.biases) + "\n  ]",
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_parameters_json(text: str, config: Config | None = None) -> Parameters:
    """The parameters that a text written by `parameters_json` holds; `layers` and `activations` may lack.

    Args:
        config: the network that they are for; any by default.

    Raises:
        BadFile: no JSON, no such fields, a row of another length than its neighbours, no finite numbers.
        BadShape: matrices that do not fit each other, or the network.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"The parameters are no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise BadFile('The parameters are no JSON object with "weights" and "biases".')
    for name in ("weights", "biases"):
        if not isinstance(given.get(name), list) or not given[name]:
            raise BadFile(
                f'The parameters have no "{name}".', hint="It is a list with one entry a layer of weights."
            )
    weights = [_array(f"weights[{i}]", each, 2) for i, each in enumerate(given["weights"])]
    biases = [_array(f"biases[{i}]", each, 1) for i, each in enumerate(given["biases"])]
    if len(weights) != len(biases):
        raise BadShape(f"There are weights of {len(weights)} layers and biases of {len(biases)}.")
    for i, (above, below) in enumerate(pairwise(weights)):
        if above.shape[1] != below.shape[0]:
            raise BadShape(
                f"weights[{i}] leads into {above.shape[1]} units, and weights[{i + 1}] leads out of "
                f"{below.shape[0]}."
            )
    for i, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        if len(bias) != matrix.shape[1]:
            raise BadShape(f"weights[{i}] leads into {matrix.shape[1]} units, which have {len(bias)} biases.")
    layers = (weights[0].shape[0], *(matrix.shape[1] for matrix in weights))
    if config is not None and layers != config.layers:
        raise BadShape(
            f"The parameters are of a network {'-'.join(map(str, layers))}; this one is "
            f"{'-'.join(map(str, config.layers))}.",
            given={"layers": list(config.layers), "parameters": list(layers)},
        )
    return Parameters(tuple(weights), tuple(biases))


def _array(name: str, given: Any, axes: int) -> Array:
    """The nested lists as an array of floats."""
    rows = given if axes == 2 else [given]
    if not isinstance(given, list) or not given or not all(isinstance(row, list) and row for row in rows):
        raise BadFile(f"{name} is no list of {'rows of ' if axes == 2 else ''}numbers.")
    for i, row in enumerate(rows):
        where = f"{name}[{i}]" if axes == 2 else name
        if len(row) != len(rows[0]):
            raise BadFile(f"{where} has {len(row)} numbers; {name}[0] has {len(rows[0])}.")
        for j, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e308:
                raise BadFile(f"{where}[{j}] is {json.dumps(value)[:40]}, and no finite number.")
    return np.array(given, np.float64)
