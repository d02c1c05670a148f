"""What a file of patches carries besides the grid: what the patched model says at some cells."""

from __future__ import annotations

import re
from typing import Any

from llm_workings.views.patching import Patching

from .recorder import Recorder

RECORDED = 10  # of the strongest cells, so many are recorded with their continuations


def record(recorder: Recorder) -> None:
    """The pinned cell and the strongest ones, each with the answers and continuations of its three runs."""
    grid = recorder.first
    assert isinstance(grid, Patching)
    pinned = _pinned(grid, recorder.state)
    places = [(place.layer, place.unit, place.position) for place in grid.strongest[:RECORDED]]
    wanted = list(dict.fromkeys([*([] if pinned is None else [pinned]), *places]))
    for layer, unit, position in wanted:
        recorder.record("patched_answer", question(grid, layer, unit, position))
    count = int(grid.values.size)
    if count > len(wanted):
        recorder.left_out.append(
            f"What the patched model says at {count - len(wanted):,} of {count:,} cells: each is three "
            f"continuations of the model. Here are the {len(wanted)} cells "
            + ("pinned or strongest: " if pinned is not None else "that move the answer most: ")
            + ", ".join(_name(grid, *place) for place in wanted)
            + "."
        )
    recorder.left_out.append("Other sites, directions and metrics: each is a sweep of the model.")


def question(grid: Patching, layer: int, unit: int | None, position: int | None) -> dict[str, Any]:
    """What the page asks `patched_answer` of a cell (`web/parts/patching/layout.ts`)."""
    kind = grid.kind if grid.kind != "nodes" else "mlp_out" if unit is None else "z"
    metric = "kl" if grid.metric == "KL divergence" else grid.metric.replace(" ", "_")
    return {
        "kind": kind, "layer": layer, "unit": unit, "where": position,
        "corrupted": grid.corrupted_text, "answer": grid.answer.text, "wrong": grid.wrong.text,
        "direction": grid.direction, "metric": metric, "at": grid.position,
    }  # fmt: skip


def _pinned(grid: Patching, state: dict[str, str]) -> tuple[int, int | None, int | None] | None:
    """The cell that the state names, if the grid has it."""
    axes = set(grid.axes)
    counted = "neuron" in axes or "head" in axes
    named = re.fullmatch(r"(\d+)\.(\d+)", state.get("neuron" if "neuron" in axes else "pin", ""))
    layer = state.get("layer", "")
    if named and (counted or "node" in axes):
        place: tuple[int, int | None] = (int(named[1]), int(named[2]))
    elif layer.isdecimal() and not counted:
        place = (int(layer), None)
    else:
        return None
    where = state.get("position", "")
    if ("position" in axes) != where.isdecimal():
        return None
    position = int(where) if where.isdecimal() else None
    units, positions = grid.values.shape[1:]
    heads = grid.model.n_heads if "node" in axes else units
    fits = place[0] in grid.layers and (place[1] or 0) < heads and (position or 0) < positions
    return (*place, position) if fits else None


def _name(grid: Patching, layer: int, unit: int | None, position: int | None) -> str:
    mlp = unit is None and grid.kind == "nodes"
    what = f"MLP {layer}" if mlp else f"layer {layer}" if unit is None else f"{layer}.{unit}"
    return what if position is None else f"{what} at {position}"
