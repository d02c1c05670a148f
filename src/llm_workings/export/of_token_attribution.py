"""What a file of the token attribution carries besides it."""

from __future__ import annotations

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """Nothing: the picture holds every method's line."""
    recorder.left_out.append("Other answers, positions and methods: each needs the model.")
