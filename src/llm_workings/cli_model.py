"""What the commands that need a model share: its options, loading it, the bar, and the run store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_workings.core.errors import BadFile, BadInput, Cancelled, LabError

if TYPE_CHECKING:
    from llm_workings import LanguageModel
    from llm_workings.core.progress import Progress

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A name that 'llm-workings models' lists, a Hugging Face id (with @revision), a folder or a "
        "GGUF file. By default smollm2-135m if it is here, a toy otherwise.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps. By default a GPU if there is one."),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--dtype", metavar="NAME", help="float32 (the default), float64, bfloat16 or float16."),
]


def default_model() -> str:
    from llm_workings.models.catalogue import default_model

    return default_model()


def load_model(name: str | None, device: str | None, dtype: str | None, progress: Progress) -> LanguageModel:
    from llm_workings import load

    return load(name or default_model(), device=device, dtype=dtype, progress=progress)


@contextmanager
def progress_bar(*, in_bytes: bool = False) -> Iterator[Progress]:
    """A bar on the terminal's standard error while work goes on; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    from llm_workings.core.progress import Progress

    counts = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) if in_bytes else ()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *counts)
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("starting", total=None)
        now = "starting"

        def listen(what: str, done: int, total: int) -> None:
            nonlocal now
            if what != now:  # a step of its own: its speed is not that of the step before
                bars.reset(task, description=what, total=total or None)
                now = what
            bars.update(task, completed=done, total=total or None)

        yield Progress(listen)


@contextmanager
def recorded(name: str, model: str, request: dict[str, Any], seed: int | None = None) -> Iterator[None]:
    """Write what is done inside into the run store, as done, failed or cancelled.

    A store that cannot be written to does not stop the work: the reason goes to standard error.
    """
    from llm_workings.core.store import Store

    try:
        store = Store()
    except LabError as error:
        print(f"This run is not recorded. {error}", file=sys.stderr)
        yield
        return
    with store:
        number = store.begin("command", name, model=model, request=request, seed=seed)
        store.start(number)
        begin = time.perf_counter()
        try:
            yield
        except LabError as error:
            store.stop(number, "failed", seconds=time.perf_counter() - begin, error=error.as_dict())
            raise
        except KeyboardInterrupt:
            told = Cancelled("Stopped in the terminal.").as_dict()
            store.stop(number, "cancelled", seconds=time.perf_counter() - begin, error=told)
            raise
        store.finish(number, None, seconds=time.perf_counter() - begin)


@contextmanager
def work_on(
    command: str,
    model: str | None,
    device: str | None,
    dtype: str | None,
    request: dict[str, Any],
    seed: int | None = None,
) -> Iterator[tuple[LanguageModel, Progress]]:
    """A model loaded and a bar to report to, while what is done is recorded in the run store."""
    name = model or default_model()
    asked = {key: value for key, value in request.items() if value not in (None, [])}
    with progress_bar() as progress:
        loaded = load_model(name, device, dtype, progress)
        with recorded(command, name, asked, seed):
            yield loaded, progress


def read_lines(file: Path) -> list[str]:
    """A text file's lines that are not empty."""
    try:
        found = [line for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{str(file)!r} cannot be read: {error}") from error
    if not found:
        raise BadInput(f"{file.name} has no line with a text.")
    return found
