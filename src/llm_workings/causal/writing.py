"""Several texts written on at once, each with its own edits: one forward a step for all of them.

Each comes out as `model.generate` writes it alone. A step of a small model on a CPU mostly waits for its
weights to come from memory; rows that share the step share the wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.transformer import KeyValueCache
from llm_workings.trace import budget as memory
from llm_workings.trace.apply import Frame
from llm_workings.trace.edits import Edit
from llm_workings.trace.generate import Stream, Text
from llm_workings.trace.tap import NotFinite, Tracer, finite

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

ROWS = 16  # of one forward: more no longer share a wait, they only take memory


def write_together(
    model: LanguageModel,
    prompts: Sequence[Any],
    edits: Sequence[Sequence[Edit]],
    n: int = 20,
    *,
    rows: int = ROWS,
    budget: int | str | None = None,
    progress: Progress = SILENT,
    **how: Any,
) -> list[Text]:
    """Write on from each prompt with the edits of its own; the texts stand in the order of the prompts.

    Args:
        prompts: a text or token ids each; those of as many tokens share a forward.
        edits: those of each prompt, as many lists as prompts.
        n: at most this many tokens each.
        rows: of one forward, at the most.
        how: `temperature`, `top_k`, `top_p`, `seed`, `stop`, as `model.generate` takes them. Every text
            draws from the same seed, by itself.

    Raises what `model.generate` raises, and `BadInput` for an edit that picks rows or is a function.
    """
    if len(prompts) != len(edits):
        raise BadInput(f"There are {len(prompts)} prompts and {len(edits)} lists of edits.")
    streams = [
        model.stream(prompt, n, edits=_own(own), budget=budget, **how)
        for prompt, own in zip(prompts, edits, strict=True)
    ]
    by_length: dict[int, list[Stream]] = {}
    for stream in streams:
        by_length.setdefault(stream.batch.width, []).append(stream)
    parts = [some[i : i + rows] for some in by_length.values() for i in range(0, len(some), rows)]
    for done, part in enumerate(parts):
        _write(model, part, n, budget, progress, n * done, n * len(parts))
    return [stream.text() for stream in streams]


def in_row(edit: Edit, row: int) -> Edit:
    """The same edit in one row of a batch."""
    return Edit(edit.site, edit.where.model_copy(update={"batch": (row,)}), edit.how)


def _own(edits: Iterable[Any]) -> list[Edit]:
    edits = list(edits)
    for edit in edits:
        if not isinstance(edit, Edit) or edit.where.batch is not None:
            raise BadInput(
                f"The edit {str(edit)!r} cannot be made in one text of several.",
                hint="Take an Edit that picks no rows: the list it stands in says whose it is.",
            )
    return edits


def _write(
    model: LanguageModel,
    streams: list[Stream],
    n: int,
    budget: int | str | None,
    progress: Progress,
    before: int,
    total: int,
) -> None:
    """Write on some texts of one length until the last of them has ended."""
    size, width = len(streams), streams[0].batch.width
    edits = [in_row(edit, row) for row, stream in enumerate(streams) for edit in stream.edits]  # type: ignore[arg-type]
    full = torch.zeros(size, width + n, dtype=torch.long)
    forecast = model.forecast(full, edits=edits, logits="last", resumable=True)  # for its keys and values
    memory.check(forecast, model.device, budget)
    frame = Frame((width,) * size, range(width), (width - 1,), growing=True)
    tracer, cache = Tracer((), edits, frame), KeyValueCache(model.spec.n_layers)
    following = torch.cat([stream.batch.tokens for stream in streams])
    while not all(stream.ended for stream in streams):
        begin, new = cache.length(0), following.shape[1]
        progress.report("writing", before + begin + new - width, total)
        end = begin + new
        tracer.frame = Frame((end,) * size, range(begin, end), (end - 1,), growing=True)
        with torch.no_grad():
            logits = model.transformer(following, tap=tracer, cache=cache, score=slice(new - 1, None))
        if not finite(logits):
            raise NotFinite(
                f"A NaN or an infinity came out of {model.name} after {end - width} tokens.",
                hint="Write the texts one by one to see whose edits they are.",
            )
        for stream, row in zip(streams, logits[:, -1], strict=True):
            if not stream.ended:
                stream.take(row)
        # a text that has ended goes on in the batch, unread
        following = torch.tensor([[stream.guesses[-1].token] for stream in streams], device=model.device)
    tracer.check_fired(edits)
