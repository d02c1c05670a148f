"""Units by tokens: what the units of a layer do along a text, or one thing of every layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .parts import ModelCard, Token, quoted

if TYPE_CHECKING:
    from llm_workings.causal.base import Base

SiteName = Literal["mlp_post", "mlp_out", "attn_out", "result", "resid_post"]
ORDERED: tuple[SiteName, ...] = ("mlp_post", "result", "attn_out", "mlp_out", "resid_post")
UNIT = {"mlp_post": "neuron", "result": "head"}  # of the others: dimension

RowsOf = Annotated[
    Literal["units", "layers"],
    Field(title="Rows", description="units: those of one layer; layers: one thing of every layer."),
]
Where = Annotated[
    SiteName | None,
    Field(
        title="Site",
        description="mlp_post: neurons; result: the length of what each head writes; attn_out, mlp_out: what "
        "a layer adds to the stream, by dimension; resid_post: the stream itself. Left out, neurons where "
        "there are some, else heads.",
    ),
]
OneLayer = Annotated[
    int | None, Field(title="Layer", ge=0, description="Whose units; left out, the middle layer's.")
]
Of = Annotated[
    str,
    Field(
        title="Of each layer",
        pattern=r"^(norm|mean|\d{1,9})$",
        description="Where the rows are layers: the norm of the site, the mean of its units, or one unit's "
        "number.",
    ),
]
Keep = Annotated[
    Literal["variable", "strongest"],
    Field(
        title="Keep",
        description="Which units are kept: by standard deviation over the tokens, or largest |value|.",
    ),
]
Most = Annotated[int, Field(title="At most", ge=1, le=256, description="How many units are kept.")]


class TokenRow(Payload):
    """What is said of one row. The first token is left out of all of it where it is left out."""

    unit: int
    """The unit's number, or the layer's where the rows are layers."""
    mean: float
    deviation: float
    """Its standard deviation over the tokens."""
    largest: float
    """The value furthest from 0."""
    at: int
    """The position where that stands."""
    partner: int | None
    """The unit of the layer that goes with it most; None where nothing can be compared."""
    correlation: float
    chance: float
    """What |correlation| with any other unit comes to where its values are shuffled over the tokens."""
    flags: list[str]
    """dead, duplicate, correlated: each with its number."""


class TokenActivations(Payload):
    """Units, or layers, by the tokens of a text."""

    model: ModelCard
    tokens: list[Token]
    rows: Literal["units", "layers"]
    site: SiteName
    sites: list[SiteName]
    """Those that the model has."""
    layer: int
    """Whose units; where the rows are layers, which would be shown."""
    of: str
    """norm, mean, or a unit's number: what is shown of each layer."""
    keep: Literal["variable", "strongest"]
    width: int
    """How many units the site has in a layer."""
    dead: int
    """How many of all of them are the same at every token."""
    values: Annotated[np.ndarray, Tensor("float32", "row position")]
    """NaN in layers that are not read yet."""
    units: list[TokenRow]
    """By row: the most variable, or the strongest, first; layers from the first."""
    by_peak: Annotated[np.ndarray, Tensor("uint16", "row")]
    """The rows ordered by the token at which each is furthest from its mean."""
    by_cluster: Annotated[np.ndarray, Tensor("uint16", "row")]
    """The rows ordered so that those that go up and down together stand together."""
    first_left_out: bool
    """Whether the first token is left out of what is said of the rows, of their order and of the scale."""
    close: float
    """|correlation| from which two units are flagged, if it is beyond chance."""
    shuffles: int
    complete: bool
    """False while layers are still being read."""

    def flagged(self, kind: str) -> list[int]:
        """The units shown with a flag of that kind."""
        return [one.unit for one in self.units if any(flag.startswith(kind) for flag in one.flags)]

    def reading(self) -> str:
        """What came out, in a few sentences."""
        if self.rows == "layers":
            shown = self.values[:, int(self.first_left_out) :]
            row, column = np.unravel_index(int(np.nan_to_num(np.abs(shown)).argmax()), shown.shape)
            at = int(column) + int(self.first_left_out)
            what = (
                f"{UNIT.get(self.site, 'dimension')} {self.of}" if self.of.isdecimal() else f"the {self.of}"
            )
            return (
                f"{self.model.title}: {what} of {self.site} in {len(self.units)} layers at "
                f"{len(self.tokens)} tokens. It is largest in layer {row}, {self.values[row, at]:+.3g} at "
                f"{quoted(self.tokens[at])} (position {at})."
            )
        first = self.units[0]
        said = (
            f"{self.model.title}: {len(self.units)} of {self.width:,} units of {self.site}.{self.layer} at "
            f"{len(self.tokens)} tokens, the {'most variable' if self.keep == 'variable' else 'strongest'} "
            f"first. Unit {first.unit} is {first.largest:+.3g} at {quoted(self.tokens[first.at])} (position "
            f"{first.at}). {self.dead} of all are dead."
        )
        close = max(
            (one for one in self.units if one.partner is not None),
            key=lambda one: abs(one.correlation),
            default=None,
        )
        if close is None:
            return said
        flagged = len(self.flagged("duplicate")) + len(self.flagged("correlated"))
        return (
            f"{said} {flagged} of those shown go with another at |r| of at least {self.close}, beyond "
            f"chance; the closest are {close.unit} and {close.partner}, at {close.correlation:+.3f} "
            f"(shuffled, up to {close.chance:.3f})."
        )


@view
def token_activations(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    rows: RowsOf = "units",
    site: Where = None,
    layer: OneLayer = None,
    of: Of = "norm",
    keep: Keep = "variable",
    most: Most = 48,
) -> TokenActivations:
    """Units by tokens.

    A column is a token, a row a unit of one layer: an MLP neuron, a dimension of the stream, a head by the
    length of what it writes, |z W_O|. Of a layer's many units those that vary most over the text are kept. Or
    a row is a layer, and a cell one thing of it: the site's norm, its mean, or one unit.

    Standardized, a cell is (a − mean) / standard deviation of its row, so that a faint unit is seen beside
    a strong one; a dash marks what is a quarter of the scale below 0, or more. Rows are ordered by the token
    at which they are furthest from their mean, or clustered (average linkage of 1 − correlation).

    Flags, each with its number. Dead: the same at every token. Duplicate: another unit of the layer goes with
    it at |r| of at least 0.999. Correlated: of at least 0.95. Both only where |r| is beyond what the unit
    reaches with any other one in 19 shuffles of its values over the tokens.

    In a causal model the first token is left out of statistics, order and scale: attention rests on it, and
    what stands there is of another kind.

    What this cannot tell you: what a unit does. Over a dozen tokens some of a thousand units go together by
    chance: take a long text before you call two of them one. One dimension of the stream is no unit of
    meaning, and neuron 5 of one layer has nothing to do with neuron 5 of the next. To see what a neuron is
    for, open it.
    """
    from llm_workings.models.sites import sites_of

    base = lab.base(model, prompt)
    spec = base.spec
    kinds = {one.kind for one in sites_of(spec)}
    known = [name for name in ORDERED if name in kinds]
    at = site or known[0]
    if at not in known:
        raise BadInput(
            f"{model} has no {at}: it has no MLP.",
            hint=f"Take one of {', '.join(known)}.",
            given={"site": at},
        )
    chosen = spec.n_layers // 2 if layer is None else layer
    if chosen >= spec.n_layers:
        raise BadInput(
            f"There is no layer {chosen}: {model} has layers 0 to {spec.n_layers - 1}.",
            hint=f"Take {spec.n_layers - 1}, the last.",
            given={"layer": chosen},
        )
    first = int(spec.causal and base.n > 1)

    def payload(
        values: NDArray[np.float32], units: list[TokenRow], width: int, dead: int, complete: bool
    ) -> TokenActivations:
        from llm_workings.activations.rows import SHUFFLES, by_peak, together
        from llm_workings.activations.units import DOUBLE

        counted = np.nan_to_num(values[:, first:])
        return TokenActivations(
            model=lab.card(base.model),
            tokens=lab.tokens(base.model, base.tokens),
            rows=rows,
            site=at,
            sites=known,
            layer=chosen,
            of=of,
            keep=keep,
            width=width,
            dead=dead,
            values=values,
            units=units,
            by_peak=by_peak(counted).astype(np.uint16),
            by_cluster=together(counted).astype(np.uint16),
            first_left_out=bool(first),
            close=DOUBLE,
            shuffles=SHUFFLES,
            complete=complete,
        )

    if rows == "units":
        from llm_workings.activations.rows import most as most_of
        from llm_workings.activations.units import dead as dead_of

        lab.progress.report(f"reading {at}.{chosen}")
        values = _values(base, at, chosen)
        kept = most_of(values[first:], most, keep)
        described = _described(values, kept, first, UNIT.get(at, "dimension"))
        return payload(
            values[:, kept].T, described, values.shape[1], int(dead_of(values[first:]).sum()), True
        )

    grid, width = np.full((spec.n_layers, base.n), np.nan, np.float32), 0
    for one in range(spec.n_layers):
        lab.progress.report(f"reading {at}", one, spec.n_layers)
        values = _values(base, at, one)
        width = values.shape[1]
        grid[one] = _of(values, of, at)
        seen = grid.copy()
        lab.progress.publish(partial(payload, seen, _layers(seen, first), width, 0, False))
    return payload(grid, _layers(grid, first), width, 0, True)


def _values(base: Base, kind: str, layer: int) -> NDArray[np.float32]:
    """`[position, unit]`: the site in one layer, run alone; of heads, the length of what each writes."""
    from llm_workings.models.sites import site as site_at

    place = site_at(kind, layer)
    base.hold([place])
    value = base.value(place)[0].detach().float()
    base.release()
    if kind == "result":
        value = value.norm(dim=-1)
    return np.asarray(value.cpu().numpy(), np.float32)


def _of(values: NDArray[np.float32], of: str, kind: str) -> NDArray[np.float32]:
    """`[position]`: the norm, the mean or one unit of a layer's `[position, unit]`."""
    if of == "norm":
        return np.asarray(np.linalg.norm(values, axis=1), np.float32)
    if of == "mean":
        return np.asarray(values.mean(1), np.float32)
    if int(of) >= values.shape[1]:
        raise BadInput(
            f"There is no {UNIT.get(kind, 'dimension')} {of}: {kind} has {values.shape[1]:,}, from 0.",
            hint="Take norm, mean, or a smaller number.",
            given={"of": of, "site": kind},
        )
    return values[:, int(of)]


def _described(
    values: NDArray[np.float32], kept: NDArray[np.int64], first: int, called: str
) -> list[TokenRow]:
    """What is said of the units that are kept, of all of a layer's `[position, unit]`."""
    from llm_workings.activations.rows import partners
    from llm_workings.activations.units import dead

    counted = values[first:]
    still = dead(counted)
    found = []
    for unit, one in zip(kept.tolist(), partners(counted, kept), strict=True):
        flags = []
        if still[unit]:
            flags.append(f"dead: it is {counted[0, unit]:.3g} at every token")
        if one.flag:
            flags.append(
                f"{one.flag}: it goes with {called} {one.unit} at r = {one.correlation:+.4f} "
                f"(shuffled, up to {one.chance:.3f})"
            )
        found.append(_row(unit, values[:, unit], first, one.unit, one.correlation, one.chance, flags))
    return found


def _layers(grid: NDArray[np.float32], first: int) -> list[TokenRow]:
    return [_row(layer, row, first, None, 0.0, 0.0, []) for layer, row in enumerate(grid)]


def _row(
    unit: int,
    values: NDArray[np.float32],
    first: int,
    partner: int | None,
    r: float,
    chance: float,
    flags: list[str],
) -> TokenRow:
    counted = np.nan_to_num(values[first:]).astype(np.float64)  # a layer that is not read yet
    at = int(np.abs(counted).argmax())
    return TokenRow(
        unit=unit,
        mean=float(counted.mean()),
        deviation=float(counted.std()),
        largest=float(counted[at]),
        at=at + first,
        partner=partner,
        correlation=r,
        chance=chance,
        flags=flags,
    )
