"""What every section of the algebra writes on: the record's numbers under their symbols, and lines of them.

Symbols: a layer of units in parentheses above, the inputs being layer 0 and written x; a weight by where it
leads, as its place is: w1.0.2 is w^{(1)}_{0→2}. ℓ is a sample's own loss, L the whole batch's; δ is dℓ/dz; a
number of another sample is followed by that sample's index in brackets.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from .equation import Equation, Section
from .expression import Expression, Function, Number, Power, Sum, count, show
from .record import Parameters, StepRecord
from .scope import LONGEST_SUM, Scope, few

Array = np.ndarray
Lines = Iterator[Equation]
EXPANDED = 4  # terms that are written out in symbols too; more become a Σ
ONE, TWO, ZERO = count(1), count(2), count(0)


class Sheet:
    """A record, what of it is asked for, and the lines written so far.

    Args:
        record: the step.
        sample: which sample of its batch is written out.
        scope: what is asked for.
        room: for how many parts of long sums there is room.
    """

    def __init__(self, record: StepRecord, sample: int, scope: Scope, room: int):
        self.record, self.config, self.sample, self.scope = record, record.config, sample, scope
        self.room = room
        self.last = len(record.pre) - 1
        self.n_out = record.pre[-1].shape[1]
        self.indices: list[int] = [int(i) for i in record.samples]
        self.n = count(len(self.indices), "n")
        self.moved: dict[tuple[int, int, int], float] = {}  # what the optimizer section found
        self._kept: dict[tuple[str, int, int, int], Number] = {}

    # --- the record's numbers ----------------------------------------------------------------------
    def activation(self, layer: int, unit: int) -> Number:
        """Of the sample; the inputs are layer 0."""
        return Number(activation(layer, unit), float(self.record.activations[layer][self.sample, unit]))

    def pre(self, l: int, unit: int) -> Number:
        return Number(rf"z^{{({l + 1})}}_{{{unit}}}", float(self.record.pre[l][self.sample, unit]))

    def delta(self, l: int, unit: int) -> Number:
        return Number(delta(l, unit), float(self.record.delta[l][self.sample, unit]))

    def upstream(self, l: int, unit: int) -> Number:
        found = self.record.upstream[l]
        assert found is not None, "formed at once with dL/dz"
        return Number(upstream(l, unit), float(found[self.sample, unit]))

    def target(self, unit: int) -> Number:
        return Number(rf"y_{{{unit}}}", float(self.record.targets[self.sample, unit]))

    def of_each(self, kind: Literal["a", "delta"], l: int, unit: int) -> list[Number]:
        """One number a sample of the batch: activations of a layer of units, deltas of one of weights."""
        key = (kind, l, unit, 0)
        if key not in self._kept:
            arrays, name = (
                (self.record.activations, activation(l, unit))
                if kind == "a"
                else (self.record.delta, delta(l, unit))
            )
            values = arrays[l][:, unit].tolist()
            for s, (index, value) in enumerate(zip(self.indices, values, strict=True)):
                self._kept[(kind, l, unit, s)] = Number(f"{name}[{index}]", value)
        return [self._kept[(kind, l, unit, s)] for s in range(len(self.indices))]

    def parameter(self, l: int, i: int, j: int) -> Number:
        return Number(parameter(self.is_bias(l, i), l, i, j), entry(self.record.before, l, i, j))

    def is_bias(self, l: int, i: int) -> bool:
        return i == self.config.layers[l]

    def penalized(self, l: int, i: int) -> bool:
        """Whether the penalties (and AdamW's decay) act on it."""
        return self.config.penalize_bias or not self.is_bias(l, i)

    @cached_property
    def totals(self) -> tuple[Array, ...]:
        """`[from + 1, to]` a layer: the gradient with the penalties', the biases in the last row."""
        found = []
        config, record = self.config, self.record
        for l in range(self.last + 1):
            total = np.vstack([record.gradient.weights[l], record.gradient.biases[l]])
            p = np.vstack([record.before.weights[l], record.before.biases[l]])
            if not config.penalize_bias:
                p[-1] = 0.0
            if config.l1:
                total += config.l1 * np.sign(p)
            if config.l2:
                total += config.l2 * p
            found.append(total)
        return tuple(found)

    @property
    def clipped(self) -> bool:
        return self.record.clipped != 1.0

    def gradient(self, l: int, i: int, j: int, *, after_clipping: bool = True) -> Number:
        """What the optimizer gets for a parameter (or what would be clipped)."""
        tag, g = _tag(self.is_bias(l, i), l, i, j), float(self.totals[l][i, j])
        if after_clipping and self.clipped:
            return Number(rf"\bar g{tag}", g * self.record.clipped)
        return Number(f"g{tag}", g)

    # --- lines -------------------------------------------------------------------------------------
    def line(
        self,
        id: str,
        section: Section,
        title: str,
        left: str,
        expression: Expression,
        *,
        at: tuple[int, int] = (-1, -1),
        sample: bool = False,
        value: float | None = None,
        scale: float = 0.0,
        places: Sequence[str] = (),
    ) -> Equation:
        """An equation. `at`: (layer of units, unit); `sample`: it is about the chosen sample only."""
        shown = show(expression, value, scale=scale)
        return Equation(
            id=f"{section}.{id}",
            section=section,
            layer=at[0],
            unit=at[1],
            sample=self.sample if sample else None,
            title=title,
            symbolic=f"{left} = {shown.symbolic}",
            numeric=shown.numeric,
            text=shown.text,
            result=shown.result,
            value=shown.value,
            places=tuple(places),
        )

    def parts(
        self,
        id: str,
        section: Section,
        terms: Sequence[Expression],
        *,
        at: tuple[int, int] = (-1, -1),
        sample: bool = False,
        places: Sequence[str] = (),
    ) -> Generator[Equation, None, Sequence[Expression]]:
        """Terms that fit one equation: these, or sums of them that are equations of their own."""
        for name in "STUV":
            if len(terms) <= LONGEST_SUM:
                break
            n = -(-len(terms) // LONGEST_SUM)
            cuts = [len(terms) * k // n for k in range(n + 1)]
            sums: list[Expression] = []
            for k, (start, end) in enumerate(pairwise(cuts)):
                part, symbol = Sum(tuple(terms[start:end])), f"{name}_{{{k + 1}}}"
                sums.append(Number(symbol, part.value))
                if self.room > 0:
                    self.room -= 1
                    title = f"Terms {start + 1} to {end} of the sum that follows"
                    left, part_id = symbol, f"{id}.{name}{k + 1}"
                    yield self.line(part_id, section, title, left, part, at=at, sample=sample, places=places)
            terms = sums
        return terms

    def over_parameters(
        self, id: str, section: Section, symbol: str, square: bool, arrays: Sequence[Array], names: str
    ) -> Generator[Equation, None, Sum]:
        """Σ |p| or Σ p² over all parameters: at once where they are few, else unit by unit, layer by layer.

        Args:
            symbol: of the partial sums.
            square: p² or |p|.
            arrays: `[from (+ 1), to]` a layer, what is added up.
            names: `p` or `g`: the parameters themselves or their gradients.
        """
        form = (lambda leaf: Power(leaf, TWO)) if square else (lambda leaf: Function("abs", (leaf,)))

        def leaves(l: int, j: int) -> list[Expression]:
            values = arrays[l][:, j].tolist()
            return [form(Number(self._name(names, l, i, j), value)) for i, value in enumerate(values)]

        bar = rf"{names}^2" if square else f"|{names}|"
        if few(self.config, biases=len(arrays[0]) > self.config.layers[0]):
            terms = [leaf for l, a in enumerate(arrays) for j in range(a.shape[1]) for leaf in leaves(l, j)]
            return Sum(tuple(terms), short=rf"\sum {bar}")
        measure = np.square if square else np.abs
        layers: list[Expression] = []
        for l, array in enumerate(arrays):
            units = measure(array).sum(axis=0)
            for j in self.scope.asked[l]:
                at, unit_id, places = (l + 1, j), f"{id}.u{l + 1}.{j}", (f"u{l + 1}.{j}",)
                some = yield from self.parts(unit_id, section, leaves(l, j), at=at, places=places)
                title = f"What leads into {unit_name(self, l + 1, j).lower()} has its share"
                left = rf"{symbol}^{{({l + 1})}}_{{{j}}}"
                whole = Sum(tuple(some), short=rf"\sum {bar}")
                yield self.line(unit_id, section, title, left, whole, at=at, places=places)
            own = rf"{symbol}^{{({l + 1})}}"
            layers.append(Number(own, float(units.sum())))
            if self.scope.asked[l]:
                at, layer_id = (l + 1, -1), f"{id}.layer{l + 1}"
                each = [Number(rf"{own}_{{{j}}}", value) for j, value in enumerate(units.tolist())]
                some = yield from self.parts(layer_id, section, each, at=at)
                title, short = f"Layer {l + 1} adds up what its units have", rf"\sum_j {own}_j"
                whole = Sum(tuple(some), short=short if len(each) > EXPANDED else "")
                yield self.line(layer_id, section, title, own, whole, at=at)
        return Sum(tuple(layers))

    def _name(self, names: str, l: int, i: int, j: int) -> str:
        bias = self.is_bias(l, i)
        return f"g{_tag(bias, l, i, j)}" if names == "g" else parameter(bias, l, i, j)


# --- symbols and names -----------------------------------------------------------------------------
def activation(layer: int, unit: int) -> str:
    return rf"a^{{({layer})}}_{{{unit}}}" if layer else rf"x_{{{unit}}}"


def delta(l: int, unit: int) -> str:
    return rf"\delta^{{({l + 1})}}_{{{unit}}}"


def upstream(l: int, unit: int) -> str:
    return rf"\frac{{\partial \ell}}{{\partial {activation(l + 1, unit)}}}"


def parameter(bias: bool, l: int, i: int, j: int) -> str:
    return rf"b^{{({l + 1})}}_{{{j}}}" if bias else rf"w^{{({l + 1})}}_{{{i}\to {j}}}"


def _tag(bias: bool, l: int, i: int, j: int) -> str:
    """Superscript and subscript of what belongs to a parameter: its gradient, its momentum."""
    return rf"^{{({l + 1})}}_{{{'b' if bias else i}\to {j}}}"


tag = _tag


def entry(parameters: Parameters, l: int, i: int, j: int) -> float:
    """A weight, or, where `i` is the number of units below, a bias."""
    weights = parameters.weights[l]
    return float(weights[i, j] if i < len(weights) else parameters.biases[l][j])


def parameter_place(sheet: Sheet, l: int, i: int, j: int) -> str:
    return f"b{l + 1}.{j}" if sheet.is_bias(l, i) else f"w{l + 1}.{i}.{j}"


def parameter_places(sheet: Sheet, l: int, i: int, j: int) -> tuple[str, ...]:
    """The parameter, the unit it leads into, and the one it comes from."""
    into = f"u{l + 1}.{j}"
    return (f"b{l + 1}.{j}", into) if sheet.is_bias(l, i) else (f"w{l + 1}.{i}.{j}", into, f"u{l}.{i}")


def unit_name(sheet: Sheet, layer: int, unit: int) -> str:
    """As a sentence begins with it."""
    if layer == 0:
        return f"Input {unit}"
    return f"Output {unit}" if layer == sheet.last + 1 else f"Unit {unit} of layer {layer}"


def parameter_name(sheet: Sheet, l: int, i: int, j: int) -> str:
    """Within a sentence."""
    into = unit_name(sheet, l + 1, j).lower()
    if sheet.is_bias(l, i):
        return f"the bias of {into}"
    return f"the weight from {unit_name(sheet, l, i).lower()} to {into}"
