"""Which payloads a standalone file carries, so that what a reader clicks next is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from llm_workings.core.errors import unknown
from llm_workings.core.wire import Payload, pack
from llm_workings.views import REGISTRY
from llm_workings.views.attention import Attention
from llm_workings.views.contract import View
from llm_workings.views.head_scores import NAMES
from llm_workings.views.lab import Lab
from llm_workings.views.network import MOST_STEPS
from llm_workings.views.network_parts import Recording

from .html import Answer, page

BOUND = 5_000_000  # bytes of heads in detail, as the wire packs them
BEST = 3  # heads for each score, where not all fit
ROWS = 64  # tokens up to which the exact rows of a pinned head are recorded


def export_view(
    lab: Lab,
    view: View | str,
    request: Mapping[str, Any] | BaseModel,
    state: Mapping[str, str] | None = None,
    *,
    bound: int = BOUND,
    bundle: Path | None = None,
) -> str:
    """The HTML file of a view's answer to `request`, opening in `state`.

    It carries what a reader may open next: of the attention view every head in detail if those take
    at most `bound` bytes, else the pinned ones, the ablated ones and the best of each score; the
    pinned head's ablation; of the lens the token that `state` follows; of a network the recorded
    frames. What it does not carry it says (`left_out`).

    Raises what the view raises, and `NotReady` if the front end was not built.
    """
    if isinstance(view, str):
        if view not in REGISTRY:
            raise unknown("view", view, REGISTRY)
        view = REGISTRY[view]
    recorder = _Recorder(lab, view, request, dict(state or {}))
    if view.name == "attention":
        recorder.record_attention(bound)
    elif view.name == "head":
        recorder.record_rows(recorder.asked["layer"], recorder.asked["head"], {})
    elif view.name == "logit_lens":
        recorder.record_followed()
    if isinstance(recorder.first, Recording):
        recorder.left_out += recorder.first.left_out
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


class _Recorder:
    """Runs views and keeps their answers, each request once; the first is the picture."""

    def __init__(self, lab: Lab, view: View, request: Any, state: dict[str, str]):
        self.lab, self.state = lab, state
        self.answers: list[Answer] = []
        self.left_out: list[str] = []
        self._payloads: dict[str, Payload] = {}
        parsed = view.parse(request)
        self.asked = parsed.model_dump()
        self.first = self.record(view.name, {})

    def record(self, name: str, change: Mapping[str, Any]) -> Payload:
        """Run the view called `name` on the first request with these fields changed."""
        view = REGISTRY[name]
        fields = view.request.model_fields
        request = view.parse({k: v for k, v in {**self.asked, **change}.items() if k in fields})
        key = name + request.key()
        if key not in self._payloads:
            payload = self._payloads[key] = view.run(self.lab, request)
            self.answers.append(Answer(view, request, payload))
        return self._payloads[key]

    def record_attention(self, bound: int) -> None:
        atlas = self.first
        assert isinstance(atlas, Attention)
        layers, heads = atlas.scores.entropy.shape
        whole = {(layer, head) for layer in range(layers) for head in range(heads)}
        here = [ref.model_dump() for ref in atlas.ablate]
        seen: dict[str, Any] = {"ablate": here, "ablation": atlas.ablation}
        if "ablate" in self.state:  # the page ablates in its state, on top of what was asked
            chosen = [ref for ref in _heads(self.state["ablate"]) if ref in whole]
            mode = self.state.get("ablation", atlas.ablation)
            seen = {"ablate": [_ref(*ref) for ref in chosen], "ablation": mode}
            self.record("attention", seen)
        if here or seen["ablate"]:
            self.record("attention", {"ablate": []})
        off = [(ref["layer"], ref["head"]) for ref in seen["ablate"]]
        pinned = [ref for ref in _heads(self.state.get("pin", "")) if ref in whole]
        for layer, head in pinned:
            self._record_pinned(layer, head, seen, off)

        first = (0, 0) if not pinned else pinned[0]
        each = len(pack(self.record("head", {**seen, **_ref(*first)})))
        wanted: Iterable[tuple[int, int]] = sorted(whole)
        if each * len(whole) > bound:
            wanted = list(dict.fromkeys([*pinned, *off, *_best(atlas)]))
            absent, size = len(whole) - len({*wanted, first}), each * len(whole) / 1e6
            self.left_out.append(
                f"{absent} of {len(whole)} heads in detail: all of them would take {size:.1f} MB. "
                "Here are the pinned and ablated heads and the best of each score."
            )
        for number, (layer, head) in enumerate(wanted):
            self.lab.progress.report("recording heads", number, len(whole))
            self.record("head", {**seen, **_ref(layer, head)})
        kept = "the pinned head" if pinned else "none"
        self.left_out.append(
            f"What becomes of the answer when a head is ablated, except for what was ablated when the file "
            f"was made and for {kept}: each is a run of the model."
        )

    def _record_pinned(
        self, layer: int, head: int, seen: Mapping[str, Any], off: list[tuple[int, int]]
    ) -> None:
        """The pinned head's rows, and what the page asks when this head is switched on or off."""
        self.record("head", {**seen, **_ref(layer, head)})
        self.record_rows(layer, head, seen)
        others = [ref for ref in off if ref != (layer, head)]
        both = others if (layer, head) in off else [*off, (layer, head)]
        for mode in ("zero", "mean"):
            switched = {"ablate": [_ref(*ref) for ref in both], "ablation": mode}
            self.record("attention", switched)
            self.record("head", {**switched, **_ref(layer, head)})

    def record_rows(self, layer: int, head: int, seen: Mapping[str, Any]) -> None:
        """The exact rows of a head, where the text is short."""
        n = len(self.first.tokens)  # type: ignore[attr-defined]
        if n > ROWS:
            self.left_out.append(
                f"The exact rows of head {layer}.{head}, for the text has over {ROWS} tokens."
            )
            return
        for query in range(n):
            self.record("head_row", {**seen, **_ref(layer, head), "query": query})

    def record_followed(self) -> None:
        if followed := self.state.get("chosen"):
            self.record("logit_lens", {"chosen": followed})
        self.left_out.append("Other tokens to follow through the layers: each is a reading by the model.")


def _ref(layer: int, head: int) -> dict[str, int]:
    return {"layer": layer, "head": head}


def _heads(text: str) -> list[tuple[int, int]]:
    """The heads that a state names: "7.3,8.1"."""
    return [(int(layer), int(head)) for layer, head in re.findall(r"(\d+)\.(\d+)", text)]


def _best(atlas: Attention) -> Iterator[tuple[int, int]]:
    """The heads of the highest scores and of the lowest entropy."""
    rankings = [getattr(atlas.scores, name) for name in NAMES if getattr(atlas.score_queries, name)]
    for scores in [*rankings, -atlas.scores.entropy]:
        for index in np.argsort(-scores, axis=None, kind="stable")[:BEST]:
            layer, head = np.unravel_index(index, scores.shape)
            yield int(layer), int(head)
