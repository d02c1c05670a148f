"""Saying how far long work is, and stopping it when the user asks.

Work that takes longer than a blink takes `progress: Progress = SILENT` and calls `report` between
its steps. A host (a progress bar, a job of the server, a notebook) makes one `Progress` and hands
it down; whoever reports is stopped there, with `Cancelled`, as soon as the user asked for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import Cancelled

if TYPE_CHECKING:
    from .wire import Payload

Listener = Callable[[str, int, int], None]
Shower = Callable[[Callable[[], "Payload"]], None]


class Progress:
    """Where work reports to.

    Args:
        listen: called with (what, done, total) at each report.
        cancelled: asked at each report; True stops the work there.
        show: given how to make the picture so far, at each `publish`; makes it when it wants to.
    """

    def __init__(
        self,
        listen: Listener | None = None,
        cancelled: Callable[[], bool] | None = None,
        show: Shower | None = None,
    ):
        self._listen, self._cancelled, self._show = listen, cancelled, show

    def report(self, what: str, done: int = 0, total: int = 0) -> None:
        """Say that `done` of `total` steps (or bytes) of `what` are behind us.

        `total` 0 means that the end is not known. Raises `Cancelled` when the user stopped the work.
        """
        if self._cancelled is not None and self._cancelled():
            raise Cancelled(f"Stopped while {what}." if what else "Stopped.", given={"what": what})
        if self._listen is not None:
            self._listen(what, done, total)

    def publish(self, make: Callable[[], Payload]) -> None:
        """Offer the payload as far as it is known: what a host shows until the whole one is there.

        `make` is called at once or not at all, as often as the host can show it; so it may cost
        something, and what it reads need not last. Nothing of it is recorded.
        """
        if self._show is not None:
            self._show(make)


SILENT = Progress()
