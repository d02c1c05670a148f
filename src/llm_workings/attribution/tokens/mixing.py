"""How much of each token is in each: attention rollout and value zeroing. Unsigned, and of no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site
from llm_workings.models.transformer import UNTAPPED, Block
from llm_workings.trace.prompt import read_prompt

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel


@dataclass(frozen=True)
class Mixing:
    """Who is made of whom.

    Attributes:
        layers: `[layer, position, source]`: each layer's own mixing, rows adding up to 1.
        whole: `[layer, position, source]`: from the embeddings up to and with that layer, the product of the
            layers' (rollout).
        tokens: the text's tokens, as text.
        method: its name.
    """

    layers: Tensor
    whole: Tensor
    tokens: tuple[str, ...]
    method: str

    def of(self, position: int = -1) -> Tensor:
        """What the last layer's stream at a position is made of, `[source]`."""
        return self.whole[-1, position]


def attention_rollout(model: LanguageModel, prompt: Any) -> Mixing:
    """A_L · ... · A_1 with A_l = (mean pattern over heads + 1) / 2.

    Abnar and Zuidema 2020 (arXiv 2005.00928). The half is the residual stream. What values hold, what MLPs
    and norms do and which answer is given are not in it: it is a picture of where attention pointed, not an
    attribution.
    """
    run = model.run(prompt, keep=["pattern.*"], logits=False)
    _one(run.batch.size)
    patterns = torch.stack([run["pattern", layer][0].mean(0) for layer in range(model.spec.n_layers)])
    mixed = (patterns.double().cpu() + torch.eye(run.batch.width, dtype=torch.float64)) / 2
    return Mixing(mixed, _rolled(mixed), _pieces(model, run.tokens), "attention rollout")


def value_zeroing(model: LanguageModel, prompt: Any, progress: Progress = SILENT) -> Mixing:
    """How far a layer's answer at i turns when token j's value is zero, 1 − cos.

    Mohebbi et al. 2023 (arXiv 2301.12971). In each layer alone, from the stream that really enters it, for
    all heads at once; rows are scaled to add up to 1. Norms, MLP and residual stream of the layer are in
    it. The layers' product is the rollout.
    """
    batch = read_prompt(model, prompt)
    _one(batch.size)
    n, transformer = batch.width, model.transformer
    with torch.no_grad():
        entering = _Entering(model.spec.n_layers)
        transformer(batch.tokens, tap=entering, stop=model.spec.n_layers)
        rotation = transformer.rotation(torch.arange(n, device=model.device), model.dtype)
        layers = []
        for layer, stream in enumerate(entering.streams):
            progress.report("zeroing values", layer, model.spec.n_layers)
            block = transformer.blocks[layer]
            assert isinstance(block, Block)
            whole = block(stream, UNTAPPED, rotation, None, None)[0]
            turned = torch.empty(n, n, dtype=torch.float64)
            size = max(1, 2048 // n)
            for begin in range(0, n, size):
                places = list(range(begin, min(begin + size, n)))
                without = block(stream.expand(len(places), -1, -1), _Zeroed(places), rotation, None, None)
                likeness = torch.cosine_similarity(
                    without.double(), whole.double(), dim=-1
                )  # [place, position]
                turned[:, places] = (1 - likeness).clamp(min=0).T.cpu()
            if model.spec.causal:
                turned = turned.tril()  # what is not seen changes nothing but roundings
            layers.append(_scaled(turned))
    mixed = torch.stack(layers)
    return Mixing(mixed, _rolled(mixed), _pieces(model, batch.tokens), "value zeroing")


class _Entering:
    """Keeps the stream that enters each block, `[1, n, d]`."""

    def __init__(self, n_layers: int):
        self.streams: list[Tensor] = []

    def wants(self, where: Site) -> bool:
        return False

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where.kind == "resid_pre":
            self.streams.append(value)
        return value


class _Zeroed:
    """Row r's value vector at the r-th of the places is zero."""

    def __init__(self, places: Sequence[int]):
        self.places = places

    def wants(self, where: Site) -> bool:
        return False

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where.kind != "v":
            return value
        value = value.clone()
        value[torch.arange(len(self.places)), self.places] = 0
        return value


def _scaled(turned: Tensor) -> Tensor:
    """Rows that add up to 1; a row in which nothing turned is made of itself."""
    total = turned.sum(-1, keepdim=True)
    own = torch.eye(len(turned), dtype=turned.dtype)
    return torch.where(total > 0, turned / torch.where(total > 0, total, 1), own)


def _rolled(layers: Tensor) -> Tensor:
    found = [layers[0]]
    for layer in layers[1:]:
        found.append(layer @ found[-1])
    return torch.stack(found)


def _pieces(model: LanguageModel, ids: Tensor) -> tuple[str, ...]:
    return tuple(model.tokenizer.pieces(ids[0].tolist()))


def _one(rows: int) -> None:
    if rows != 1:
        raise BadInput(f"One text is looked at at a time; {rows} were given.")
