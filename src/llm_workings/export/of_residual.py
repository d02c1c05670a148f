"""What a file of the residual stream carries besides it."""

from __future__ import annotations

from llm_workings.core.errors import BadInput
from llm_workings.views.residual import Residual

from .recorder import Recorder

EVERY = "Other stations ablated or patched: each is a run of the model. Pin one before you save."


def record(recorder: Recorder) -> None:
    """The edits of the pinned station: each way of replacing what it adds, there and at every token."""
    stream = recorder.first
    assert isinstance(stream, Residual)
    recorder.left_out.append(EVERY)
    stop = recorder.state.get("stop")
    if stop not in [known.name for known in stream.stops] or stream.answer_position is None:
        return
    given = recorder.state.get("position", "")
    position = int(given) if given.isdecimal() and int(given) < len(stream.tokens) else stream.position
    corrupted = recorder.state.get("corrupted")
    for where in (position, None):
        for how in ("zero", "mean"):
            recorder.record("residual_edit", {"stop": stop, "how": how, "position": where})
        if corrupted:
            try:
                patch = {"stop": stop, "how": "patch", "position": where, "corrupted": corrupted}
                recorder.record("residual_edit", patch)
            except BadInput as error:  # the other text does not align: the page says so as well
                recorder.left_out.append(f"The patch from the other text: {error.message}")
                break
