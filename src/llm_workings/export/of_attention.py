"""What files of the attention atlas and of a head carry besides them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from llm_workings.core.wire import pack
from llm_workings.views.attention import Attention
from llm_workings.views.head import Head
from llm_workings.views.head_scores import NAMES

from .of_mlp import record_texts
from .recorder import Recorder

BEST = 3  # heads for each score, where not all fit
ROWS = 64  # tokens up to which the exact rows of a pinned head are recorded
CIRCUITS = 24  # tokens up to which what it writes is recorded at each of them


def record(recorder: Recorder) -> None:
    """Every head in detail if those fit, else the pinned ones, the ablated ones and the best of each
    score; and what the page asks when a pinned head is switched on or off."""
    atlas = recorder.first
    assert isinstance(atlas, Attention)
    layers, heads = atlas.scores.entropy.shape
    whole = {(layer, head) for layer in range(layers) for head in range(heads)}
    here = [ref.model_dump() for ref in atlas.ablate]
    seen: dict[str, Any] = {"ablate": here, "ablation": atlas.ablation}
    if "ablate" in recorder.state:  # the page ablates in its state, on top of what was asked
        chosen = [ref for ref in _heads(recorder.state["ablate"]) if ref in whole]
        mode = recorder.state.get("ablation", atlas.ablation)
        seen = {"ablate": [_ref(*ref) for ref in chosen], "ablation": mode}
        recorder.record("attention", seen)
    if here or seen["ablate"]:
        recorder.record("attention", {"ablate": []})
    off = [(ref["layer"], ref["head"]) for ref in seen["ablate"]]
    pinned = [ref for ref in _heads(recorder.state.get("pin", "")) if ref in whole]
    for layer, head in pinned:
        _record_pinned(recorder, layer, head, seen, off, len(atlas.tokens))
        _record_circuits(recorder, layer, head, seen, len(atlas.tokens))
        if atlas.other is not None:
            on_it = {**seen, "prompt": recorder.asked["corrupted"]}
            recorder.record("head", {**on_it, **_ref(layer, head)})
            _record_rows(recorder, layer, head, on_it, len(atlas.other.tokens))
            _record_circuits(recorder, layer, head, on_it, len(atlas.other.tokens))
    if len(pinned) > 1:  # what the page asks when all that is selected is switched off together
        for mode in ("zero", "mean"):
            together = [_ref(*ref) for ref in dict.fromkeys([*off, *pinned])]
            recorder.record("attention", {"ablate": together, "ablation": mode})

    first = (0, 0) if not pinned else pinned[0]
    each = len(pack(recorder.record("head", {**seen, **_ref(*first)})))
    wanted: Iterable[tuple[int, int]] = sorted(whole)
    if each * len(whole) > recorder.bound:
        wanted = list(dict.fromkeys([*pinned, *off, *_best(atlas)]))
        absent, size = len(whole) - len({*wanted, first}), each * len(whole) / 1e6
        recorder.left_out.append(
            f"{absent} of {len(whole)} heads in detail: all of them would take {size:.1f} MB. "
            "Here are the pinned and ablated heads and the best of each score."
        )
    for number, (layer, head) in enumerate(wanted):
        recorder.lab.progress.report("recording heads", number, len(whole))
        recorder.record("head", {**seen, **_ref(layer, head)})
    if len(pinned) < len(whole):
        recorder.left_out.append(
            "Raw scores, exact rows, and what a head writes, copies and looks for, but of the pinned heads."
        )
    kept = "the pinned head" if pinned else "none"
    recorder.left_out.append(
        f"What becomes of the answer when a head is ablated, except for what was ablated when the file "
        f"was made and for {kept}: each is a run of the model."
    )
    if pinned:
        record_texts(recorder, "head_texts", _ref(*pinned[0]))


def record_head(recorder: Recorder) -> None:
    """The exact rows of the head, and its raw scores."""
    recorder.record("head", {"with_scores": True})
    head = recorder.first
    assert isinstance(head, Head)
    _record_rows(recorder, recorder.asked["layer"], recorder.asked["head"], {}, len(head.tokens))
    record_texts(recorder, "head_texts", {})


def _record_circuits(recorder: Recorder, layer: int, head: int, seen: Mapping[str, Any], n: int) -> None:
    """A pinned head's raw scores on a text of `n` tokens; what it writes, copies and looks for at the
    token that is pinned, at the last, and at every other if the text is short."""
    from llm_workings.causal.direct_attribution import why_not

    recorder.record("head", {**seen, **_ref(layer, head), "with_scores": True})
    if why_not(recorder.lab.model(recorder.asked["model"])):
        return
    words = {key: recorder.state.get(key) or None for key in ("answer", "wrong")}
    reads = "embedding" if recorder.state.get("reads") == "embedding" else "first_mlp"
    query = recorder.state.get("query", "")
    positions = range(n) if n <= CIRCUITS else [int(query)] if query.isdecimal() and int(query) < n else []
    for position in (None, *positions):
        asked = {**seen, **_ref(layer, head), **words, "reads": reads, "position": position}
        recorder.record("head_circuits", asked)


def _record_pinned(
    recorder: Recorder, layer: int, head: int, seen: Mapping[str, Any], off: list[tuple[int, int]], n: int
) -> None:
    """The pinned head's rows, and what the page asks when this head is switched on or off."""
    recorder.record("head", {**seen, **_ref(layer, head)})
    _record_rows(recorder, layer, head, seen, n)
    others = [ref for ref in off if ref != (layer, head)]
    both = others if (layer, head) in off else [*off, (layer, head)]
    for mode in ("zero", "mean"):
        switched = {"ablate": [_ref(*ref) for ref in both], "ablation": mode}
        recorder.record("attention", switched)
        recorder.record("head", {**switched, **_ref(layer, head)})


def _record_rows(recorder: Recorder, layer: int, head: int, seen: Mapping[str, Any], n: int) -> None:
    """The exact rows of a head on a text of `n` tokens, where it is short."""
    if n > ROWS:
        recorder.left_out.append(
            f"The exact rows of head {layer}.{head}, for the text has over {ROWS} tokens."
        )
        return
    for query in range(n):
        recorder.record("head_row", {**seen, **_ref(layer, head), "query": query})


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
