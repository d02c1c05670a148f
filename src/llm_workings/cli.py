"""The command line. Each command imports what it needs, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_workings.cli_causal import ablate, attribute, patch
from llm_workings.cli_directions import probe, steer
from llm_workings.cli_explain import explain
from llm_workings.cli_model import (
    DeviceOption,
    ModelOption,
    PrecisionOption,
    default_model,
    load_model,
    progress_bar,
)
from llm_workings.cli_playground import playground
from llm_workings.cli_vision import classify
from llm_workings.core.errors import BadInput, LabError, nearest, unknown

if TYPE_CHECKING:
    from llm_workings.views.contract import View

app = typer.Typer(
    help="A local laboratory for seeing how language models compute what they compute.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Begin with: llm-workings lab",
)


# How threads wait for each other; read when torch and NumPy are loaded. Torch's spin for milliseconds unless
# told otherwise: beside a browser that wants the same cores, a run took up to twenty times as long. Not to
# spin at all costs a wake-up at every small operation: the gallery on a photograph took twice as long. So a
# thousand turns, some microseconds, in every thread ("active": else not in those that work runs in). Intel's
# and LLVM's OpenMP would take that for "for ever", but for the block time.
# NumPy's are worse: with a second busy process on two cores, a network's surface took 20 ms, not 1.
THREADS = {
    "OMP_WAIT_POLICY": "ACTIVE",
    "GOMP_SPINCOUNT": "1000",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_NUM_THREADS": "1",
}


def main() -> None:
    """The command `llm-workings`. What a user got wrong is told in two sentences; status 1."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    try:
        app(prog_name="llm-workings")
    except LabError as error:
        print(error.message, file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"llm-workings {version('llm-workings')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version and exit."),
    ] = False,
) -> None:
    pass


# ---- the lab ---------------------------------------------------------------------------------------


@app.command()
def lab(
    model: ModelOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Beyond this machine, a token is asked for.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes any free one.")] = 7860,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A folder from which the page may read models (folders and GGUF files). Repeatable.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:PORT]",
            help="A further name to answer to, for a tunnel or a proxy in front of the lab. Repeatable.",
        ),
    ] = None,
) -> None:
    """Open the lab in the browser."""
    from llm_workings.server.serve import run_lab

    run_lab(
        model=model,
        host=host,
        port=port,
        open_page=not no_open,
        folders=models or [],
        hosts=allow_host or [],
        say=print,
    )


# ---- models ----------------------------------------------------------------------------------------


@app.command()
def models() -> None:
    """List the models: those that are here and those that can be fetched."""
    from rich.console import Console
    from rich.table import Table

    from llm_workings.models.catalogue import default_model, entries
    from llm_workings.models.vision_nets import vision_entries

    default = default_model()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Name", "Here"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Params", "Size"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("What it is")
    language = sorted(entries(), key=lambda entry: not entry.here)
    vision = sorted(vision_entries(), key=lambda entry: not entry.here)
    for entry in (*language, *vision):
        if vision and entry is vision[0]:
            table.add_row("", "", "", "", "")
            table.add_row("Of pictures", "", "", "", "")
        here = ("default" if entry.name == default else "yes") if entry.here else "to fetch"
        table.add_row(entry.name, here, _count(entry.parameters), _size(entry.bytes), entry.title)
    Console().print(table)
    print("\nFetch one with: llm-workings fetch NAME (any Hugging Face id of a supported family works too)")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name or Hugging Face id.")],
) -> None:
    """Fetch a model once; afterwards it works without the network."""
    try:
        from llm_workings.models.load import fetch_model

        with progress_bar(in_bytes=True) as progress:
            folder = fetch_model(name, progress)
    except KeyboardInterrupt:
        print("Stopped. What was received is kept; the same command goes on from there.", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"{name} is here: {folder}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name, id, folder or GGUF file.")],
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Measure how far a model's numbers are from those of the reference implementation."""
    from llm_workings.trace.check import check as check_model

    with progress_bar() as progress:
        report = check_model(name, device=device, dtype=dtype, progress=progress)
    print(report)
    if not report.passed:
        raise typer.Exit(1)


# ---- running ---------------------------------------------------------------------------------------


@app.command()
def run(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The text; - reads it from standard input.")
    ] = None,
    random_twice: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Instead of a text: N random tokens, twice. --seed says which."
        ),
    ] = None,
    model: ModelOption = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the best answers to show.")] = 5,
    loss: Annotated[bool, typer.Option("--loss", help="Show what each token cost.")] = False,
    generate: Annotated[
        int | None, typer.Option("--generate", "-n", min=1, metavar="N", help="Write on, at most N tokens.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0, the default, takes the best token each time; 1 draws.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k best tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the fewest tokens whose probabilities add up to p.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws; a fresh one, told, by default.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End at this text. Repeatable.")
    ] = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Show a text's exact tokens, the model's best answers, and what the text cost it."""
    if (prompt is None) == (random_twice is None):
        raise typer.BadParameter("Give a text to run the model on, or --random-twice and a number; not both.")
    drawing = {"--temperature": temperature, "--top-k": top_k, "--top-p": top_p}
    if random_twice is None:  # where the seed is that of the writing
        drawing["--seed"] = seed
    _check_drawing({key: value for key, value in drawing.items() if value is not None}, generate, stop)
    text = sys.stdin.read() if prompt == "-" else prompt or ""
    if not text and random_twice is None:
        raise BadInput("The text is empty.", hint="Type a sentence, for example 'The cat sat on the'.")
    with progress_bar() as progress:
        loaded = load_model(model, device, dtype, progress)
        if random_twice is not None:
            from llm_workings.data.repeated import repeated_text

            text = repeated_text(loaded.tokenizer, random_twice, seed=seed or 0)
        done = loaded.run(text, progress=progress)
    print(f"{loaded.name}, {done.lengths[0]} tokens:")
    print("  " + " ".join(repr(piece) for piece in done.pieces()))
    if top:
        answers = done.top(top)
        print(f"\n{answers.asked}")
        for guess in answers:
            print(f"  {guess.probability:7.4f}  {guess.piece!r}")
    if loaded.spec.causal and done.lengths[0] > 1:
        print(f"\nLoss: {done.loss.item():.4f} nats per token")
        if random_twice is not None:
            first, second = done.losses[0, :-random_twice], done.losses[0, -random_twice:]
            print(f"  {first.mean():7.4f}  the first copy of {random_twice} random tokens")
            print(f"  {second.mean():7.4f}  the second copy")
        if loss:
            costs = zip(done.pieces()[1:], done.losses[0].tolist(), strict=True)
            for piece, cost in costs:
                print(f"  {cost:7.4f}  {piece!r}")
    elif loss:
        _ = done.loss  # says why there is none
    if generate is not None:
        print()
        writing = loaded.stream(
            text,
            generate,
            temperature=temperature or 0.0,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop or (),
        )
        _write_on(text, writing)


def _check_drawing(given: dict[str, Any], generate: int | None, stop: list[str] | None) -> None:
    """Refuse options that would have no effect."""
    names = [*given, *(["--stop"] if stop else [])]
    if names and generate is None:
        raise BadInput(
            f"{', '.join(names)} says how to write on, but nothing is to be written.",
            hint="Add --generate and a number of tokens.",
        )
    if not given.get("--temperature"):
        names = [name for name in given if name != "--temperature"]
        if names:
            raise BadInput(
                f"{', '.join(names)} has no effect at temperature 0, where the best token is taken.",
                hint="Add --temperature 1.",
            )


def _write_on(text: str, writing: Any) -> None:
    """Print a text as it is written; only what cannot be taken back by a stop text or a later byte."""
    sys.stdout.write(text)
    shown = ""
    for _ in writing:
        now = writing.text().text
        if now.startswith(shown) and not now.endswith("\ufffd"):
            sys.stdout.write(now[len(shown) :])
            sys.stdout.flush()
            shown = now
    written = writing.text()
    sys.stdout.write(written.text[len(shown) :] + "\n")
    drawn = f", seed {written.seed}" if written.seed is not None else ""
    print(f"\n{len(written.tokens)} tokens, ended by {written.ended!r}{drawn}", file=sys.stderr)


app.command()(playground)
for analysis in (patch, ablate, attribute, explain, probe, steer, classify):
    app.command()(analysis)

# ---- views -----------------------------------------------------------------------------------------


@app.command()
def view(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The view; leave it out to list them.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: NAME.html here.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The text to look at.")
    ] = None,
    model: ModelOption = None,
    layer: Annotated[int | None, typer.Option(help="A layer, from 0, for views that show one.")] = None,
    head: Annotated[int | None, typer.Option(help="A head, from 0, for views that show one.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other field of the view's request; lists as JSON. Repeatable.",
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="KEY=VALUE", help="How the picture opens, such as pin=5.1. Repeatable."
        ),
    ] = None,
) -> None:
    """Draw a view into one HTML file that opens from disk, with no network."""
    from llm_workings.views import REGISTRY

    if name is None:
        _list_views(REGISTRY)
        return
    if name not in REGISTRY:
        raise unknown("view", name, REGISTRY)
    chosen = REGISTRY[name]
    request = _request(
        chosen, {"prompt": prompt, "model": model, "layer": layer, "head": head}, settings or []
    )
    asked = chosen.parse(request)

    from llm_workings.export.html import write
    from llm_workings.export.record import export_view
    from llm_workings.views.lab import Lab

    with progress_bar() as progress:
        page = export_view(Lab(progress=progress), chosen, asked, dict(map(_pair, state or [])))
        file = write(output or Path(f"{name}.html"), page)
    print(f"{file} ({_size(file.stat().st_size)})")


def _list_views(views: dict[str, View]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for one in views.values():
        console.print(f"[bold]{one.name}[/bold]  {one.title}")
        for key, field in one.request.model_fields.items():
            need = "needed" if field.is_required() else f"default {field.default!r}"
            console.print(f"    {key}: {field.description or ''} ({need})", markup=False)
    print("\nDraw one with: llm-workings view attention --prompt 'The cat sat on the' -o cat.html")


def _request(chosen: View, common: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """The request as typed. What a text field is set to stays text; all else is read as JSON if it is."""
    import json

    request = {key: value for key, value in common.items() if value is not None}
    if "model" in chosen.request.model_fields and "model" not in request:
        request["model"] = default_model()
    properties = chosen.request.model_json_schema()["properties"]
    for key, text in map(_pair, settings):
        value: Any = text
        if properties.get(key, {}).get("type") != "string":
            with suppress(ValueError):
                value = json.loads(text)
        request[key] = value
    for key in request.keys() - properties.keys():
        close = nearest(key, properties)
        raise BadInput(
            f"The view {chosen.name!r} takes no {key!r}.",
            hint=f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(properties)}.",
        )
    return request


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise BadInput(f"{text!r} is not KEY=VALUE.", hint="For example: --set ablation=mean")
    return key, value


# ---- shared ------------------------------------------------------------------------------------------


def _count(number: int | None) -> str:
    """A number of parameters in three digits: 134 M."""
    if number is None:
        return ""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)


def _size(number: int | None) -> str:
    """A number of bytes in three digits: 92.9 MB."""
    if number is None:
        return ""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number} bytes"


if __name__ == "__main__":
    main()
