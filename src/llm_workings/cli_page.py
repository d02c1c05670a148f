"""The picture of what a command found, as one HTML file: `-o page.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llm_workings.core.progress import Progress
    from llm_workings.trace.model import LanguageModel

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the picture too, as one HTML file."),
]


def write_page(
    file: Path,
    model: LanguageModel,
    progress: Progress,
    view: str,
    request: Mapping[str, Any],
    state: Mapping[str, str] | None = None,
) -> str:
    """Write a view of a model that is loaded; says where it is.

    Raises what the view raises, and `NotReady` if the front end was not built.
    """
    from llm_workings.export.html import write
    from llm_workings.export.record import export_view
    from llm_workings.views.bundle import script
    from llm_workings.views.lab import Lab

    script("standalone.js")  # says so before the work if the front end is not built
    lab = Lab(progress=progress)
    lab.add(model.name, model)
    asked = {key: value for key, value in request.items() if value is not None}
    written = write(file, export_view(lab, view, {**asked, "model": model.name}, state))
    return f"\nwritten: {written} ({written.stat().st_size / 1e6:.1f} MB)"
