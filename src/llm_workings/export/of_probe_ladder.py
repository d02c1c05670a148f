"""What a file of the probe ladder carries besides it."""

from __future__ import annotations

from llm_workings.views.probe_ladder import ProbeLadder

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """What the page has erased."""
    ladder = recorder.first
    assert isinstance(ladder, ProbeLadder)
    chosen = recorder.state.get("erase", "")
    if chosen.isdecimal() and int(chosen) < len(ladder.stops):
        recorder.record("erased", {"stop": ladder.stops[int(chosen)]})
    recorder.left_out.append(
        "Other properties and samples, and erasing at other stops: each is read off the model again."
    )
