"""What a file of the direct attribution carries besides it."""

from __future__ import annotations

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """Nothing: the picture holds every term of every level."""
    recorder.left_out.append("Other answers and other positions: each is a reading of the model's run.")
