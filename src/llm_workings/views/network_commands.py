"""What a page can tell a network to do: each command a checked record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_workings.core.errors import BadInput, nearest, unknown

MOST = 100_000_000  # steps in one command
FASTEST = 1_000_000  # steps a second that can be asked for
MOST_POINTS = 10_000  # to predict at once
MOST_CELLS = 64  # rows, or columns, of a sweep
Place = Annotated[str, Field(max_length=40)]


class Command(BaseModel):
    """Base of the commands: frozen, strict about types, and with no field it did not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Setup(Command):
    """A new run at its first step."""

    config: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)


class Play(Command):
    speed: Annotated[float, Field(ge=0, le=FASTEST)] = 0.0
    """Steps a second; 0 as fast as it goes."""


class Pause(Command):
    pass


class Step(Command):
    n: Annotated[int, Field(ge=-MOST, le=MOST)] = 1
    """Back where it is negative."""
    unit: Literal["sample", "batch", "epoch"] = "batch"


class Goto(Command):
    branch: int | None = None
    """The one in view, where it is left out."""
    step: int


class Change(Command):
    """From here on, with these settings."""

    config: dict[str, Any]


class Edit(Command):
    """Set one weight or bias by hand."""

    place: Place
    value: float


class OfPlace(Command):
    place: Place
    what: Literal["weight", "gradient", "activation"] = "weight"


class Watch(Command):
    """What frames and details are to hold; what is left out is not watched any more."""

    sample: int | None = None
    place: Place | None = None
    algebra: bool = False
    history: OfPlace | None = None
    paths: bool = False


class Ready(Command):
    """The last frame is drawn."""


class Sweep(Command):
    """Train a grid of networks, each from its first step."""

    rows: Annotated[str, Field(max_length=40)]
    row_values: Annotated[list[float], Field(min_length=1, max_length=MOST_CELLS)]
    columns: Annotated[str, Field(max_length=40)] = ""
    column_values: Annotated[list[float], Field(max_length=MOST_CELLS)] = Field(default_factory=list)
    steps: Annotated[int, Field(ge=1, le=MOST)] = 2000


class StopSweep(Command):
    pass


class Predict(Command):
    points: Annotated[list[list[float]], Field(min_length=1, max_length=MOST_POINTS)]


class Save(Command):
    pass


class Export(Command):
    pass


class Script(Command):
    pass


class GiveParameters(Command):
    """Answer with the parameters as JSON."""


class LoadParameters(Command):
    """A new run that begins with these parameters, as `parameters` gives them."""

    parameters: dict[str, Any]


COMMANDS: dict[str, type[Command]] = {
    "setup": Setup,
    "play": Play,
    "pause": Pause,
    "step": Step,
    "goto": Goto,
    "change": Change,
    "edit": Edit,
    "watch": Watch,
    "ready": Ready,
    "sweep": Sweep,
    "stop_sweep": StopSweep,
    "predict": Predict,
    "save": Save,
    "export": Export,
    "script": Script,
    "parameters": GiveParameters,
    "load_parameters": LoadParameters,
}


def parse(given: Any) -> Command:
    """The command that a message says.

    Raises:
        UnknownName: a command that there is not, with the nearest.
        BadInput: the message is no command, or a field is missing, unknown or of an impossible value.
    """
    if not isinstance(given, Mapping) or not isinstance(given.get("do"), str):
        raise BadInput(
            f"{_short(given)} is no command.", hint='A command is an object such as {"do": "step", "n": 1}.'
        )
    name = given["do"]
    if name not in COMMANDS:
        raise unknown("command", name[:80], COMMANDS)
    fields = {key: value for key, value in given.items() if key != "do"}
    try:
        return COMMANDS[name].model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
    kind, known = COMMANDS[name], list(COMMANDS[name].model_fields)
    where, value = ".".join(map(str, first["loc"])), first.get("input")
    if first["type"] == "extra_forbidden":
        close = nearest(where, known)
        hint = f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(known) or 'nothing'}."
        raise BadInput(f"The command {name!r} takes no {where!r}.", hint=hint, given={where: _short(value)})
    about = kind.model_fields[str(first["loc"][0])].description or ""
    if first["type"] == "missing":
        raise BadInput(f"The command {name!r} needs {where!r}.", hint=about, given={"missing": where})
    said = first["msg"][:1].lower() + first["msg"][1:]
    raise BadInput(
        f"The command {name!r} cannot use {where} = {_short(value)}: {said}.",
        hint=about,
        given={where: _short(value)},
    )


def _short(value: Any) -> str:
    """As Python writes it; of a long one, the beginning."""
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:79]}…"
