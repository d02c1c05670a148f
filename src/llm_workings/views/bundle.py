"""The built front end: one script for each host that shows a view outside the lab page."""

from __future__ import annotations

from pathlib import Path

from llm_workings.core.errors import NotReady

BUNDLE = Path(__file__).parent.parent / "_bundle"


def script(name: str, folder: Path | None = None) -> str:
    """The text of `widget.js` or `standalone.js`. Raises `NotReady` if the bundle was never built."""
    path = (folder or BUNDLE) / name
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise NotReady(
            f"The web part of llm-workings is not built: there is no {name}.",
            hint="An installed wheel carries it; in a checkout, run `make bundle`.",
            given={"file": str(path)},
        ) from None
