"""The residual stream as a line of stops: what each part adds to it, at every position.

    embed | attention.0 | mlp.0 | attention.1 | ...        x_after = x_before + added

In a post-norm model (BERT) the sum is normed at each stop, x_after = norm(x_before + added). In a parallel
one (Pythia) attention and MLP read the same stream; the stop between the two is then the sum so far, which
no part of the model reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llm_workings.core.errors import NotSupported
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, site
from llm_workings.models.spec import NoMLP, PostNorm, Spec

from .base import Base
from .direct_attribution import difference_of, name_of, norm_in_words, through_norm, why_not

StopKind = Literal["embed", "attention", "mlp"]


@dataclass(frozen=True)
class Stop:
    """A place where something is added to the stream.

    Attributes:
        kind: the embedding, an attention or an MLP.
        layer: of which block; None for the embedding.
    """

    kind: StopKind
    layer: int | None = None

    def __str__(self) -> str:
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"

    @property
    def adds(self) -> Site:
        """The site that holds what is added here: an edit of it changes what this stop adds."""
        kinds = {"embed": "resid_pre", "attention": "attn_out", "mlp": "mlp_out"}
        return site(kinds[self.kind], self.layer or 0)


@dataclass(frozen=True, eq=False)
class Added:
    """What happens to the stream at a stop, `[position, d_model]` each.

    `before` is None at the embedding, where there is no stream yet.
    """

    stop: Stop
    before: Tensor | None
    added: Tensor
    after: Tensor


def stops_of(spec: Spec) -> tuple[Stop, ...]:
    """The stops of a model, in order."""
    parts: tuple[StopKind, ...] = ("attention",) if isinstance(spec.mlp, NoMLP) else ("attention", "mlp")
    return (Stop("embed"), *(Stop(kind, layer) for layer in range(spec.n_layers) for kind in parts))


def additions(base: Base, progress: Progress = SILENT) -> Iterator[Added]:
    """What each stop of a run adds, in order; of each layer only while it is looked at."""
    spec = base.spec
    parts = [stop.kind for stop in stops_of(spec) if stop.layer == 0]
    post = isinstance(spec.block, PostNorm)
    yield Added(Stop("embed"), None, base.stream[0], base.stream[0])
    for layer in range(spec.n_layers):
        progress.report("following the stream", layer, spec.n_layers)
        keep = [Stop(kind, layer).adds for kind in parts] + ([site("ln1", layer)] if post else [])
        run = base.model.run(keep=keep, resume=base.run.at(layer), stop=layer + 1, logits=False)
        before = base.stream[layer]
        for kind in parts:
            stop = Stop(kind, layer)
            added = run[stop.adds][0]
            if kind == parts[-1]:
                after = base.stream[layer + 1]
            else:
                after = run[site("ln1", layer)][0] if post else before + added
            yield Added(stop, before, added, after)
            before = after


class Shares:
    """What each stop adds to a logit by itself, at every position (see `direct_attribution`).

    share = added · g / s, with s the final norm's divisor at that position. At each position the shares of
    all stops and the constants add up to the logit there.

    Args:
        base: a run.
        right: ids of the tokens whose mean logit it is.
        wrong: ids of those whose mean logit is taken off.

    Attributes:
        name: what is attributed.
        logit: `[position]` float64, what the model said.
        scale: `[position]` float64, the divisor s.
        constants: the shares of what is added at the end, the same at each position.

    Raises `NotSupported` for a post-norm model, or one without a linear head (`why_not`).
    """

    def __init__(self, base: Base, right: Sequence[int], wrong: Sequence[int] = ()):
        model = base.model
        if reason := why_not(model):
            raise NotSupported(reason, hint="Ablation and patching measure a part's effect in any model.")
        self._model = model
        with torch.no_grad():
            unembed = model.transformer.unembed
            row = difference_of(unembed.weight, right, wrong)
            self._direction, self.scale, shift = through_norm(model, row, base.stream[-1].double())
            self.constants = {} if shift is None else {"final_norm.bias": shift}
            if unembed.bias is not None:
                self.constants["unembed.bias"] = float(difference_of(unembed.bias, right, wrong))
            self.logit = difference_of(base.logits.T, right, wrong)
        self.name = name_of(model, right, wrong)

    def of(self, added: Tensor) -> Tensor:
        """`[position]` float64: the share of what a stop adds, `[position, d_model]`."""
        return added.double() @ self._direction / self.scale

    def norm_at(self, position: int) -> str:
        """How the final norm is treated there, in a sentence."""
        return norm_in_words(self._model, float(self.scale[position]))
