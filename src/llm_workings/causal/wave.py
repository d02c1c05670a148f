"""Many edited runs of one text as a single pass upwards, in which only what an edit changed is computed.

An edited run differs from the base run from one layer and one position on. So it is a row: the stream
entering that layer, at the positions from there to the end. The wave climbs the layers once; at each, the
rows that begin there join those already under way, and the products of the whole layer are taken over all
their tokens at once. What a row sees of the positions before its own are the base run's keys and values.

    layer 3   [row a ----]                            one matrix product a weight,
    layer 4   [row a ----][row b --][row c -]          over all tokens of all rows
    layer 5   [row a ----][row b --][row c -][row d ]

A row that has an edit inside a layer goes through the transformer's own block there, with a tap.
The numbers are those of whole forwards with edits, to rounding (`tests/test_causal_wave.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site
from llm_workings.models.spec import MaskedTokenHead, NextTokenHead, ParallelPreNorm, PostNorm
from llm_workings.models.transformer import UNTAPPED, KeyValueCache, Rotation, Transformer
from llm_workings.trace.apply import FINAL, Frame, apply
from llm_workings.trace.edits import AnyEdit

from .base import Base


@dataclass
class Row:
    """An edited run, from where it differs on.

    Attributes:
        index: which of the sweep's entries it is.
        layer: the first layer to run; `n_layers` if only the head is left.
        position: the first position that differs.
        residual: `[position.., d_model]`, the stream entering `layer`.
        edits: those still to be made, in this layer or above it.
    """

    index: int
    layer: int
    position: int
    residual: Tensor
    edits: list[AnyEdit] = field(default_factory=list)

    def edited_in(self, layer: int) -> bool:
        return any(edit.place.layer == layer for edit in self.edits)

    @property
    def edited_at_the_end(self) -> bool:
        return any(edit.place.kind in FINAL for edit in self.edits)


class RowTap:
    """Makes each row's own edits in a batch of rows that begin at the same position."""

    def __init__(self, rows: Sequence[Row], frame: Frame):
        self.frame = frame
        self.edits: dict[Site, list[tuple[int, AnyEdit]]] = {}
        for number, row in enumerate(rows):
            for edit in row.edits:
                self.edits.setdefault(edit.place, []).append((number, edit))

    def wants(self, where: Site) -> bool:
        return where in self.edits

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        for number, edit in self.edits.get(where, ()):
            changed = apply(edit, value[number : number + 1], self.frame)
            if changed is not None:
                value = torch.cat((value[:number], changed, value[number + 1 :]))
        return value


class Wave:
    """The rows under way, grouped by the position at which they begin.

    Args:
        scored: the positions whose final stream is wanted.
    """

    def __init__(self, base: Base, scored: Sequence[int]):
        self.base, self.scored = base, list(scored)
        self.transformer: Transformer = base.model.transformer
        self.rows: dict[int, list[Row]] = {}
        self.streams: dict[int, Tensor] = {}  # [row, position.., d_model] by the position they begin at
        self.narrowed = False  # whether the streams are of the scored positions only: after the last layer

    def run(self, rows: Iterable[Row], progress: Progress = SILENT) -> Tensor:
        """The final stream of each row at the scored positions, `[row, scored, d_model]`, in order."""
        waiting = list(rows)
        n_layers = self.base.spec.n_layers
        order = {id(row): number for number, row in enumerate(waiting)}
        final = self.base.stream[-1][self.scored].repeat(len(waiting), 1, 1)
        for layer in range(min((row.layer for row in waiting), default=n_layers), n_layers):
            progress.report("sweeping", layer, n_layers)
            self._join([row for row in waiting if row.layer == layer])
            self._climb(layer)
        for row in waiting:
            if row.layer == n_layers:
                for column, p in enumerate(self.scored):
                    if p >= row.position:
                        final[order[id(row)], column] = row.residual[p - row.position]
        for position, members in self.rows.items():
            kept = [i for i, p in enumerate(self.scored) if p >= position]
            columns = range(len(kept)) if self.narrowed else [self.scored[i] - position for i in kept]
            places = torch.tensor([order[id(row)] for row in members], device=final.device)
            if kept:
                here = torch.tensor(kept, device=final.device)
                final[places[:, None], here] = self.streams[position][:, list(columns)]
        return final

    def _join(self, rows: list[Row]) -> None:
        by_position: dict[int, list[Row]] = {}
        for row in rows:
            by_position.setdefault(row.position, []).append(row)
        for position, members in by_position.items():
            streams = torch.stack([row.residual for row in members])
            for row in members:
                row.residual = streams.new_empty(0)  # it lives on in the wave
            if position in self.rows:
                self.rows[position] += members
                self.streams[position] = torch.cat((self.streams[position], streams))
            else:
                self.rows[position], self.streams[position] = members, streams

    # --- one layer -----------------------------------------------------------------------------
    def _climb(self, layer: int) -> None:
        """Take every row through a layer."""
        quiet: dict[int, Tensor] = {}
        for position, members in self.rows.items():
            edited = [i for i, row in enumerate(members) if row.edited_in(layer)]
            if not edited:
                quiet[position] = self.streams[position]
                continue
            others = [i for i in range(len(members)) if i not in set(edited)]
            stream = self.streams[position]
            done = self._through_block(layer, position, [members[i] for i in edited], stream[edited])
            self.rows[position] = [members[i] for i in (*edited, *others)]
            self.streams[position] = torch.cat((done, stream[others])) if others else done
            if others:
                quiet[position] = stream[others]
        if not quiet:
            return
        self.narrowed = layer == self.base.spec.n_layers - 1 and all(
            p in quiet and len(members) == len(quiet[p]) for p, members in self.rows.items()
        )
        for position, stream in self._packed(layer, quiet, only_scored=self.narrowed).items():
            edited_count = len(self.rows[position]) - len(stream)
            before = self.streams[position][:edited_count]
            self.streams[position] = torch.cat((before, stream)) if edited_count else stream

    def _through_block(self, layer: int, position: int, rows: list[Row], stream: Tensor) -> Tensor:
        """The transformer's own block, with the edits of each row."""
        base = self.base
        frame = Frame((base.n,), range(position, base.n), self.scored)
        cache = None
        before = base.keys_before(layer, position)
        if before is not None:
            cache = KeyValueCache(base.spec.n_layers)
            cache.keys[layer], cache.values[layer] = (
                part.expand(len(rows), *part.shape[1:]) for part in before
            )
        rotation = base.rotation
        if rotation is not None:
            rotation = _rotation(rotation, torch.arange(position, base.n, device=stream.device))
        visible = self._visible(position) if base.spec.causal and position else None
        block = self.base.block(layer)
        return block(stream, RowTap(rows, frame), rotation, visible, cache)

    def _packed(self, layer: int, streams: dict[int, Tensor], only_scored: bool) -> dict[int, Tensor]:
        """A layer over the tokens of all rows at once; `only_scored`: only what the answer reads."""
        block = self.base.block(layer)
        spec, attention = self.base.spec, block.attention
        widths, size = attention.widths, spec.attention.d_head
        groups = sorted(streams)
        counts = {p: streams[p].shape[0] for p in groups}
        x = torch.cat([streams[p].flatten(0, 1) for p in groups])  # [token, d]
        positions = torch.cat([torch.arange(p, self.base.n).repeat(counts[p]) for p in groups]).to(x.device)
        read = x if isinstance(spec.block, PostNorm) else block.ln1.apply_to(x)

        wanted = {p: [q - p for q in self.scored if q >= p] for p in groups} if only_scored else None
        asking = None  # tokens that go on; None: all
        if wanted is not None:
            asking = self._tokens_of(groups, counts, wanted, x.device)
            x = x[asking]
        weight, bias = attention.input.weight, attention.input.bias
        if asking is None:
            q, k, v = attention.input(read).split(widths, dim=-1)
        else:  # queries of the scored positions only; keys and values of all
            q = F.linear(read[asking], weight[: widths[0]], None if bias is None else bias[: widths[0]])
            rest = F.linear(read, weight[widths[0] :], None if bias is None else bias[widths[0] :])
            k, v = rest.split(widths[1:], dim=-1)
        q, k, v = (part.unflatten(-1, (-1, size)) for part in (q, k, v))  # [token, head, e]
        if spec.attention.query_key_norm is not None:
            q, k = attention.query_norm.apply_to(q), attention.key_norm.apply_to(k)
        if (rotation := self.base.rotation) is not None:
            asked = positions if asking is None else positions[asking]
            q = _rotation(rotation, asked).apply_to(q[None])[0]
            k = _rotation(rotation, positions).apply_to(k[None])[0]
        z = self._attend(layer, groups, counts, wanted, q, k, v)

        added = attention.output(z.flatten(1))
        if block.mlp is None:
            x = x + added
        elif isinstance(spec.block, ParallelPreNorm):
            x = x + added + block.mlp(block.ln2.apply_to(x), UNTAPPED, layer)
        elif isinstance(spec.block, PostNorm):
            x = block.ln1.apply_to(x + added)
            x = block.ln2.apply_to(x + block.mlp(x, UNTAPPED, layer))
        else:
            x = x + added
            x = x + block.mlp(block.ln2.apply_to(x), UNTAPPED, layer)

        found, at = {}, 0
        for p in groups:
            length = self.base.n - p if wanted is None else len(wanted[p])
            found[p] = x[at : at + counts[p] * length].unflatten(0, (counts[p], length))
            at += counts[p] * length
        return found

    def _attend(
        self,
        layer: int,
        groups: list[int],
        counts: dict[int, int],
        wanted: dict[int, list[int]] | None,
        q: Tensor,
        k: Tensor,
        v: Tensor,
    ) -> Tensor:
        """Values mixed by the pattern, `[token, head, e]`: each group of rows that begin at one position."""
        repeats = self.base.spec.attention.n_heads // k.shape[1]
        mixed, at, asked_at = [], 0, 0
        for p in groups:
            rows, length = counts[p], self.base.n - p
            asks = length if wanted is None else len(wanted[p])
            if asks:
                keys, values = (part[at : at + rows * length].unflatten(0, (rows, length)) for part in (k, v))
                if (before := self.base.keys_before(layer, p)) is not None:
                    keys, values = (
                        torch.cat((past.expand(rows, *past.shape[1:]), own), 1)
                        for past, own in zip(before, (keys, values), strict=True)
                    )
                if repeats > 1:
                    keys, values = (part.repeat_interleave(repeats, 2) for part in (keys, values))
                queries = q[asked_at : asked_at + rows * asks].unflatten(0, (rows, asks))
                visible = self._visible(p) if self.base.spec.causal else None
                if visible is not None and wanted is not None:
                    visible = visible[wanted[p]]
                queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
                z = F.scaled_dot_product_attention(queries, keys, values, visible)
                mixed.append(z.transpose(1, 2).flatten(0, 1))
            at += rows * length
            asked_at += rows * asks
        return torch.cat(mixed) if mixed else q

    def _visible(self, position: int) -> Tensor:
        """Which keys the queries from `position` on may see, `[query, key]`."""
        n, device = self.base.n, self.base.model.device
        return torch.ones(n - position, n, dtype=torch.bool, device=device).tril(position)

    def _tokens_of(
        self,
        groups: list[int],
        counts: dict[int, int],
        wanted: dict[int, list[int]],
        device: torch.device,
    ) -> Tensor:
        """Where the wanted tokens of all rows stand among all tokens."""
        found, at = [], 0
        for p in groups:
            length = self.base.n - p
            rows = torch.arange(counts[p], device=device)[:, None] * length + at
            found.append((rows + torch.tensor(wanted[p], dtype=torch.int64, device=device)).flatten())
            at += counts[p] * length
        return torch.cat(found)


def _rotation(rotation: Rotation, positions: Tensor) -> Rotation:
    """The angles of some positions."""
    return Rotation(rotation.cos[positions], rotation.sin[positions])


def read_tokens(transformer: Transformer, stream: Tensor, tokens: Sequence[int]) -> Tensor:
    """The logits of a few tokens only, `[..., token]`, of a final stream `[..., d_model]`."""
    x = transformer.final_norm.apply_to(stream) if transformer.spec.final_norm else stream
    match transformer.spec.head:
        case MaskedTokenHead():
            raise TypeError("a masked head is read whole")
        case NextTokenHead():
            picked = torch.tensor(tokens, device=stream.device)
            bias = transformer.unembed.bias
            return F.linear(x, transformer.unembed.weight[picked], None if bias is None else bias[picked])
    raise TypeError("the model has no head")
