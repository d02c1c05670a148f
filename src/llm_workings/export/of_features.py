"""What files of the pages about a vision net's units carry besides them."""

from __future__ import annotations

from .recorder import Recorder


def record_climb(recorder: Recorder) -> None:
    """The theatre is whole in its payload."""
    recorder.left_out.append(
        "Other units, seeds and steps, and other pictures of the page: each is climbed and read anew."
    )


def record_unit(recorder: Recorder) -> None:
    """The card is whole in its payload."""
    recorder.left_out.append("Other units, and other pictures of the page: each is a reading by the net.")
