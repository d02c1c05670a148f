"""What a file of the MLP view carries besides it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import pack
from llm_workings.views.corpus_texts import BY
from llm_workings.views.mlp import Mlp, NeuronListing

from .recorder import Recorder


def record(recorder: Recorder) -> None:
    """The list as it is sorted and chosen, the pinned neuron with its corpus, and what fits of the list."""
    first = recorder.first
    assert isinstance(first, Mlp)
    followed: dict[str, Any] = {}  # said as the page says it
    best = first.guesses[0].token.id if first.guesses else None
    followed["answer"] = first.answer.text if first.answer and first.answer.id != best else None
    followed["wrong"] = first.wrong.text if first.wrong else None
    state, listing = recorder.state, first.listing
    chosen = {
        "sort": state.get("sort", listing.sort),
        "layer": _index(state.get("layer"), listing.layer),
        "position": _index(state.get("position"), listing.position),
    }
    shown = recorder.record("mlp_neurons", {**followed, **chosen})
    assert isinstance(shown, NeuronListing)
    pinned = re.fullmatch(r"(\d+)\.(\d+)", state.get("neuron", ""))
    wanted = [(int(pinned[1]), int(pinned[2]))] if pinned else []
    wanted += [(ref.layer, ref.neuron) for ref in shown.neurons]
    if pinned:
        _record_corpus(recorder, *wanted[0])
        _record_prompts(recorder, *wanted[0])
    if "probe" in state:
        _record_probes(recorder)
    else:
        recorder.left_out.append("Probes by layer and word: they are read off the model.")
    held = 0
    for number, (layer, neuron) in enumerate(dict.fromkeys(wanted)):
        recorder.lab.progress.report("recording neurons", number, len(wanted))
        held += len(pack(recorder.record("neuron", {**followed, "layer": layer, "neuron": neuron})))
        if held > recorder.bound:
            break
    recorder.left_out.append(
        "Neurons that are not in the list, what others than the pinned one do over a corpus, and lists of "
        "other layers or sorted another way: each is a reading by the model."
    )


def record_neuron(recorder: Recorder) -> None:
    """The neuron over its corpus."""
    _record_corpus(recorder, recorder.asked["layer"], recorder.asked["neuron"])
    _record_prompts(recorder, recorder.asked["layer"], recorder.asked["neuron"])
    recorder.left_out.append("Other neurons and other corpora: each is a reading by the model.")


def _record_probes(recorder: Recorder) -> None:
    """The probes by layer and word that the page shows."""
    state = recorder.state
    asked = {"task": state["probe"], "site": state.get("probe_site", "mlp_out")}
    numbers = {name: state.get(f"probe_{name}", "") for name in ("n", "seed")}
    try:
        recorder.record(
            "probe_positions", {**asked, **{k: int(v) for k, v in numbers.items() if v.isdecimal()}}
        )
    except BadInput as error:
        recorder.left_out.append(f"Probes by layer and word: {error.message}")
    recorder.left_out.append("Probes of other properties, places and samples: each is read off the model.")


def _record_corpus(recorder: Recorder, layer: int, neuron: int) -> None:
    """A neuron over the corpus that the page shows; a model's vocabulary may not have its words."""
    recorder.record("corpora", {})
    corpus = recorder.state.get("corpus", "built-in")
    try:
        recorder.record("neuron_corpus", {"layer": layer, "neuron": neuron, "corpus": corpus})
    except BadInput as error:
        recorder.left_out.append(f"Neuron {layer}.{neuron} over the corpus {corpus}: {error.message}")


def _record_prompts(recorder: Recorder, layer: int, neuron: int) -> None:
    """The prompts that the page shows for a neuron; the names are those of web/parts/neurons/writing.ts."""
    state = recorder.state
    if state.get("excite") in ("high", "low"):
        asked: dict[str, Any] = {
            "layer": layer,
            "neuron": neuron,
            "corpus": state.get("corpus", "built-in"),
            "lowest": state["excite"] == "low",
        }
        for name in ("n", "seed", "fluency"):
            if (text := state.get(f"excite_{name}")) is not None:
                asked[name] = text  # a request reads numbers, and says what is none
        try:
            recorder.record("neuron_prompt", asked)
        except BadInput as error:
            recorder.left_out.append(f"Prompts that excite neuron {layer}.{neuron}: {error.message}")
    recorder.left_out.append("Prompts written to excite a neuron other than those shown: each is a climb.")


def record_texts(recorder: Recorder, view: str, asked: Mapping[str, Any]) -> None:
    """The texts of a corpus that the page shows for a head or a direction; the names in the state are those
    of web/parts/neurons/CorpusTexts.svelte."""
    state = recorder.state
    if "texts" not in state:
        recorder.left_out.append("Texts of a corpus that excite it: they are read by the model.")
        return
    by = {"by": state["texts"] if state["texts"] in BY else BY[0]} if view == "head_texts" else {}
    recorder.record("corpora", {})
    try:
        recorder.record(view, {**asked, **by, "corpus": state.get("corpus", "built-in")})
    except BadInput as error:
        recorder.left_out.append(f"Texts of a corpus that excite it: {error.message}")


def _index(text: str | None, otherwise: int | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else otherwise
