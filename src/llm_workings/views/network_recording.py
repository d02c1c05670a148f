"""A training as it can be scrubbed without a lab: frames in order, and what stands beside each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.wire import pack
from llm_workings.data.spec import DataSpec
from llm_workings.playground.run import Run

from .network_details import MOST, Watched, details_of
from .network_files import UNKNOWN
from .network_frames import Painter, setting_of, tree_of
from .network_parts import Recording
from .network_script import script_of

BOUND = 6_000_000  # bytes of frames and details, as the wire packs them
LONGEST_SCRIPT = 200_000  # characters


def record(
    run: Run,
    spec: DataSpec | None,
    watched: Watched,
    *,
    frames: int = 40,
    bound: int = BOUND,
    progress: Progress = SILENT,
) -> Recording:
    """The branch in view, from its first step to its tip; the run stands where it stood afterwards.

    Args:
        spec: what its data was made from; None where that is not known.
        frames: moments, closer together at the beginning; fewer where they would take more than `bound`.
        bound: bytes of frames and details together.
    """
    here = run.here
    painter = Painter(run)
    try:
        steps, most, left_out = _plan(run, painter, watched, frames, bound)
        pictures, details = [], []
        for number, step in enumerate(steps):
            progress.report("recording frames", number, len(steps))
            run.goto(step)
            pictures.append(painter.frame(watched.sample))
            beside = replace(watched, algebra=watched.algebra and most > 0)
            details.append(details_of(run, beside, most=most))
    finally:
        run.goto(here[1], here[0])
    script = "" if spec is None else script_of(run, spec)
    if spec is None:
        left_out.append("The Python that makes this run: its data came from elsewhere.")
    elif len(script) > LONGEST_SCRIPT:
        left_out.append(f"The Python that makes this run: it has {len(script):,} characters.")
        script = ""
    return Recording(
        setting=setting_of(run.branches[0].config, run.data, spec or UNKNOWN),
        tree=tree_of(run),
        frames=pictures,
        details=details,
        script=script,
        left_out=left_out,
    )


def _plan(
    run: Run, painter: Painter, watched: Watched, frames: int, bound: int
) -> tuple[list[int], int, list[str]]:
    """Which steps, how many equations for each, and what that leaves out, in words."""
    tip, left_out = run.tip, []
    run.goto(tip)
    frame = len(pack(painter.frame(watched.sample)))
    whole, bare = details_of(run, watched), details_of(run, replace(watched, algebra=False))
    plain = frame + len(pack(bare))
    fitting = max(1, bound // 2 // plain) if watched.algebra else max(1, bound // plain)
    steps = spread(tip, min(frames, fitting))
    if tip >= len(steps):
        why = f"; more than {fitting} would take over {bound / 1e6:.0f} MB" if fitting < frames else ""
        left_out.append(f"{len(steps):,} of the {tip + 1:,} moments from step 0 to {tip:,} are here{why}.")
    most = MOST
    if whole.algebra is not None:
        written = len(whole.algebra.equations)
        each = (len(pack(whole)) - len(pack(bare))) / max(1, written)
        room = int((bound - plain * len(steps)) / len(steps) / max(1.0, each))
        most = min(MOST, room)
        absent = whole.algebra.left_out + max(0, written - most)
        if absent:
            left_out.append(f"{absent:,} equations of each step, which are of other places or did not fit.")
        left_out.append("The equations of other samples than the one followed.")
    others = len(run.branches) - len(run.lineage(run.branch))
    if others:
        left_out.append(f"The frames of the other branches ({others}), whose curves are here.")
    return steps, most, left_out


def spread(tip: int, n: int) -> list[int]:
    """`n` steps from 0 to `tip`, closer together at the beginning; all, where there are no more."""
    if n > tip:
        return list(range(tip + 1))
    along = np.linspace(0.0, 1.0, n) if n > 1 else np.array([1.0])
    return [max(int(step), at) for at, step in enumerate(np.rint(tip * along**2))]
