"""What a file of the steering bench carries besides it."""

from __future__ import annotations

from llm_workings.views.steering import Steering

from .of_mlp import record_texts
from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The doses and the prompts, if the page has measured them."""
    if recorder.state.get("doses"):
        recorder.record("steering_doses", {})
    if recorder.state.get("trial"):
        recorder.record("steering_effect", {"n": 10})
    bench = recorder.first
    assert isinstance(bench, Steering)
    record_texts(recorder, "direction_texts", {"layer": bench.layer})
    recorder.left_out.append(
        "Other strengths, layers, seeds and prompts: each is written by the model again."
    )
