"""What a file of the attribution gallery carries besides it."""

from __future__ import annotations

from llm_workings.views.attribution_gallery import AttributionGallery
from llm_workings.views.attribution_methods import KINDS

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The checks of the map that is open, at the layer that is shown; and a method that was waited for."""
    gallery, state = recorder.first, recorder.state
    assert isinstance(gallery, AttributionGallery)
    question = {
        "net": gallery.net.name,
        "picture": gallery.picture.name,
        "target": gallery.target,
        "contrast": gallery.contrast,
        "layer": gallery.layer,
        "seed": gallery.seed,
    }
    also = [one.name for one in gallery.later if one.name == state.get("also")]
    if also:
        recorder.record("attribution_gallery", {**question, "methods": also})
    opened = state.get("method")
    if opened in KINDS and (opened in also or any(tile.name == opened for tile in gallery.tiles)):
        layer = state["map"] if state.get("map") in gallery.layers else gallery.layer
        recorder.record("attribution_checks", {**question, "method": opened, "layer": layer})
    recorder.left_out += [
        f"{one.name}, which runs the network {one.runs} times."
        for one in gallery.later
        if one.name not in also
    ]
    recorder.left_out.append(
        "Other classes, and the checks (random weights, deletion, insertion) of any map but the one that was "
        "open: each runs the network again."
    )
