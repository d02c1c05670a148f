"""Which payloads a standalone file carries, so that what a reader clicks next is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from llm_workings.core.errors import unknown
from llm_workings.core.wire import Payload
from llm_workings.views import REGISTRY
from llm_workings.views.contract import View
from llm_workings.views.lab import Lab
from llm_workings.views.network import MOST_STEPS
from llm_workings.views.network_parts import Recording

from . import (
    of_ablation,
    of_attention,
    of_attribution_gallery,
    of_direct_attribution,
    of_features,
    of_logit_lens,
    of_mlp,
    of_patching,
    of_probe_ladder,
    of_residual,
    of_steering,
    of_token_activations,
    of_token_attribution,
)
from .html import Answer, page
from .recorder import Recorder

BOUND = 5_000_000  # bytes of follow-ups, as the wire packs them


def export_view(
    lab: Lab,
    view: View | str,
    request: Mapping[str, Any] | BaseModel,
    state: Mapping[str, str] | None = None,
    *,
    payload: Payload | None = None,
    bound: int = BOUND,
    bundle: Path | None = None,
) -> str:
    """The HTML file of a view's answer to `request`, opening in `state`.

    It carries what a reader may open next (`FOLLOWED`), of what is many as much as `bound` bytes
    hold. What it does not carry it says (`left_out`).

    `payload` is the answer where it was computed already.

    Raises what the view raises, and `NotReady` if the front end was not built.
    """
    if isinstance(view, str):
        if view not in REGISTRY:
            raise unknown("view", view, REGISTRY)
        view = REGISTRY[view]
    recorder = Recorder(lab, view, request, dict(state or {}), bound, payload)
    FOLLOWED.get(view.name, _nothing)(recorder)
    return page(recorder.answers, state, left_out=recorder.left_out, bundle=bundle)


def export_recording(
    recording: Recording, state: Mapping[str, str] | None = None, *, bundle: Path | None = None
) -> str:
    """The HTML file of a training that was recorded as it went, forks included.

    Raises `NotReady` if the front end was not built.
    """
    view, setting = REGISTRY["network"], recording.setting
    steps = min(recording.frames[-1].step, MOST_STEPS)
    request = view.parse(
        {"config": setting.config, "data": setting.data, "steps": steps, "frames": len(recording.frames)}
    )
    answer = Answer(view, request, recording)
    return page([answer], state, left_out=recording.left_out, bundle=bundle)


def _nothing(recorder: Recorder) -> None:
    """A picture that asks for no other."""


def _network(recorder: Recorder) -> None:
    assert isinstance(recorder.first, Recording)
    recorder.left_out += recorder.first.left_out


FOLLOWED: dict[str, Callable[[Recorder], None]] = {
    "ablation": of_ablation.record,
    "attention": of_attention.record,
    "attribution_gallery": of_attribution_gallery.record,
    "direct_attribution": of_direct_attribution.record,
    "feature_visualization": of_features.record_climb,
    "head": of_attention.record_head,
    "logit_lens": of_logit_lens.record,
    "mlp": of_mlp.record,
    "network": _network,
    "steering": of_steering.record,
    "probe_ladder": of_probe_ladder.record,
    "patching": of_patching.record,
    "residual": of_residual.record,
    "neuron": of_mlp.record_neuron,
    "token_activations": of_token_activations.record,
    "token_attribution": of_token_attribution.record,
    "unit": of_features.record_unit,
}
"""What a reader may open next, by the view that the file shows."""
