"""Reading a `config.json`: typed fields, the defaults that transformers leaves out, and refusals."""

from __future__ import annotations

from typing import Any

from llm_workings.core.errors import BadFile, NotSupported
from llm_workings.models.spec import Activation, LinearScaling, Llama3Scaling, RotaryPositions

# transformers' names of the activations that we compute (several are one function in exact arithmetic)
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}
# and what we call each when writing
ACTIVATION_NAMES: dict[Activation, str] = {
    "relu": "relu",
    "silu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
}


class Fields:
    """A config's fields by name. What is missing and has no default is a `BadFile`."""

    def __init__(self, config: dict[str, Any]):
        self.config = config

    def integer(self, name: str, default: int | None = None, *, also: str = "", least: int = 1) -> int:
        """A whole number of at least `least`, under `name` or the older or newer name `also`."""
        value = self._value(name, default, also)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadFile(f"The config says {name} = {value!r}, where a whole number ≥ {least} should stand.")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
            raise BadFile(f"The config says {name} = {value!r}, where a positive number should stand.")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise BadFile(f"The config says {name} = {value!r}, where true or false should stand.")
        return value

    def activation(self, name: str, default: str) -> Activation:
        value = self._value(name, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise NotSupported(
                f"The config says {name} = {value!r}.",
                hint=f"Supported activations: {', '.join(ACTIVATIONS)}.",
                given={name: value},
            )
        return ACTIVATIONS[value]

    def only(self, name: str, *values: Any) -> None:
        """Refuse a switch that stands at anything but `values`, of which the first is the default."""
        value = self.config.get(name)
        if value is not None and value not in values:
            raise NotSupported(
                f"The config says {name} = {value!r}, which is not supported.",
                hint=f"Supported: {name} = {' or '.join(repr(v) for v in values)}.",
                given={name: value},
            )

    def rotary(
        self, *, base: str = "rope_theta", part: str = "partial_rotary_factor", whole: float = 1.0
    ) -> RotaryPositions:
        """The rotation, in the spelling of transformers 5 (`rope_parameters`) or 4.

        Args:
            base, part: what version 4 calls the base and the fraction of a head that turns.
            whole: the fraction where none is given.
        """
        given = self.config.get("rope_scaling") or self.config.get("rope_parameters") or {}
        if not isinstance(given, dict):
            raise BadFile(f"The config's rope_scaling is {given!r}, where an object should stand.")
        if any(isinstance(value, dict) for value in given.values()):
            raise NotSupported(
                f"The config rotates its layers in different ways: rope_parameters = {given!r}."
            )
        # Version 5's object comes first, then version 4's fields, as transformers itself looks.
        config = Fields(
            {**self._unless_none(base, "rope_theta"), **self._unless_none(part, "fraction"), **given}
        )
        fraction = config.number("partial_rotary_factor", config.number("fraction", whole))
        if fraction > 1:
            raise BadFile(f"The config turns {fraction!r} of each head: more than there is.")
        kind = given.get("rope_type", given.get("type", "default"))
        scaling: LinearScaling | Llama3Scaling | None = None
        if kind == "linear":
            scaling = LinearScaling(config.number("factor"))
        elif kind == "llama3":
            scaling = Llama3Scaling(
                config.number("factor"),
                config.number("low_freq_factor"),
                config.number("high_freq_factor"),
                config.integer("original_max_position_embeddings"),
            )
        elif kind != "default":
            raise NotSupported(
                f"The config says rope_type = {kind!r}.",
                hint="Supported: 'default', 'linear', 'llama3'.",
                given={"rope_type": kind},
            )
        return RotaryPositions(config.number("rope_theta", 10000.0), fraction, scaling)

    def _unless_none(self, name: str, as_name: str) -> dict[str, Any]:
        value = self.config.get(name)
        return {} if value is None else {as_name: value}

    def _value(self, name: str, default: Any, also: str = "") -> Any:
        for key in (name, also):
            if key and self.config.get(key) is not None:
                return self.config[key]
        if default is None:
            raise BadFile(f"The config does not say {name}.", given={"missing": name})
        return default


def rotary_fields(positions: RotaryPositions) -> dict[str, Any]:
    """The rotation as `config.json` says it, for transformers 4 and 5 alike."""
    scaling: dict[str, Any] = {"rope_type": "default"}
    match positions.scaling:
        case LinearScaling(factor):
            scaling = {"rope_type": "linear", "factor": factor}
        case Llama3Scaling(factor, low, high, original):
            scaling = {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    turned = {} if positions.fraction == 1.0 else {"partial_rotary_factor": positions.fraction}
    return {
        "rope_theta": positions.base,
        "rope_scaling": None if positions.scaling is None else scaling,
        "rope_parameters": {**scaling, "rope_theta": positions.base, **turned},
    }
