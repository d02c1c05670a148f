"""Progress as one line that goes away: in a notebook cell, or on a terminal's error stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llm_workings.core.progress import Progress

PATIENCE = 0.4  # seconds before the first line, so that quick work shows none
EVERY = 0.2  # seconds between two lines


@contextmanager
def line_of_progress() -> Iterator[Progress]:
    """A `Progress` for the time of some work; a keyboard interrupt stops the work as usual."""
    write, clear = _places()
    last = time.monotonic() + PATIENCE - EVERY
    shown = False

    def listen(what: str, done: int, total: int) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if now - last >= EVERY:
            last, shown = now, True
            write(f"{what}: {100 * done // total}%" if total else f"{what} …")

    try:
        yield Progress(listen)
    finally:
        if shown:
            clear()


def _places() -> tuple[Callable[[str], None], Callable[[], None]]:
    """How to write the line here, and how to take it away."""
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        from IPython.display import Pretty, display

        handles: list[object] = []

        def write_cell(line: str) -> None:
            text = Pretty(line)
            if handles:
                handles[0].update(text)  # type: ignore[attr-defined]
            else:
                handles.append(display(text, display_id=True))

        def clear_cell() -> None:
            handles[0].update(Pretty(""))  # type: ignore[attr-defined]

        return write_cell, clear_cell
    if sys.stderr.isatty():
        return _write_terminal, lambda: _write_terminal("")
    return lambda line: None, lambda: None


def _write_terminal(line: str) -> None:
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()
