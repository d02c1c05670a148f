"""What a file of the steering bench carries besides it."""

from __future__ import annotations

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The doses and the prompts, if the page has measured them."""
    if recorder.state.get("doses"):
        recorder.record("steering_doses", {})
    if recorder.state.get("trial"):
        recorder.record("steering_effect", {"n": 10})
    recorder.left_out.append(
        "Other strengths, layers, seeds and prompts: each is written by the model again."
    )
