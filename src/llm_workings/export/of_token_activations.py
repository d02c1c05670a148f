"""What a file of units by tokens carries besides it."""

from __future__ import annotations

from llm_workings.core.wire import pack
from llm_workings.views.token_activations import TokenActivations

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The same site in the other layers, as far as they fit, and one thing of every layer."""
    first = recorder.first
    assert isinstance(first, TokenActivations)
    held = len(pack(recorder.record("token_activations", {"rows": "layers"})))
    held += len(pack(recorder.record("token_activations", {"rows": "units"})))
    layers = sorted(range(first.model.n_layers), key=lambda layer: abs(layer - first.layer))
    for number, layer in enumerate(layers):
        recorder.lab.progress.report("recording layers", number, len(layers))
        held += len(pack(recorder.record("token_activations", {"rows": "units", "layer": layer})))
        if held > recorder.bound:
            recorder.left_out.append("Layers further from this one: each is a reading by the model.")
            break
    recorder.left_out.append("Other sites and other units of every layer: each is a reading by the model.")
