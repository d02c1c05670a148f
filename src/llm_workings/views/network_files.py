"""A training from a file and into one, with the data as it was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadFile, LabError
from llm_workings.data.points import make
from llm_workings.data.spec import DataSpec
from llm_workings.playground.parameters_file import read_parameters_json
from llm_workings.playground.run import Run
from llm_workings.playground.save import pack_run, unpack_run

UNKNOWN = DataSpec(name="csv")  # what a page is told of data that came from elsewhere


def saved(run: Run, spec: DataSpec | None) -> bytes:
    """The run as a file."""
    return pack_run(run, None if spec is None else spec.model_dump(mode="json"))


def loaded(data: bytes) -> tuple[Run, DataSpec | None]:
    """The run of a file, and what its data was made from: None where the file does not say so, or what is
    made of it today is other data than the file has. Raises `BadFile`.
    """
    run, said = unpack_run(data)
    try:
        spec = DataSpec.of(said)
        made = make(spec)
    except LabError:
        return run, None
    return (run, spec) if said and _same(run.data, made) else (run, None)


def load(file: Path) -> tuple[Run, DataSpec | None]:
    """`loaded`, of a file on disk."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is not there"
        raise BadFile(f"The file {str(file)!r} {what}.", given={"file": str(file)})
    return loaded(file.read_bytes())


def _same(mine: Dataset, made: Dataset) -> bool:
    arrays = ("inputs", "targets", "train", "test")
    return all(np.array_equal(getattr(mine, name), getattr(made, name)) for name in arrays)


def beginning_with(run: Run, given: dict[str, Any]) -> Run:
    """A new run on the same data, with the parameters of a JSON file as its first.

    Raises `BadFile`, `BadShape` and `BadInput` for parameters that are none, or go with nothing here.
    """
    parameters = read_parameters_json(json.dumps(given))
    layers = [parameters.weights[0].shape[0], *(matrix.shape[1] for matrix in parameters.weights)]
    changed: dict[str, Any] = {"layers": layers}
    if "activations" in given:
        changed["activations"] = given["activations"]
    elif len(layers) != len(run.config.layers):
        changed["activations"] = run.config.activations[:1]
    return Run(run.config.changed(**changed), run.data, parameters)
