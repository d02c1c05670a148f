"""What a file of the ablations carries besides the picture."""

from __future__ import annotations

import re

from llm_workings.views.ablation import Ablation

from .recorder import Recorder

ALONE = 5  # of the strongest parts


def record(recorder: Recorder) -> None:
    """The answer without the parts that the state takes out, and without each of the strongest alone."""
    found = recorder.first
    assert isinstance(found, Ablation)
    chosen = list(dict.fromkeys(re.findall(r"[a-z]+(?:\.\d+)+", recorder.state.get("out", ""))))
    alone = [name for name, _ in found.strongest(ALONE)]
    asked = {
        "answer": found.answer.text,
        "wrong": None if found.wrong is None else found.wrong.text,
        "position": found.position,
        "texts": found.stood.texts if found.stood.source == "own" else [],
    }
    for out in [*([chosen] if chosen else []), *([name] for name in alone)]:
        recorder.record("ablated_answer", {**asked, "out": out})
    recorder.left_out.append(
        f"The answer without other parts than {', '.join(alone)} alone"
        + (f" and {', '.join(chosen)} together" if chosen else "")
        + ": each is a run of the model."
    )
