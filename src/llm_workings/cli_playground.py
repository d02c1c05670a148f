"""`llm-workings playground`: a small network learns in the terminal."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_workings.core.errors import BadInput

if TYPE_CHECKING:
    from llm_workings.data.spec import DataSpec
    from llm_workings.playground.run import Run

CHUNK = 0.1  # seconds of training between two lines
FRAMES = 120  # of the HTML file, where they fit
NETWORK, LEARNING, DATA, FILES = "Network", "Learning", "Data", "Files"


def option(help: str, panel: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)


def playground(
    layers: Annotated[
        str | None,
        option("Units a layer, inputs first; by default 4 hidden ones, such as 2,4,1.", NETWORK),
    ] = None,
    activations: Annotated[
        str | None,
        option(
            "One for all hidden layers (tanh), or one a layer with the output's last: relu,relu,sigmoid. "
            "Known: linear, relu, leaky_relu, tanh, sigmoid, softplus, gelu, silu, sine, softmax.",
            NETWORK,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        option(
            "mse, mae, huber, binary_cross_entropy, cross_entropy or hinge; by default what fits the data.",
            NETWORK,
        ),
    ] = None,
    init: Annotated[
        str | None, option("First weights: xavier (default), he, lecun, uniform, constant.", NETWORK)
    ] = None,
    init_scale: Annotated[float | None, option("Of uniform and constant; by default 0.5.", NETWORK)] = None,
    bias_init: Annotated[float | None, option("First biases; by default 0.", NETWORK)] = None,
    leaky_slope: Annotated[float | None, option("Of leaky_relu below 0; by default 0.01.", NETWORK)] = None,
    seed: Annotated[
        int | None, option("Of the first weights and the samples' order; by default 0.", NETWORK)
    ] = None,
    steps: Annotated[int, option("Updates to make; by default 2000.", LEARNING, metavar="N")] = 2000,
    optimizer: Annotated[
        str | None, option("sgd (default), momentum, nesterov, rmsprop, adam or adamw.", LEARNING)
    ] = None,
    learning_rate: Annotated[
        float | None, option("By default 0.3.", LEARNING, "--learning-rate", "--lr")
    ] = None,
    batch_size: Annotated[int | None, option("Samples an update; by default 4.", LEARNING)] = None,
    momentum: Annotated[float | None, option("Of momentum and nesterov; by default 0.9.", LEARNING)] = None,
    decay: Annotated[float | None, option("Of rmsprop; by default 0.99.", LEARNING)] = None,
    beta1: Annotated[float | None, option("Of adam and adamw; by default 0.9.", LEARNING)] = None,
    beta2: Annotated[float | None, option("Of adam and adamw; by default 0.999.", LEARNING)] = None,
    epsilon: Annotated[float | None, option("Of rmsprop, adam and adamw; by default 1e-8.", LEARNING)] = None,
    weight_decay: Annotated[float | None, option("Of adamw; by default 0.01.", LEARNING)] = None,
    schedule: Annotated[
        str | None,
        option("Of the learning rate: constant (default), step, exponential, cosine.", LEARNING),
    ] = None,
    schedule_every: Annotated[
        int | None, option("Updates of the schedule; by default 1000.", LEARNING)
    ] = None,
    schedule_factor: Annotated[
        float | None, option("Of step and exponential; by default 0.5.", LEARNING)
    ] = None,
    warmup: Annotated[
        int | None, option("Updates in which the learning rate rises; by default 0.", LEARNING)
    ] = None,
    clip: Annotated[float | None, option("Longest gradient; by default none.", LEARNING)] = None,
    l1: Annotated[
        float | None, option("Adds l1 times the weights' sizes to the loss; by default 0.", LEARNING)
    ] = None,
    l2: Annotated[
        float | None, option("Adds l2 / 2 times the weights' squares; by default 0.", LEARNING)
    ] = None,
    penalize_bias: Annotated[
        bool | None, option("Let l1 and l2 count the biases, too.", LEARNING, "--penalize-bias")
    ] = None,
    confidence_penalty: Annotated[
        float | None, option("Times the output's entropy off the loss; by default 0.", LEARNING)
    ] = None,
    huber_delta: Annotated[float | None, option("Of huber; by default 1.", LEARNING)] = None,
    data: Annotated[
        str | None,
        option(
            "xor_points (default), xor, circles, moons, spiral, gaussians, blobs, checkerboard, plane, wave, "
            "bump, curve or digits.",
            DATA,
            metavar="NAME",
        ),
    ] = None,
    n: Annotated[int | None, option("Samples to draw; by default 200.", DATA, "--n", "-n")] = None,
    noise: Annotated[float | None, option("0 (default) to 1.", DATA)] = None,
    classes: Annotated[int | None, option("Of blobs; by default 3.", DATA)] = None,
    test: Annotated[
        float | None, option("Share of the samples that is held back; by default 0.", DATA)
    ] = None,
    features: Annotated[
        str | None, option("What the network reads: x,y (default), x^2, y^2, x*y, sin(x), sin(y).", DATA)
    ] = None,
    data_seed: Annotated[int | None, option("Of the points; by default 0.", DATA)] = None,
    csv: Annotated[Path | None, option("Learn a table of your own.", DATA, metavar="FILE")] = None,
    target: Annotated[
        str | None, option("Its column to learn; by default the last.", DATA, metavar="COLUMN")
    ] = None,
    load: Annotated[
        Path | None,
        option("Go on from a saved run; settings given beside it hold from there on.", FILES, metavar="FILE"),
    ] = None,
    save: Annotated[Path | None, option("Save the run at the end.", FILES, metavar="FILE")] = None,
    output: Annotated[
        Path | None,
        option(
            "Write the training as an HTML file to scrub through.", FILES, "--output", "-o", metavar="FILE"
        ),
    ] = None,
    export_json: Annotated[
        Path | None, option("Write the parameters as JSON.", FILES, metavar="FILE")
    ] = None,
) -> None:
    """Train a small network in the terminal: its loss as it goes, and what came of it."""
    given = {name: value for name, value in locals().items() if value is not None}
    settings = {name: given[name] for name in CONFIG if name in given}
    if layers is not None:
        settings["layers"] = _sizes(layers)
    if activations is not None:
        settings["activations"] = [name.strip() for name in activations.split(",")]
    wanted = {name: given[name] for name in POINTS if name in given}
    for option_name, field in (("data", "name"), ("data_seed", "seed"), ("csv", "file")):
        if option_name in given:
            wanted[field] = given[option_name]
    for file in (save, output, export_json):
        if file is not None and not file.parent.is_dir():  # said before the work, not after it
            raise BadInput(f"There is no folder {file.parent} to write {file.name} into.")
    run, spec = _start(settings, wanted) if load is None else _go_on(load, settings, wanted)
    _say_what(run)
    seconds, made, stopped = _train(run, steps)
    _summarize(run, made, seconds)
    _write(run, spec, save, output, export_json)
    if stopped:
        print(f"Stopped after {made:,} of {steps:,} steps.", file=sys.stderr)
        raise typer.Exit(130)
    if run.branches[run.branch].diverged:
        raise typer.Exit(1)


CONFIG = (
    "loss",
    "init",
    "init_scale",
    "bias_init",
    "leaky_slope",
    "seed",
    "optimizer",
    "learning_rate",
    "batch_size",
    "momentum",
    "decay",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "schedule",
    "schedule_every",
    "schedule_factor",
    "warmup",
    "clip",
    "l1",
    "l2",
    "penalize_bias",
    "confidence_penalty",
    "huber_delta",
)
POINTS = ("n", "noise", "classes", "test", "features", "target")


# ---- beginning -------------------------------------------------------------------------------------


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace("-", ",").split(",")]
    except ValueError:
        raise BadInput(
            f"{text!r} are no layers.",
            hint="Write the units of each, inputs first: --layers 2,4,1",
            given={"layers": text},
        ) from None


def _start(settings: dict[str, Any], wanted: dict[str, Any]) -> tuple[Run, DataSpec | None]:
    """A new run. What is left out of the network is chosen so that it fits the data."""
    from llm_workings.data.dataset import spec_of
    from llm_workings.data.points import make
    from llm_workings.playground.config import Config, output_for
    from llm_workings.playground.run import Run

    if "file" in wanted:
        wanted.setdefault("name", "csv")
    spec = spec_of(**wanted)
    points = make(spec)
    settings.setdefault("layers", [points.inputs.shape[1], 4, points.n_outputs])
    if "loss" not in settings:
        several = len(points.classes) > 2
        of_classes = "cross_entropy" if several else "binary_cross_entropy"
        settings["loss"] = "mse" if points.task == "regression" else of_classes
    if len(settings["layers"]) == 2:  # no hidden layer, which one name alone would be of
        settings.setdefault("activations", [output_for(settings["loss"])])
    return Run(Config.of(settings), points), spec


def _go_on(file: Path, settings: dict[str, Any], wanted: dict[str, Any]) -> tuple[Run, DataSpec | None]:
    """A saved run, with what is given beside it from where it stands."""
    from llm_workings.views.network_files import load

    if wanted:
        names = ", ".join(wanted)
        raise BadInput(f"{file.name} brings its own data; {names} cannot be given with it.")
    run, spec = load(file)
    print(f"{file.name}: branch {run.branch} of {len(run.branches)}, at step {run.step_now:,}")
    if settings:
        run.change(**settings)
    return run, spec


def _say_what(run: Run) -> None:
    config, data = run.config, run.data
    held_back = f", {len(data.test)} held back" if len(data.test) else ""
    print(
        f"{'-'.join(map(str, config.layers))} ({', '.join(config.activations)}), "
        f"{config.n_parameters:,} parameters, learns {data.name} ({len(data.points):,} samples{held_back}) "
        f"with {config.optimizer} at {config.learning_rate:g}, {config.loss}"
    )


# ---- training --------------------------------------------------------------------------------------


def _train(run: Run, steps: int) -> tuple[float, int, bool]:
    """Seconds, steps made, and whether Ctrl-C ended it (between two updates: what was made is whole)."""
    if steps < 0:
        raise BadInput(f"{steps} steps cannot be made.", hint="Give 0 or more.", given={"steps": steps})
    live, first, begin = sys.stderr.isatty(), run.step_now, time.perf_counter()
    chunk, made = 1, 0
    with _interruptible() as interrupted:
        while made < steps and not interrupted:
            start = time.perf_counter()
            some = min(chunk, steps - made)
            done = run.step(some)
            made += done
            if done < some:
                break
            took = max(time.perf_counter() - start, 1e-6)
            chunk = max(1, min(4 * chunk, int(chunk * CHUNK / took)))
            if live:
                _line(run, made, steps, made / (time.perf_counter() - begin))
    seconds = time.perf_counter() - begin
    if live:
        sys.stderr.write("\r\x1b[K")
    return seconds, run.step_now - first, bool(interrupted) and made < steps


def _line(run: Run, made: int, steps: int, rate: float) -> None:
    found = run.measure()
    accuracy = found["train_accuracy"]
    said = f"  accuracy {accuracy:.1%}" if accuracy == accuracy else ""
    line = f"step {run.step_now:,} ({made / steps:.0%})  loss {found['train']:.6f}{said}  {rate:,.0f} steps/s"
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed."""
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


# ---- what came of it -------------------------------------------------------------------------------


def _summarize(run: Run, made: int, seconds: float) -> None:
    from llm_workings.playground.diagnosis import diagnose

    found = run.measure()
    rate = f", {made / seconds:,.0f} steps a second" if made and seconds > 0 else ""
    print(f"  step      {run.step_now:,} ({made:,} made in {seconds:.2f} s{rate})")
    _measured("loss", found["train"], found["test"], "{:.6g}")
    if found["train_accuracy"] == found["train_accuracy"]:
        _measured("accuracy", found["train_accuracy"], found["test_accuracy"], "{:.1%}")
    if any(found[name] for name in ("confidence", "l1", "l2")):
        parts = [f"{name} {found[name]:.4g}" for name in ("confidence", "l1", "l2") if found[name]]
        print(f"  penalties {', '.join(parts)}")
    for finding in diagnose(run):
        print(f"  {finding.kind:9} {finding.text}")
        if finding.advice:
            print(f"            {finding.advice}")


def _measured(what: str, train: float, test: float, form: str) -> None:
    print(f"  {what:9} {form.format(train)}" + (f" (test {form.format(test)})" if test == test else ""))


def _write(
    run: Run, spec: DataSpec | None, save: Path | None, output: Path | None, export_json: Path | None
) -> None:
    if save is not None:
        from llm_workings.playground.save import save_run

        _wrote(save_run(run, save, None if spec is None else spec.model_dump(mode="json")))
    if export_json is not None:
        from llm_workings.export.html import write
        from llm_workings.playground.parameters_file import parameters_json

        _wrote(write(export_json, parameters_json(run.config, run.parameters)))
    if output is not None:
        from llm_workings.export.html import write
        from llm_workings.export.record import export_recording
        from llm_workings.views.network_details import Watched
        from llm_workings.views.network_recording import record

        watched = Watched(algebra=True, paths=True)
        _wrote(write(output, export_recording(record(run, spec, watched, frames=FRAMES))))


def _wrote(file: Path) -> None:
    print(f"{file} ({file.stat().st_size / 1000:,.0f} kB)")
