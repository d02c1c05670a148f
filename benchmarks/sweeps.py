"""Patching sweeps at GPT-2's shape and 16 tokens: against TransformerLens, and against the arithmetic itself.

Both patch the same values into the same weights and their grids are compared first. The two texts differ at
every token, so that no patch is free: between texts that begin alike ours does less still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pandas
import torch
from torch import Tensor

from llm_workings.causal import metrics
from llm_workings.causal.patching import Pair, patch
from llm_workings.models.spec import PlainMLP, Spec

from .gpt2 import peers
from .pairs import Row, compare

TOKENS = 16
TOLERANCE = 1e-4
ARITHMETIC_BAR = 2.0
IOI = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)


def rows(pairs: int) -> Iterator[Row]:
    _, lens, ours = peers()
    from transformer_lens import patching

    draw = torch.Generator().manual_seed(1)
    clean, corrupted = (torch.randint(50257, (1, TOKENS), generator=draw) for _ in range(2))
    pair = Pair(ours, clean, corrupted)
    metric = metrics.logit_difference(ours, 11, 12)

    with torch.no_grad():
        _, cache = lens.run_with_cache(clean)

        def theirs(kind: str, setter: object, index: pandas.DataFrame) -> Tensor:
            return patching.generic_activation_patch(
                lens, corrupted, cache, lambda x: x[0, -1, 11] - x[0, -1, 12], setter, kind, index_df=index
            )

        for what, kind, by, setter, every, bar in (
            ("layer by position", "resid_pre", ("layer", "position"), "layer_pos_patch_setter", 8, 1 / 30),
            ("every head", "z", ("layer", "head"), "layer_head_vector_patch_setter", 8, 1 / 20),
            (
                "heads by position",
                "z",
                ("layer", "head", "position"),
                "layer_pos_head_vector_patch_setter",
                64,
                1 / 30,
            ),
        ):
            found = patch(pair, kind, metric, by=by).values
            places = [tuple(place) for place in torch.ones_like(found).nonzero()[::every].tolist()]
            columns = [[place[axis] for place in places] for axis in range(len(by))]
            index = pandas.DataFrame(dict(zip(("layer", "head", "pos"), columns, strict=False)))
            index = index if "head" in by else index.rename(columns={"head": "pos"})
            if len(by) == 3:
                index = index[["layer", "pos", "head"]]
            some = partial(theirs, kind, getattr(patching, setter), index)
            _check(found[tuple(torch.tensor(column) for column in columns)], some())
            sweep = partial(patch, pair, kind, metric, by=by)
            row = compare(
                f"{what}, {found.numel()} patches",
                sweep,
                f"TransformerLens (one patch in {every} timed)",
                some,
                bar=bar,
                pairs=max(1, min(pairs, 3)),
                warm_up=0,
            )
            scale = found.numel() / len(places)
            yield replace(row, theirs=tuple(seconds * scale for seconds in row.theirs))
            if len(by) == 2:
                yield _against_arithmetic(what, sweep, needed(ours.spec, kind, TOKENS), pairs)
    yield from _real(pairs)


def needed(spec: Spec, kind: str, n: int) -> int:
    """Floating-point operations that the patches of a sweep make necessary, in products with weights.

    A patch changes the layers above it, at its position and those after. In the last layer the answer
    reads the keys and values of all of these, and the rest of the last position only. A head's patch, made
    at every position, also takes its layer's MLP.
    """
    d, a = spec.d_model, spec.attention
    assert isinstance(spec.mlp, PlainMLP)
    keys = 4 * d * a.n_key_value_heads * a.d_head
    rest = 4 * d * a.n_heads * a.d_head + 4 * d * spec.mlp.width
    mlp, write = 4 * d * spec.mlp.width, 2 * d * a.n_heads * a.d_head
    total = 0
    for layer in range(spec.n_layers):
        whole = spec.n_layers - 1 - layer  # layers taken at all positions, the last one apart
        if kind == "resid_pre":
            for position in range(n):
                size = n - position
                total += size * (whole * (keys + rest) + keys) + rest
            continue
        entered = n * (write + mlp) if whole else write + mlp
        above = n * ((whole - 1) * (keys + rest) + keys) + rest if whole else 0
        total += a.n_heads * (entered + above)
    return total


def _against_arithmetic(what: str, ours: Callable[[], object], operations: int, pairs: int) -> Row:
    """Ours against as many operations in products of 1024-cubed matrices, the machine's best rate."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times, rest = divmod(operations, 2 * 1024**3)
    last = torch.randn(max(1, rest // (2 * 1024**2)), 1024)

    def products() -> None:
        for _ in range(times):
            a @ b
        last @ b

    return compare(
        f"{what}, {operations / 1e9:.0f} billion operations",
        ours,
        "as many in square products",
        products,
        bar=ARITHMETIC_BAR,
        pairs=max(1, min(pairs, 10)),
    )


def _real(pairs: int) -> Iterator[Row]:
    from llm_workings.models.catalogue import WHEELS
    from llm_workings.trace.model import load

    if not WHEELS["smollm2-135m"].wheel.is_here():
        yield Row("sweeps of SmolLM2", "40 plain forwards", 1.0, skipped="the model is not here")
        return
    model = load("smollm2-135m")
    metric = metrics.logit_difference(model, " Mary", " John")

    def forwards() -> None:
        for _ in range(40):
            model.run(IOI[0])

    for kind in ("resid_pre", "z"):
        count = patch(Pair(model, *IOI), kind, metric).values.numel()
        yield compare(
            f"SmolLM2, {kind}, {count} patches",
            lambda kind=kind: patch(Pair(model, *IOI), kind, metric),
            "40 plain forwards",
            forwards,
            bar=1.0,
            pairs=max(1, min(pairs, 5)),
            warm_up=1,
        )


def _check(ours: Tensor, theirs: Tensor) -> None:
    distance = (ours - theirs.double()).abs().max().item()
    if not distance < TOLERANCE:
        raise SystemExit(f"Not the same sweep: the grids differ by {distance:g}.")
