"""A picture as one HTML file: script, styles, fonts and data inside, and no way to the network.

The file holds the payloads it may be asked for, as base64 of the wire's own bytes, in a JSON island:

    {view, state, about, made_with, answers: [{view, request, base64}], left_out: [sentence]}

The first answer of `view` is the picture. `web/hosts/standalone.ts` is the half that opens it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llm_workings.core.files import write_whole
from llm_workings.core.wire import Payload, pack
from llm_workings.views.bundle import script
from llm_workings.views.contract import Request, View

# Nothing but this page's own script runs, and nothing is fetched from anywhere.
POLICY = (
    "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; "
    "font-src data:; img-src data: blob:; base-uri 'none'; form-action 'none'"
)
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{made_with}">
<title>{title}</title>
<style>body {{ margin: 0; }}</style>
</head>
<body>
<div id="llm-workings"></div>
<noscript><p>{reading}</p></noscript>
<script type="application/json" id="llm-workings-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Answer:
    """One payload that the file can answer with, and what it was asked."""

    view: View
    request: Request
    payload: Payload

    def as_dict(self) -> dict[str, Any]:
        return {
            "view": self.view.name,
            "request": self.request.model_dump(mode="json"),
            "base64": base64.b64encode(pack(self.payload)).decode(),
        }


def page(
    answers: Sequence[Answer],
    state: Mapping[str, str] | None = None,
    *,
    left_out: Sequence[str] = (),
    bundle: Path | None = None,
) -> str:
    """The file's text. The first of `answers` is the picture, the others what it can open.

    Args:
        state: what is pinned, sorted by, switched on when the file opens.
        left_out: in words, what the picture can ask for that is not in the file.
        bundle: the folder of the built front end; by default the package's.

    Raises `NotReady` if the front end was not built.
    """
    first = answers[0]
    code = script("standalone.js", bundle)
    if re.search(r"</script|<script", code, re.IGNORECASE):
        raise ValueError("standalone.js holds a script tag and cannot stand inside one")
    made_with = f"llm-workings {_version()}"
    data = {
        "view": first.view.name,
        "title": first.view.title,
        "about": first.view.about,
        "state": dict(state or {}),
        "made_with": made_with,
        "left_out": list(left_out),
        "answers": [answer.as_dict() for answer in answers],
    }
    subject = getattr(first.payload, "subject", None)
    about = subject() if subject else str(getattr(first.request, "prompt", ""))
    short = about if len(about) <= 60 else about[:59] + "…"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    reading = getattr(first.payload, "reading", None)
    return PAGE.format(
        policy=html.escape(POLICY.format(hash=digest), quote=True).replace("&#x27;", "'"),
        made_with=html.escape(made_with),
        title=html.escape(f"{first.view.title}: {short}" if short else first.view.title),
        reading=html.escape(reading() if reading else first.view.about),
        # Inside a script element only "<" can end it or begin a comment; in JSON it has another spelling.
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
        script=code,
    )


def write(path: Path | str, text: str) -> Path:
    """Write a page, whole or not at all. Raises `BadInput` for a folder that is not there."""
    return write_whole(path, text.encode(), example="picture.html")


def _version() -> str:
    try:
        return version("llm-workings")
    except PackageNotFoundError:
        return "(not installed)"
