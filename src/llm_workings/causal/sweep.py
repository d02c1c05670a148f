"""A sweep: a list of edits and a metric, measured by computing what each edit changes and nothing else.

    found = sweep(Base(model, text), [Edit("z.3", Where(heads=5), Zero()), ...], metric)

Each entry is an edit or several made together. What an entry changes is found first: a site's value in the
base run is edited, and the positions at which it is another one say where the entry begins; an entry that
changes nothing costs nothing. Up to the end of its layer only the positions that changed are computed; from
there it is a row of a `Wave`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, EditNeverFired, TooLarge
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, select, site
from llm_workings.models.spec import (
    GatedMLP,
    MaskedTokenHead,
    NoHead,
    NoMLP,
    ParallelPreNorm,
    PostNorm,
    Spec,
)
from llm_workings.models.transformer import UNTAPPED
from llm_workings.trace.apply import FINAL, Frame, apply, from_position
from llm_workings.trace.budget import read_size, spell
from llm_workings.trace.edits import AnyEdit, Edit, FunctionEdit, Mean
from llm_workings.trace.tap import NotFinite

from .base import Base
from .metrics import Metric
from .wave import Row, RowTap, Wave, read_tokens

Entry = AnyEdit | Sequence[AnyEdit]
Partial = Callable[[Tensor], None]
TOKENS = 4096  # of a wave at the most: large enough for its products, small enough to show progress
QUICK = {"resid_pre", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out", "resid_post"}


def sweep(
    base: Base,
    entries: Sequence[Entry],
    metric: Metric,
    *,
    budget: int | str = "1GiB",
    progress: Progress = SILENT,
    partial: Partial | None = None,
) -> Tensor:
    """The metric of each edited run, `[entry]`, float64 on the CPU.

    Args:
        base: the text, run once.
        entries: each an edit, or several made in the same run.
        metric: what is measured of each.
        budget: bytes that the rows under way may take together; more are swept in turn.
        partial: called with the values so far (NaN where there is none yet) after each part, so that a
            picture can fill; what it was given stays valid if the sweep is then cancelled.

    Raises:
        BadInput, BadShape, UnknownName: an entry that this model and text cannot have.
        EditNeverFired: an edit at a site that the model does not have.
        TooLarge: a budget that not even one entry fits.
        NotFinite: the metric is not a finite number for an entry, which is named.
        Cancelled: the progress said to stop.
    """
    if isinstance(base.spec.head, NoHead):
        _ = base.logits  # says that there is nothing to measure
    lists = [_as_list(entry) for entry in entries]
    found = torch.full((len(lists),), torch.nan, dtype=torch.float64)
    scored = metric.positions(base.n)
    with torch.no_grad():
        for done, part in _parts(base, lists, budget):
            progress.report("sweeping", done, len(lists))
            _measure(base, part, lists, metric, scored, found, progress)
            if partial is not None:
                partial(found.clone())
    progress.report("sweeping", len(lists), len(lists))
    return found


def measure_base(base: Base, metric: Metric) -> float:
    """The metric of the unedited run."""
    with torch.no_grad():
        logits = base.logits[metric.positions(base.n)][None]
        if metric.tokens is not None:
            logits = logits[..., list(metric.tokens)]
        return float(metric.value(logits)[0])


def _as_list(entry: Entry) -> list[AnyEdit]:
    found = [entry] if isinstance(entry, AnyEdit) else list(entry)
    for edit in found:
        if not isinstance(edit, AnyEdit):
            raise BadInput(f"{edit!r} is not an edit.", hint="Give an Edit, or a list of them.")
    return found


def _parts(base: Base, lists: list[list[AnyEdit]], budget: int | str) -> list[tuple[int, list[int]]]:
    """The entries in parts that fit the budget, those that begin highest first (they are soon done)."""
    spec = base.spec
    hidden = (
        0 if isinstance(spec.mlp, NoMLP) else spec.mlp.width * (3 if isinstance(spec.mlp, GatedMLP) else 2)
    )
    inner = 2 * (spec.attention.n_heads + spec.attention.n_key_value_heads) * spec.attention.d_head
    a_token = (4 * spec.d_model + max(inner, hidden)) * base.model.dtype.itemsize
    limit = read_size(budget)
    tokens = min(TOKENS, limit // a_token)
    if tokens < base.n:
        raise TooLarge(
            f"One edited run of {base.n} tokens takes {spell(base.n * a_token)}, past the budget of "
            f"{spell(limit)}.",
            hint="Give more, or a shorter text.",
            given={"needed": base.n * a_token, "budget": limit},
        )

    def lowest(entry: list[AnyEdit]) -> int:
        layers = [_layer(edit, spec) for edit in entry]
        return min(layers, default=spec.n_layers)

    order = sorted(range(len(lists)), key=lambda i: -lowest(lists[i]))
    parts: list[tuple[int, list[int]]] = []
    part: list[int] = []
    used = done = 0
    for index in order:
        size = base.n - min((_first_asked(edit, base) for edit in lists[index]), default=base.n)
        if part and used + size > tokens:
            parts.append((done, part))
            done, part, used = done + len(part), [], 0
        part.append(index)
        used += size
    return [*parts, (done, part)] if part else parts


def _layer(edit: AnyEdit, spec: Spec) -> int:
    """The first layer that an edit changes: -1 in the embeddings, `n_layers` at the end."""
    if edit.place.layer is not None:
        return edit.place.layer
    return spec.n_layers if edit.place.kind in FINAL else -1


def _first_asked(edit: AnyEdit, base: Base) -> int:
    """The first position an edit names; 0 if it names none."""
    if isinstance(edit, FunctionEdit) or edit.where.positions is None or not base.spec.causal:
        return 0
    return min(p % base.n if -base.n <= p < base.n else 0 for p in edit.where.positions)


def _named(edit: AnyEdit, n: int) -> int:
    """The first position an edit names; `n` if it names none."""
    if isinstance(edit, FunctionEdit) or edit.where.positions is None:
        return n
    return min(p % n for p in edit.where.positions)


# --- from entries to rows ------------------------------------------------------------------------
@dataclass
class _Change:
    """What an entry does to the base run's value at one site."""

    index: int
    positions: Tensor  # that are another, in order
    value: Tensor  # [position, ...] of those


def _measure(
    base: Base,
    part: list[int],
    lists: list[list[AnyEdit]],
    metric: Metric,
    scored: list[int],
    found: Tensor,
    progress: Progress,
) -> None:
    rows: list[Row] = []
    by_site: dict[Site, list[int]] = {}
    for index in part:
        _check(base, lists[index])
        first = lists[index][0] if len(lists[index]) == 1 else None
        if first is not None and first.place.kind in QUICK and not _needs_all(first):
            by_site.setdefault(first.place, []).append(index)
        else:
            rows += _general(base, index, lists[index])
    for place, indices in by_site.items():
        changes = [change for i in indices if (change := _changed(base, i, lists[i][0])) is not None]
        rows += _quick(base, place, changes)
    changed = {row.index for row in rows}
    unchanged = [index for index in part if index not in changed]
    if unchanged:
        found[unchanged] = measure_base(base, metric)
    if rows:
        final = Wave(base, scored).run(rows, progress)
        found[[row.index for row in rows]] = _read(base, rows, final, metric, scored)
    for index in part:
        if not torch.isfinite(found[index]):
            raise NotFinite(
                f"The metric {metric.name!r} is {found[index].item()} for the entry "
                f"{' and '.join(map(str, lists[index]))!r}.",
                hint="Look at the edit's value, or at the metric.",
                given={"entry": index},
            )


def _check(base: Base, entry: list[AnyEdit]) -> None:
    for edit in entry:
        try:
            select(base.spec, str(edit.place))
        except Exception as error:
            raise EditNeverFired(
                f"The edit {str(edit)!r} never fires: {getattr(error, 'message', error)}",
                hint=getattr(error, "hint", ""),
                given={"edit": str(edit)},
            ) from error


def _needs_all(edit: AnyEdit) -> bool:
    """Whether an edit reads more than the positions it changes, so that all must be there."""
    return isinstance(edit, FunctionEdit) or (isinstance(edit.how, Mean) and edit.how.value is None)


def _edited(base: Base, edit: AnyEdit) -> tuple[Tensor, Tensor]:
    """A site's value in the base run, and the same edited, `[1, ...]` each."""
    value = base.value(edit.place)
    frame = Frame((base.n,), range(base.n), range(base.n))
    changed = apply(edit, value, frame)
    return value, value if changed is None else changed


def _changed(base: Base, index: int, edit: AnyEdit) -> _Change | None:
    value, edited = _edited(base, edit)
    differs = (edited != value)[0].flatten(1).any(-1)
    if not differs.any():
        return None
    positions = differs.nonzero()[:, 0]
    return _Change(index, positions, edited[0, positions])


def _general(base: Base, index: int, entry: list[AnyEdit]) -> list[Row]:
    """An entry of any kind: it begins at the lowest layer it edits, at the first position it changes."""
    spec = base.spec
    layer = max(0, min((_layer(edit, spec) for edit in entry), default=spec.n_layers))
    if any(edit.place.layer is None and edit.place.kind not in FINAL for edit in entry):
        return [_from_the_embedding(base, index, entry)]
    position = base.n
    for edit in entry:
        if _needs_all(edit) or not spec.causal:
            position = 0
            break
        value, edited = _edited(base, edit)
        axis = 2 if "query" in edit.place.axes else 1
        differs = (edited != value).transpose(1, axis)[0].flatten(1).any(-1)
        if differs.any():
            position = min(position, int(differs.nonzero()[0, 0]))
    if position == base.n:
        return []
    # An edit that names positions is made at all of them, also where it changes nothing.
    position = min(position, *(_named(edit, base.n) for edit in entry))
    if position:
        entry = [from_position(edit, base.value(edit.place), position) for edit in entry]
    return [Row(index, layer, position, base.stream[layer][position:], list(entry))]


def _from_the_embedding(base: Base, index: int, entry: list[AnyEdit]) -> Row:
    """An entry that edits an embedding: the tokens are embedded again, with it."""
    place = site("resid_pre", 0)
    early = [edit for edit in entry if edit.place.layer is None and edit.place.kind not in FINAL]
    residual = base.model.run(base.run.tokens, keep=[place], edits=early, stop=1, logits=False)[place][0]
    rest = [edit for edit in entry if edit not in early]
    return Row(index, 0, 0, residual, rest)


def _quick(base: Base, place: Site, changes: list[_Change]) -> list[Row]:
    """Rows of single edits at one site: only the changed positions go through the rest of the layer."""
    if not changes:
        return []
    spec, layer = base.spec, place.layer
    assert layer is not None
    positions = torch.cat([change.positions for change in changes])
    tokens = torch.cat([change.value for change in changes])  # [token, ...]
    block = base.block(layer)
    if place.kind == "resid_pre":
        return _rows(base, layer, changes, tokens)
    if place.kind == "z":
        tokens = block.attention.output(tokens.flatten(1))
    enters = base.stream[layer][positions]
    if place.kind == "mlp_post":
        assert block.mlp is not None
        tokens = block.mlp.output(tokens)
    if isinstance(spec.block, ParallelPreNorm) and place.kind != "resid_post":
        beside = "mlp_out" if place.kind in ("z", "attn_out") else "attn_out"
        return _rows(
            base, layer + 1, changes, enters + tokens + base.value(site(beside, layer))[0, positions]
        )
    if place.kind in ("z", "attn_out"):
        tokens = enters + tokens
    if place.kind in ("z", "attn_out", "resid_mid"):  # now the stream after attention
        if block.mlp is None:
            return _rows(base, layer + 1, changes, tokens)
        if isinstance(spec.block, PostNorm):
            tokens = block.ln1.apply_to(tokens)
            tokens = tokens + block.mlp(tokens, UNTAPPED, layer)
        else:
            tokens = tokens + block.mlp(block.ln2.apply_to(tokens), UNTAPPED, layer)
    elif place.kind in ("mlp_post", "mlp_out"):
        before = "ln1" if isinstance(spec.block, PostNorm) else "resid_mid"
        tokens = base.value(site(before, layer))[0, positions] + tokens
    if isinstance(spec.block, PostNorm):
        tokens = block.ln2.apply_to(tokens)
    return _rows(base, layer + 1, changes, tokens)


def _rows(base: Base, layer: int, changes: list[_Change], tokens: Tensor) -> list[Row]:
    """Rows entering `layer` with the base run's stream, but at the changed positions."""
    found, at = [], 0
    stream = base.stream[layer]
    for change in changes:
        count = len(change.positions)
        first = int(change.positions[0]) if base.spec.causal else 0
        residual = stream[first:].clone()
        residual[change.positions - first] = tokens[at : at + count]
        found.append(Row(change.index, layer, first, residual))
        at += count
    return found


# --- from final streams to numbers ---------------------------------------------------------------
def _read(base: Base, rows: list[Row], final: Tensor, metric: Metric, scored: list[int]) -> Tensor:
    """The metric of each row, `[row]`, a batch of rows at a time."""
    transformer, spec = base.model.transformer, base.spec
    few = metric.tokens is not None and not isinstance(spec.head, MaskedTokenHead)
    an_answer = (len(metric.tokens or ()) if few else spec.vocab_size) * len(scored)
    size = max(1, 32_000_000 // max(1, an_answer))
    values = torch.empty(len(rows), dtype=torch.float64)
    at_end = [i for i, row in enumerate(rows) if row.edited_at_the_end]
    plain = [i for i in range(len(rows)) if not rows[i].edited_at_the_end]
    for begin in range(0, len(plain), size):
        some = plain[begin : begin + size]
        if few:
            assert metric.tokens is not None
            logits = read_tokens(transformer, final[some], metric.tokens)
        else:
            logits = transformer.read_out(final[some])
            if metric.tokens is not None:
                logits = logits[..., list(metric.tokens)]
        values[some] = metric.value(logits).double().cpu()
    for i in at_end:
        tap = RowTap([rows[i]], Frame((base.n,), range(base.n), scored))
        logits = transformer.read_out(final[i : i + 1], tap)
        if metric.tokens is not None:
            logits = logits[..., list(metric.tokens)]
        values[i] = float(metric.value(logits)[0])
    return values


def naive_sweep(base: Base, entries: Sequence[Entry], metric: Metric) -> Tensor:
    """The same numbers, the plain way: one whole forward an entry. The yardstick of the tests."""
    found = []
    for entry in map(_as_list, entries):
        logits = base.model.run(base.run.tokens, edits=entry).logits[0, metric.positions(base.n)][None]
        if metric.tokens is not None:
            logits = logits[..., list(metric.tokens)]
        found.append(float(metric.value(logits)[0]))
    return torch.tensor(found, dtype=torch.float64)


__all__ = ["Base", "Edit", "Entry", "measure_base", "naive_sweep", "sweep"]
