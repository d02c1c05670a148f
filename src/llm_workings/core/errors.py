"""Errors that restate what was asked and point to the nearest thing that works.

Every error a user can cause is a `LabError`. It says what happened, with the input in it, and
what to do next; the web page, the notebook and the terminal print the same two sentences.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LabError(Exception):
    """Base of every error that names the user's own input.

    Args:
        message: what happened, with the offending input restated.
        hint: what to do next, or the nearest input that works.
        given: the inputs as plain JSON values, for a host that lays them out itself.
    """

    status = 400  # the HTTP status a server answers with

    def __init__(self, message: str, *, hint: str = "", given: dict[str, Any] | None = None):
        self.message, self.hint, self.given = message, hint, given or {}
        super().__init__(f"{message} {hint}".strip())

    def as_dict(self) -> dict[str, Any]:
        """As JSON: `kind`, `message`, `hint` and `given`."""
        return {
            "kind": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "given": self.given,
        }


class BadInput(LabError):
    """A value that cannot be used: an empty prompt, a layer that is not there."""


class UnknownName(LabError):
    """A name that means nothing here. Build it with `unknown`, which suggests the nearest ones."""

    status = 404


class NotSupported(LabError):
    """Something real that this project does not do, with the list of what it does."""


class BadFile(LabError):
    """A file or message whose bytes are not what they should be: truncated, wrong hash, pickle."""


class BadShape(LabError):
    """Two shapes that do not fit, both restated."""


class TooLarge(LabError):
    """A request that would not fit the memory, the context or the body limit, with the sizes."""

    status = 413


class EditNeverFired(LabError):
    """An edit whose site was never reached, so the numbers would be those of an unedited run."""


class CannotFetch(LabError):
    """A download that could not be made or finished. What was received is kept and resumed."""

    status = 502


class Refused(LabError):
    """A request that the server's guards turn away: a foreign host, origin or token."""

    status = 403


class Busy(LabError):
    """More work than may wait at once."""

    status = 429


class NotReady(LabError):
    """Something real that is not finished yet."""

    status = 409


class Cancelled(LabError):
    """The user stopped the work."""

    status = 409


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """The known names closest to `name`, best first; case is ignored."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    return [by_lower[match] for match in close]


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """An `UnknownName` for `name`, suggesting the nearest of `known` or else listing a few."""
    known = list(known)
    close = nearest(name, known)
    if close:
        hint = "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    else:
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        hint = f"Known: {shown}." if known else "None is known."
    return UnknownName(f"There is no {what} {name!r}.", hint=hint, given={what: name})
