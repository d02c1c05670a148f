"""One prompt, run once: what every edit of a sweep has in common with every other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site, stream_of
from llm_workings.models.transformer import Block, KeyValueCache, Rotation
from llm_workings.trace.apply import FINAL

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel


class Base:
    """A run of one text: its stream at every stop, its keys and values, and any site on demand.

    Args:
        model: any of the families.
        prompt: one text, or its token ids.

    Attributes:
        n: tokens.
        stream: the residual stream at each stop (`sites.stream_of`), `[position, d_model]` each.

    Raises what `model.run` raises, and `BadInput` for several texts.
    """

    def __init__(self, model: LanguageModel, prompt: Any, progress: Progress = SILENT):
        self.model, self.spec = model, model.spec
        run = model.run(prompt, resumable=True, progress=progress)
        if run.batch.size != 1:
            raise BadInput(
                f"A sweep takes one text at a time; {run.batch.size} were given.",
                hint="Sweep them one after the other.",
            )
        self.run, self.batch, self.n = run, run.batch, run.batch.width
        self.stream = [run[place][0] for place in stream_of(self.spec)]
        self.cache: KeyValueCache | None = run.cache if self.spec.causal else None
        self._values: dict[Site, Tensor] = {}

    @property
    def logits(self) -> Tensor:
        """The model's own answer, `[position, vocabulary]`."""
        return self.run.logits[0]

    @property
    def tokens(self) -> list[int]:
        return [int(token) for token in self.run.tokens[0]]

    @cached_property
    def rotation(self) -> Rotation | None:
        """The angles of every position."""
        positions = torch.arange(self.n, device=self.model.device)
        return self.model.transformer.rotation(positions, self.model.dtype)

    def value(self, place: Site) -> Tensor:
        """A site's value in this run, `[1, ...]`; its layer is run again at the first asking, alone."""
        if place not in self._values:
            self.hold([place])
        return self._values[place]

    def hold(self, places: list[Site]) -> None:
        """Have the values of several sites at hand, with one run of each layer at the most."""
        missing = [place for place in places if place not in self._values]
        by_layer: dict[int | None, list[Site]] = {}
        for place in missing:
            by_layer.setdefault(place.layer, []).append(place)
        for layer, wanted in by_layer.items():
            if layer is None:
                late = all(place.kind in FINAL for place in wanted)
                start = self.run.at(self.spec.n_layers - 1) if late else None
                prompt = None if late else self.run.tokens
                found = self.model.run(prompt, keep=wanted, resume=start, stop=None if late else 0)
            else:
                found = self.model.run(keep=wanted, resume=self.run.at(layer), stop=layer + 1, logits=False)
            for place in wanted:
                self._values[place] = found[place]

    def block(self, layer: int) -> Block:
        """The model's block, as what it is."""
        return cast(Block, self.model.transformer.blocks[layer])

    def release(self) -> None:
        """Let go of the values held; they can be had again."""
        self._values.clear()

    def keys_before(self, layer: int, position: int) -> tuple[Tensor, Tensor] | None:
        """Keys (after rotation) and values of the positions before, `[1, position, heads, e]` each."""
        if self.cache is None or position == 0:
            return None
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        assert keys is not None
        assert values is not None
        return keys[:, :position], values[:, :position]
