"""Path patching: what one part says to another, and nothing else of what it does.

A sender (a head, an MLP) is given the value it has in another text, and only what it writes straight into a
receiver's input is let through (Wang et al. 2022, "Interpretability in the Wild", section 3.1 and appendix
B; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching"):

    sender, of the other text                 1. Every other head, every MLP between sender and receiver
        |                                        keeps the value that it has in the base run (is frozen).
        |  straight through the stream           So the receiver's input differs by what the sender's write
        v                                        differs by, no more; it then passes the receiver's norm.
    receiver's query, key or value            2. The receivers' query, key or value take the value that
        |                                        this gives them; all that comes after is computed anew,
        |  everything downstream                 with nothing frozen, and the metric read.
        v
    the metric                                   Into the logits: the difference reaches the last norm.

The stream is a sum, so no run is needed for the first step: a sender's difference is its value's difference
through W_O (a head) or the difference itself (an MLP), for all senders at once. The second step is a sweep
with one entry a sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, site, stream_of
from llm_workings.models.spec import NoMLP, ParallelPreNorm, PostNorm
from llm_workings.models.transformer import UNTAPPED
from llm_workings.trace.budget import read_size
from llm_workings.trace.edits import Edit, Replace, Where

from .ablation import grid_of
from .base import Base
from .metrics import Metric
from .parts import Part, every, read_parts
from .patching import Direction, Pair
from .sweep import measure_base, sweep

Through = Literal["q", "k", "v"]
MLPs = Literal["frozen", "recomputed"]
LOGITS = "logits"
_WORDS = {"query": "q", "key": "k", "value": "v"}


@dataclass(frozen=True, order=True)
class Receiver:
    """An input of a head: `q.9.6` is the query of head 6 in layer 9.

    `head` is a query head always. Where heads share keys and values in groups, `k` and `v` are those of
    the group, so what is received through them reaches all its heads (`Receiver.shared`).
    """

    through: Through
    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.through}.{self.layer}.{self.head}"

    @staticmethod
    def parse(text: str) -> Receiver:
        """The receiver that `text` names. Raises `UnknownName` or `BadInput` where it names none."""
        name, *numbers = text.strip().split(".")
        name = _WORDS.get(name, name)
        if name not in get_args(Through):
            raise unknown("receiver", text, ["q.9.6", "k.9.6", "v.9.6", LOGITS])
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise BadInput(f"{text!r} names no head's input.", hint=f"For example {name}.9.6, or {LOGITS!r}.")
        return Receiver(name, int(numbers[0]), int(numbers[1]))  # type: ignore[arg-type]

    def shared(self, base: Base) -> tuple[int, ...]:
        """The heads that what is received reaches."""
        group = base.spec.attention.n_heads // base.spec.attention.n_key_value_heads
        if self.through == "q":
            return (self.head,)
        first = self.head - self.head % group
        return tuple(range(first, first + group))


@dataclass(frozen=True)
class PathPatching:
    """What each sender's direct path to the receivers does to the metric.

    Attributes:
        senders: the parts, in the model's order.
        receivers: the inputs of heads, or none for the logits.
        metric: its name.
        direction: which run was patched into which.
        mlps: whether the MLPs between were frozen.
        values: the metric with each sender's path patched, `[sender]`, float64; NaN where not computed (yet).
        clean, corrupted: the metric of the two runs themselves.
        pieces: the clean text's tokens.
        differs: the positions at which the two texts have different tokens.
    """

    senders: tuple[Part, ...]
    receivers: tuple[Receiver, ...]
    metric: str
    direction: Direction
    mlps: MLPs
    values: Tensor
    clean: float
    corrupted: float
    pieces: list[str]
    differs: list[int] = field(default_factory=list)

    @property
    def effects(self) -> Tensor:
        """How much the metric changed, `[sender]`."""
        return self.values - (self.corrupted if self.direction == "denoising" else self.clean)

    @property
    def share(self) -> Tensor:
        """The effects as shares of the difference between the two runs: 1 is all of it, 0 is nothing.

        Raises `BadInput` where the two runs score the same.
        """
        span = self.clean - self.corrupted
        if abs(span) <= 1e-12 * max(abs(self.clean), abs(self.corrupted), 1.0):
            raise BadInput(
                f"Both runs score {self.clean:.6g} in {self.metric}: there is nothing to share out.",
                hint="Take a pair whose answers differ, or read the effects.",
            )
        return self.effects / (span if self.direction == "denoising" else -span)

    def grid(self, kind: Literal["head", "mlp"] = "head") -> Tensor:
        """The effects of the senders of one kind, `[layer, head]` or `[layer]`; NaN where there is none."""
        picked = [i for i, part in enumerate(self.senders) if part.kind == kind]
        return grid_of([self.senders[i] for i in picked], self.effects[picked])

    def strongest(self, count: int = 5) -> list[tuple[Part, float]]:
        """The senders that change the metric most, with their effects."""
        order = self.effects.abs().nan_to_num(-1.0).argsort(descending=True)[:count]
        return [(self.senders[i], float(self.effects[i])) for i in order.tolist()]

    def __repr__(self) -> str:
        best = ", ".join(f"{part} {effect:+.3g}" for part, effect in self.strongest(3))
        into = ", ".join(map(str, self.receivers)) or "the logits"
        return (
            f"{self.direction} of paths from {len(self.senders)} senders into {into}, MLPs {self.mlps}; "
            f"{self.metric} clean {self.clean:.4g}, corrupted {self.corrupted:.4g}; strongest {best}"
        )


def patch_paths(
    pair: Pair,
    receivers: str | Receiver | Iterable[str | Receiver],
    metric: Metric,
    *,
    senders: Iterable[Part | str] | None = None,
    positions: Sequence[int] | None = None,
    direction: Direction = "noising",
    mlps: MLPs = "frozen",
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
    partial: Callable[[PathPatching], None] | None = None,
) -> PathPatching:
    """Patch the direct path from each sender, in turn, to a set of receivers.

    What is frozen to the base run while the sender's value travels: all heads (their output, so also the
    patterns) and, unless `mlps` says otherwise, all MLPs. The norms are not: the receiver's own norm is of
    the stream as the sender changed it, and in a post-norm model (BERT) so are those on the way, as they
    stand in the stream. Nothing is frozen after the receivers. The receivers' other inputs are the base
    run's unless an earlier receiver changes them.

    Args:
        receivers: inputs of heads ("q.9.6", "k.9.6", "v.9.6" or `Receiver`s), taken together; or "logits".
        senders: heads and MLPs; by default all below the highest receiver. One reaches the receivers
            above it only.
        positions: where the senders' values are those of the other text; by default everywhere.
        direction: noising (the corrupted run's values into the clean one, as in Wang et al.) or denoising.
        mlps: "recomputed" lets MLPs answer to what the sender changed, so that the path sender - MLPs -
            receiver counts as direct, which is what Wang et al. did.
        partial: called as the values fill.

    Raises:
        BadInput, UnknownName: receivers, senders or positions that are not there, or a sender that comes
            after all receivers.
        TooLarge, NotFinite, Cancelled: as `sweep`.
    """
    if direction not in ("denoising", "noising"):
        raise unknown("direction", str(direction), ("denoising", "noising"))
    if mlps not in get_args(MLPs):
        raise unknown("way of the MLPs", str(mlps), get_args(MLPs))
    into, source = (pair.corrupted, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupted)
    heads = _read_receivers(into, receivers)
    parts = _read_senders(into, heads, senders)
    paths = _Paths(into, source, parts, _read_positions(into, positions), mlps)
    clean, corrupted = measure_base(pair.clean, metric), measure_base(pair.corrupted, metric)
    values = torch.full((len(parts),), torch.nan, dtype=torch.float64)

    def so_far(found: Tensor) -> PathPatching:
        return PathPatching(
            parts, heads, metric.name, direction, mlps, found, clean, corrupted,
            pair.clean.run.pieces(), pair.differs,
        )  # fmt: skip

    size = _senders_at_a_time(into, heads, budget)
    for begin in range(0, len(parts), size):
        progress.report("patching paths", begin, len(parts))
        within = Progress(lambda *_, begin=begin: progress.report("patching paths", begin, len(parts)))
        end = min(begin + size, len(parts))
        with torch.no_grad():
            entries = paths.entries(begin, end, heads)
        values[begin:end] = sweep(into, entries, metric, budget=budget, progress=within)
        if partial is not None:
            partial(so_far(values.clone()))
    progress.report("patching paths", len(parts), len(parts))
    return so_far(values)


class _Paths:
    """Senders' differences on their way up a frozen stream."""

    def __init__(
        self, into: Base, source: Base, senders: tuple[Part, ...], positions: list[int] | None, mlps: MLPs
    ):
        self.base, self.source, self.senders = into, source, senders
        self.positions, self.mlps = positions, mlps

    def entries(self, begin: int, end: int, receivers: tuple[Receiver, ...]) -> list[list[Edit]]:
        """For each of some senders, the edits that give the receivers what it sends them."""
        base, n_layers = self.base, self.base.spec.n_layers
        edits: list[list[Edit]] = [[] for _ in range(begin, end)]
        for layer, active, moved in self.climb(begin, end):
            here = [receiver for receiver in receivers if receiver.layer == layer]
            if layer == n_layers and not receivers:
                place = stream_of(base.spec)[-1]
                for sender, stream in zip(active, base.stream[-1] + moved, strict=True):
                    edits[sender].append(Edit(place, how=Replace(stream[None])))
            elif here and active:
                for place, where, values in self._received(layer, here, moved):
                    for sender, value in zip(active, values, strict=True):
                        edits[sender].append(Edit(place, where, Replace(value[None])))
            if receivers and layer == max(receiver.layer for receiver in receivers):
                break
        return edits

    def climb(self, begin: int, end: int) -> Iterator[tuple[int, list[int], Tensor]]:
        """By layer, the senders below it (counted from `begin`) and by how much each changes the stream that
        enters it, `[sender, position, d_model]`; last of all, the stream that leaves the model."""
        base, spec = self.base, self.base.spec
        senders = self.senders[begin:end]
        active: list[int] = []
        moved = base.stream[0].new_zeros(0, *base.stream[0].shape)
        for layer in range(spec.n_layers):
            yield layer, active, moved
            new = [i for i, part in enumerate(senders) if part.layer == layer]
            heads = [i for i in new if senders[i].kind == "head"]
            mlps = [i for i in new if senders[i].kind == "mlp"]
            written = self._written(layer, [senders[i] for i in heads])
            answered = self._written(layer, [senders[i] for i in mlps])
            moved = self._through(layer, moved, written, answered)
            active = [*active, *heads, *mlps]
        yield spec.n_layers, active, moved

    def _written(self, layer: int, senders: list[Part]) -> Tensor:
        """By how much the writes of some heads, or of the MLP, differ: `[sender, position, d_model]`."""
        base = self.base
        if not senders:
            return base.stream[0].new_zeros(0, *base.stream[0].shape)
        head = senders[0].kind == "head"
        place = site("z" if head else "mlp_out", layer)
        differs = (self.source.value(place) - base.value(place))[0]
        if self.positions is not None:
            kept = torch.zeros(base.n, dtype=torch.bool, device=differs.device)
            kept[self.positions] = True
            differs = differs * kept.view(-1, *[1] * (differs.ndim - 1))
        if not head:
            return differs[None]
        picked = [part.index for part in senders]
        z = differs[:, picked].transpose(0, 1)  # [sender, position, e]
        return z @ base.block(layer).attention.w_o[picked]

    def _through(self, layer: int, moved: Tensor, written: Tensor, answered: Tensor) -> Tensor:
        """Differences entering a layer, with those that its own senders add, as differences leaving it.

        `moved` of the senders below, `written` of its heads, `answered` of its MLP; stacked in this order.
        """
        base, block, kind = self.base, self.base.block(layer), self.base.spec.block
        below, heads = len(moved), len(written)
        silent = torch.zeros_like(answered)
        after = torch.cat((moved, written, silent))  # attention is frozen but for the senders' own
        recomputed = self.mlps == "recomputed" and not isinstance(base.spec.mlp, NoMLP)
        own = torch.cat((torch.zeros_like(moved), torch.zeros_like(written), answered))
        if isinstance(kind, PostNorm):
            middle = base.value(site("resid_mid", layer))[0]
            normed = block.ln1.apply_to(middle + after)
            out = base.value(site("mlp_out", layer))[0].expand_as(normed)
            if recomputed:
                assert block.mlp is not None
                moving = block.mlp(normed[: below + heads], UNTAPPED, layer)
                out = torch.cat((moving, out[below + heads :]))
            return block.ln2.apply_to(normed + out + own) - base.stream[layer + 1]
        if not recomputed:
            return after + own
        assert block.mlp is not None
        # In a parallel block the MLP reads the stream that enters the layer: its own heads do not reach it.
        parallel = isinstance(kind, ParallelPreNorm)
        reach = below if parallel else below + heads
        read = base.stream[layer] if parallel else base.value(site("resid_mid", layer))[0]
        moving = block.mlp(block.ln2.apply_to(read + after[:reach]), UNTAPPED, layer)
        said = moving - base.value(site("mlp_out", layer))[0]
        return torch.cat((after[:reach] + said, (after + own)[reach:]))

    def _received(
        self, layer: int, receivers: list[Receiver], moved: Tensor
    ) -> Iterator[tuple[Site, Where, Tensor]]:
        """What the receivers of a layer get: the site, the heads, and `[sender, position, heads, e]`."""
        base, attention = self.base, self.base.block(layer).attention
        stream = base.stream[layer] + moved
        read = stream if isinstance(base.spec.block, PostNorm) else base.block(layer).ln1.apply_to(stream)
        changed = (moved != 0).any(-1)[..., None, None]
        group = base.spec.attention.n_heads // base.spec.attention.n_key_value_heads
        weights = attention.input.weight.split(attention.widths)
        biases = None if attention.input.bias is None else attention.input.bias.split(attention.widths)
        for number, through in enumerate(get_args(Through)):
            asked = [receiver.head for receiver in receivers if receiver.through == through]
            heads = sorted({head if through == "q" else head // group for head in asked})
            if not heads:
                continue
            size = base.spec.attention.d_head
            weight = weights[number].unflatten(0, (-1, size))[heads]  # [head, e, d]
            value = torch.einsum("snd,hed->snhe", read, weight)
            if biases is not None:
                value = value + biases[number].unflatten(0, (-1, size))[heads]
            if base.spec.attention.query_key_norm is not None and through != "v":
                norm = attention.query_norm if through == "q" else attention.key_norm
                value = norm.apply_to(value)
            # Where nothing moved stands the run's own value, not one that rounding makes another.
            place = site(through, layer)
            value = torch.where(changed, value, base.value(place)[:, :, heads])
            yield place, Where(heads=heads), value


# --- reading what was asked ------------------------------------------------------------------------
def _read_receivers(base: Base, receivers: str | Receiver | Iterable[str | Receiver]) -> tuple[Receiver, ...]:
    """The heads' inputs; none for the logits."""
    asked = [receivers] if isinstance(receivers, str | Receiver) else list(receivers)
    if asked == [LOGITS]:
        return ()
    if not asked or LOGITS in asked:
        raise BadInput(
            "Paths lead into inputs of heads or into the logits, not both, and not nowhere.",
            hint="The logits hold all that the heads do: take them alone.",
        )
    found = [Receiver.parse(each) if isinstance(each, str) else each for each in asked]
    a = base.spec.attention
    for each in found:
        if each.through not in get_args(Through):
            raise unknown("receiver", str(each), ["q.9.6", "k.9.6", "v.9.6", LOGITS])
        if not (0 <= each.layer < base.spec.n_layers and 0 <= each.head < a.n_heads):
            raise BadInput(
                f"There is no {each}: the model has layers 0 to {base.spec.n_layers - 1} of heads 0 to "
                f"{a.n_heads - 1}.",
                given={"receiver": str(each)},
            )
    return tuple(sorted(set(found), key=lambda each: (each.layer, each.through, each.head)))


def _read_senders(
    base: Base, receivers: tuple[Receiver, ...], senders: Iterable[Part | str] | None
) -> tuple[Part, ...]:
    spec = base.spec
    highest = max((receiver.layer for receiver in receivers), default=spec.n_layers)
    if senders is None:
        found = every(spec, "head", range(highest))
        if not isinstance(spec.mlp, NoMLP):
            found += every(spec, "mlp", range(highest))
    else:
        found = read_parts(spec, senders)
    for part in found:
        if part.kind not in ("head", "mlp"):
            raise BadInput(f"{part} cannot send: heads and MLPs do.", given={"sender": str(part)})
        if part.layer >= highest:
            raise BadInput(
                f"{part} reaches none of {', '.join(map(str, receivers))}: it comes after them.",
                given={"sender": str(part)},
            )
    if not found:
        raise BadInput(f"Nothing sends to {', '.join(map(str, receivers))}: no part stands below layer 0.")
    return tuple(sorted(found, key=lambda part: (part.layer, part.kind, part.index or 0)))


def _read_positions(base: Base, positions: Sequence[int] | None) -> list[int] | None:
    if positions is None:
        return None
    for position in positions:
        if not -base.n <= position < base.n:
            raise BadInput(f"There is no position {position}: the text has positions 0 to {base.n - 1}.")
    return [position % base.n for position in positions]


def _senders_at_a_time(base: Base, receivers: tuple[Receiver, ...], budget: int | str) -> int:
    """So many that their streams, on the way and as edits, take half of the budget; 1 at the least."""
    wide = 2 if not receivers else 1
    a_sender = (
        base.n
        * ((4 + wide) * base.spec.d_model + 2 * len(receivers) * base.spec.attention.d_head)
        * base.model.dtype.itemsize
    )
    return max(1, read_size(budget) // 2 // a_sender)
