"""Which part of a network is asked about, and how many equations that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llm_workings.core.errors import BadInput

from .config import Config
from .losses import fused

LONGEST_SUM = 72  # terms in one equation: a longer sum is added up in parts, each an equation of its own
PLACE = re.compile(r"([ub])(\d{1,6})\.(\d{1,6})|(w)(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
# How many equations an optimizer takes for a parameter: its memory's, and the step's.
OPTIMIZER_LINES = {"sgd": 1, "momentum": 2, "nesterov": 2, "rmsprop": 2, "adam": 3, "adamw": 3}


@dataclass(frozen=True)
class Scope:
    """What is asked for.

    Attributes:
        config: of the network.
        asked: a layer of weights each, unit -> which of the parameters that lead into it: the index of the
            unit they come from, or the number of those for the bias.
        whole: everything is.
    """

    config: Config
    asked: tuple[dict[int, Sequence[int]], ...]
    whole: bool

    @classmethod
    def of(cls, config: Config, places: Sequence[str] | None = None) -> Scope:
        """Everything, or what belongs to these places.

        A unit brings all that leads into it, an input the weights that lead out of it, a weight or a bias
        the unit it leads into.

        Raises:
            BadInput: a place is not written as one, or is not in this network.
        """
        pairs = list(zip(config.layers, config.layers[1:], strict=False))
        if places is None:
            return cls(config, tuple(_all(into, out) for into, out in pairs), True)
        found: tuple[dict[int, set[int]], ...] = tuple({} for _ in pairs)
        for place in places:
            kind, layer, *units = _read(config, place)
            if kind == "u" and layer == 0:
                for j in range(config.layers[1]):
                    found[0].setdefault(j, set()).add(units[0])
                continue
            into = config.layers[layer - 1]
            which = {"u": range(into + 1), "b": [into], "w": units[:1]}[kind]
            found[layer - 1].setdefault(units[-1], set()).update(which)
        return cls(config, tuple(_in_order(layer) for layer in found), False)

    def fitting(self, batch: int, clipped: bool, most: int) -> Scope:
        """As much of it as takes `most` equations, so that each part of a step is there.

        A few units of each layer, whose own equations take a quarter of the room, then some parameters of
        each, the bias among them.
        """
        if count(self, batch, clipped).main <= most:
            return self
        units = _most(
            max(map(len, self.asked)), lambda n: count(self._first(n, 0), batch, clipped).main <= most // 4
        )
        units = max(1, units)
        each = _most(
            max(self.config.layers) + 1, lambda n: count(self._first(units, n), batch, clipped).main <= most
        )
        return self._first(units, each)

    def _first(self, units: int, parameters: int) -> Scope:
        """The first so many units of each layer, with so many of what is asked of each."""
        found = []
        for l, asked in enumerate(self.asked):
            into = self.config.layers[l]
            kept: dict[int, Sequence[int]] = {}
            for j in list(asked)[:units]:
                bias = [into] if parameters > 1 and into in asked[j] else []
                weights = [i for i in asked[j] if i < into]
                kept[j] = [*weights[: parameters - len(bias)], *bias]
            found.append(kept)
        return Scope(self.config, tuple(found), self.whole)

    @property
    def losses(self) -> bool:
        """Whether the loss is asked for: with any output, or with everything."""
        return self.whole or bool(self.asked[-1])


def _most(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `highest` that fits, if all smaller ones do; 0 if none."""
    low = 0
    while low < highest:
        middle = (low + highest + 1) // 2
        low, highest = (middle, highest) if fits(middle) else (low, middle - 1)
    return low


def _all(into: int, out: int) -> dict[int, Sequence[int]]:
    return {j: range(into + 1) for j in range(out)}


def _in_order(found: dict[int, set[int]]) -> dict[int, Sequence[int]]:
    return {j: sorted(found[j]) for j in sorted(found)}


def _read(config: Config, place: str) -> tuple[str, int, *tuple[int, ...]]:
    found = PLACE.fullmatch(place)
    spelled = "-".join(map(str, config.layers))
    if not found:
        raise BadInput(
            f"{place!r} is no place in a network.",
            hint="Write u1.2 for unit 2 of layer 1 (the inputs are layer 0), w1.0.2 for the weight of "
            "layer 1 from unit 0 to unit 2, b1.2 for a bias.",
            given={"place": place},
        )
    kind, *numbers = (part for part in found.groups() if part)
    layer, *units = map(int, numbers)
    lowest, last = (0 if kind == "u" else 1), len(config.layers) - 1
    if not lowest <= layer <= last:
        raise BadInput(
            f"{place} is in layer {layer}; the network {spelled} has layers {lowest} to {last} of that kind.",
            given={"place": place, "layers": list(config.layers)},
        )
    sizes = [config.layers[layer - 1], config.layers[layer]][-len(units) :]
    for unit, size in zip(units, sizes, strict=True):
        if unit >= size:
            raise BadInput(
                f"{place} is about unit {unit} of a layer of {size} (the network is {spelled}).",
                hint=f"Units are counted from 0 to {size - 1}.",
                given={"place": place, "layers": list(config.layers)},
            )
    return (kind, layer, *units)


# --- how many ----------------------------------------------------------------------------------
class Count(NamedTuple):
    """Equations, and the parts of long sums among them."""

    main: int
    parts: int


def parts_of(terms: int) -> int:
    """How many equations a sum of so many terms takes besides its own."""
    found = 0
    while terms > LONGEST_SUM:
        terms = -(-terms // LONGEST_SUM)
        found += terms
    return found


def count(scope: Scope, batch: int, clipped: bool) -> Count:
    """How many equations there are about what is asked for.

    Args:
        batch: samples in it.
        clipped: whether the gradient was scaled down.
    """
    config, main, parts = scope.config, 0, 0
    last, n_out = len(config.layers) - 2, config.layers[-1]
    cross, soft = config.loss == "cross_entropy", config.output == "softmax"
    unsure, clip = bool(config.confidence_penalty), config.clip is not None
    over = _over_parameters(scope, biases=config.penalize_bias)
    if scope.losses:
        main += (1 if cross or n_out > 1 else 0) + 1  # the sample's, the batch's
        parts += parts_of(batch) + (0 if cross else parts_of(n_out))
        if unsure:
            main += (1 if soft or n_out > 1 else 0) + 1
            parts += parts_of(batch) + parts_of(n_out)
        for active in (config.l1, config.l2):
            main, parts = (main + over.main, parts + over.parts) if active else (main, parts)
        main += bool(unsure or config.l1 or config.l2)  # the total
    for l, units in enumerate(scope.asked):
        into = config.layers[l]
        if l == last and soft and units:
            main, parts = main + 1, parts + parts_of(n_out)
            if not fused(config):
                main, parts = main + 1, parts + parts_of(n_out)
        for incoming in units.values():
            main, parts = main + 3, parts + parts_of(into + 1)  # z, a, dL/dz
            if l < last:
                main, parts = main + 1, parts + parts_of(config.layers[l + 2])
            else:
                main += (not cross) + (not fused(config)) + (unsure and not soft)
            penalized = len(incoming) - (into in incoming and not config.penalize_bias)
            each = 2 + clipped + OPTIMIZER_LINES[config.optimizer]
            main += each * len(incoming) + (penalized if config.l1 or config.l2 else 0)
            parts += parts_of(batch) * len(incoming)
    if clip:
        norm = _over_parameters(scope, biases=True)
        main, parts = main + norm.main + 2, parts + norm.parts
    main += config.schedule != "constant" or config.warmup > 0
    return Count(main, parts)


def few(config: Config, biases: bool) -> bool:
    """Whether a sum over all parameters, with the biases or without, is written in one equation."""
    n = config.n_parameters - (0 if biases else sum(config.layers[1:]))
    return n <= LONGEST_SUM


def _over_parameters(scope: Scope, biases: bool) -> Count:
    """Of a sum over all parameters: unit by unit, layer by layer, unless there are few."""
    main, parts = 1, 0
    if not few(scope.config, biases):
        for l, units in enumerate(scope.asked):
            main += len(units) + bool(units)
            parts += len(units) * parts_of(scope.config.layers[l] + biases)
            parts += parts_of(scope.config.layers[l + 1]) if units else 0
    return Count(main, parts)
