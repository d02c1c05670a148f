"""What a file of the logit lens carries besides it."""

from __future__ import annotations

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The token that the page follows through the layers."""
    if followed := recorder.state.get("chosen"):
        recorder.record("logit_lens", {"chosen": followed})
    recorder.left_out.append("Other tokens to follow through the layers: each is a reading by the model.")
