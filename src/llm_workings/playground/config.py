"""What a network is and how it learns, as one frozen, checked, printable record.

A `Config` is data: it travels in a URL, a saved run, a copied script. What cannot be meant (softmax
with binary cross-entropy) is refused when it is made, with what was probably meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm_workings.core.errors import BadInput, TooLarge, nearest
from llm_workings.core.seeds import LARGEST

Activation = Literal[
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "sine", "softmax"
]
Loss = Literal["mse", "mae", "huber", "binary_cross_entropy", "cross_entropy", "hinge"]
Init = Literal["xavier", "he", "lecun", "uniform", "constant"]
Optimizer = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "step", "exponential", "cosine"]

MOST_UNITS = 256  # in a layer: more cannot be drawn, and one matrix stays far below a megabyte
MOST_LAYERS = 12  # layers of weights
MOST_PARAMETERS = 200_000
FIXED = ("layers", "init", "init_scale", "bias_init", "seed")  # what a run cannot change on its way


class Config(BaseModel):
    """A dense network and its training.

    `activations` holds one name a layer of weights; one name alone means every hidden layer, and the
    output then gets what the loss asks for. All sizes are numbers of units, all counts are of updates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layers: tuple[int, ...] = (2, 4, 1)
    """Units a layer, inputs first, outputs last."""
    activations: tuple[Activation, ...] = ("tanh", "sigmoid")
    """One a layer of weights, the output's last."""
    loss: Loss = "binary_cross_entropy"
    init: Init = "xavier"
    """xavier: uniform within ±√(6 / (in + out)). he: normal, variance 2 / in. lecun: normal, variance
    1 / in. uniform: within ±init_scale. constant: init_scale itself."""
    init_scale: float = Field(default=0.5, ge=-100, le=100)
    bias_init: float = Field(default=0.0, ge=-100, le=100)
    optimizer: Optimizer = "sgd"
    learning_rate: float = Field(default=0.3, gt=0, le=1e9)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of momentum and nesterov."""
    decay: float = Field(default=0.99, ge=0, lt=1)
    """Of rmsprop: how much of the mean square is kept."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Of adam and adamw."""
    epsilon: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=100)
    """Of adamw only: taken off the weights themselves, not through the gradient."""
    schedule: Schedule = "constant"
    schedule_every: int = Field(default=1000, ge=1, le=10**9)
    """step: updates between two cuts. exponential: updates for one factor. cosine: updates to zero."""
    schedule_factor: float = Field(default=0.5, gt=0, le=1)
    warmup: int = Field(default=0, ge=0, le=10**9)
    """Updates over which the learning rate rises linearly to its value."""
    batch_size: int = Field(default=4, ge=1, le=100_000)
    """Samples an update; more than there are means all of them."""
    l1: float = Field(default=0.0, ge=0, le=100)
    """Adds l1 · Σ|w| to the loss."""
    l2: float = Field(default=0.0, ge=0, le=100)
    """Adds l2 / 2 · Σw² to the loss."""
    penalize_bias: bool = False
    confidence_penalty: float = Field(default=0.0, ge=0, le=10)
    """Takes this times the entropy of the output's distribution off the loss (Pereyra et al. 2017)."""
    huber_delta: float = Field(default=1.0, gt=0, le=1e6)
    leaky_slope: float = Field(default=0.01, ge=0, le=1)
    clip: float | None = Field(default=None, gt=0, le=1e9)
    """Longest gradient: a longer one is scaled down to it (norm over all parameters)."""
    seed: int = Field(default=0, ge=0, le=LARGEST)
    """Of the first weights and of the order of the samples."""

    @field_validator("activations", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _fill_in_activations(cls, values: Any) -> Any:
        """One activation for several layers is the hidden one; the output's follows from the loss."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        layers = values.get("layers", cls.model_fields["layers"].default)
        given = values.get("activations", ())
        given = [given] if isinstance(given, str) else list(given)
        try:
            n = len(layers) - 1
        except TypeError:
            return values
        if not given or (len(given) == 1 and n > 1):
            hidden = given or ["tanh"]
            given = hidden * (n - 1) + [output_for(values.get("loss", cls.model_fields["loss"].default))]
        values["activations"] = given
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_layers(self.layers)
        _check_pairs(self)
        return self

    @classmethod
    def of(cls, values: Mapping[str, Any] | None = None, **more: Any) -> Config:
        """The config with these fields, the others at their defaults.

        Raises:
            BadInput: a field is unknown (the nearest is suggested) or its value cannot be; two that
                do not go together, with the pair that was probably meant.
            TooLarge: more units, layers or parameters than the limits.
        """
        given = {**(values or {}), **more}
        for name in given.keys() - cls.model_fields.keys():
            close = nearest(name, cls.model_fields)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(cls.model_fields)}."
            raise BadInput(f"A network has no setting {name!r}.", hint=hint, given={name: given[name]})
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _said(error) from None

    def changed(self, **values: Any) -> Config:
        """The same with these fields changed; errors as `of`."""
        return Config.of({**self.model_dump(), **values})

    def difference(self, other: Config) -> dict[str, tuple[Any, Any]]:
        """The fields in which the two differ, each as (here, there)."""
        mine, theirs = self.model_dump(), other.model_dump()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}

    @property
    def n_parameters(self) -> int:
        return sum((into + 1) * out for into, out in pairwise(self.layers))

    @property
    def output(self) -> Activation:
        return self.activations[-1]


def output_for(loss: Any) -> str:
    """The output activation that a loss is meant to be used with."""
    return {"binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}.get(loss, "linear")


def _check_layers(layers: tuple[int, ...]) -> None:
    spelled = "-".join(map(str, layers))
    if len(layers) < 2:
        raise BadInput(
            f"A network has at least an input and an output layer; {spelled or 'nothing'} is given.",
            hint="Write for example 2,4,1.",
            given={"layers": list(layers)},
        )
    if min(layers) < 1:
        raise BadInput(
            f"The layers {spelled} have one of {min(layers)} units.",
            hint="Every layer has at least one unit.",
            given={"layers": list(layers)},
        )
    if max(layers) > MOST_UNITS:
        raise TooLarge(
            f"The layers {spelled} have one of {max(layers):,} units; the limit is {MOST_UNITS}.",
            hint=f"Take at most {MOST_UNITS} units a layer.",
            given={"layers": list(layers), "limit": MOST_UNITS},
        )
    if len(layers) - 1 > MOST_LAYERS:
        raise TooLarge(
            f"{spelled} are {len(layers) - 1} layers of weights; the limit is {MOST_LAYERS}.",
            given={"layers": list(layers), "limit": MOST_LAYERS},
        )
    parameters = sum((into + 1) * out for into, out in pairwise(layers))
    if parameters > MOST_PARAMETERS:
        raise TooLarge(
            f"The layers {spelled} take {parameters:,} parameters; the limit is {MOST_PARAMETERS:,}.",
            hint="Take fewer units.",
            given={"layers": list(layers), "parameters": parameters, "limit": MOST_PARAMETERS},
        )


def _check_pairs(config: Config) -> None:
    n = len(config.layers) - 1
    if len(config.activations) != n:
        raise BadInput(
            f"{len(config.activations)} activations are given for {n} layers of weights "
            f"({'-'.join(map(str, config.layers))}).",
            hint="Give one for all hidden layers, or one a layer with the output's last.",
            given={"activations": list(config.activations), "layers": list(config.layers)},
        )
    if "softmax" in config.activations[:-1]:
        raise BadInput(
            "softmax stands in a hidden layer; it is for the output only.",
            hint="Use tanh or relu there.",
            given={"activations": list(config.activations)},
        )
    output, loss, width = config.output, config.loss, config.layers[-1]
    meant = ""
    if loss == "binary_cross_entropy" and output != "sigmoid":
        meant = "softmax with cross_entropy, or sigmoid with binary_cross_entropy"
        meant = meant if output == "softmax" else "sigmoid with binary_cross_entropy"
    elif loss == "cross_entropy" and output != "softmax":
        meant = "sigmoid with binary_cross_entropy" if width == 1 else "softmax with cross_entropy"
    elif loss == "hinge" and output not in ("linear", "tanh"):
        meant = "linear with hinge"
    if meant:
        raise BadInput(
            f"The output activation {output} does not go with the loss {loss}.",
            hint=f"You may have meant {meant}.",
            given={"output": output, "loss": loss},
        )
    if output == "softmax" and width == 1:
        raise BadInput(
            "softmax over one output is always 1.",
            hint="Use sigmoid with binary_cross_entropy, or an output a class.",
            given={"layers": list(config.layers)},
        )
    if config.confidence_penalty and output not in ("sigmoid", "softmax"):
        raise BadInput(
            f"A confidence penalty needs an output that is a distribution; {output} is none.",
            hint="Use a sigmoid or softmax output, or set confidence_penalty to 0.",
            given={"output": output, "confidence_penalty": config.confidence_penalty},
        )


def _said(error: ValidationError) -> BadInput:
    """The first of pydantic's findings, in our words."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    field = Config.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    given = first.get("input")
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)] if field else []
    if where.startswith("activations"):
        choices = list(get_args(Activation))
    hint = (field.description or "") if field else ""
    if choices and isinstance(given, str):
        close = nearest(given, choices)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(choices)}."
    return BadInput(
        f"A network cannot have {where} = {given!r}: {first['msg'][:1].lower()}{first['msg'][1:]}.",
        hint=" ".join(hint.split()),
        given={where: given if isinstance(given, int | float | str | bool | None) else repr(given)},
    )
