"""What stands in place of an ablated part: nothing, its mean over a data set, or another text's.

Zero takes a model where it never was in training; the mean keeps what is the same for every text; resampling
keeps the part within what it really does (Chan et al. 2022, causal scrubbing, appendix; Wang et al. 2022,
section 2.1, on why the mean). The three can rank parts differently: say which one a result is of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.seeds import python_generator
from llm_workings.models.sites import Site, select
from llm_workings.trace.prompt import read_prompt

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

TOKENS = 1024  # of the data set that are run at a time


class Replacement(Protocol):
    """What stands in place of an ablated part's value."""

    @property
    def name(self) -> str:
        """What to call it: zero, mean, resample ..."""

    def value(self, place: Site, n: int) -> Tensor | None:
        """At a site, for a text of `n` tokens: `[n or 1, ...]`, without the batch; None means zero."""


class Zeros:
    """The part writes nothing."""

    name = "zero"

    def value(self, place: Site, n: int) -> Tensor | None:
        return None


ZERO = Zeros()


class MeanOf:
    """The part writes what it writes on average over a data set.

    Args:
        texts: the data set: texts or lists of ids; each real token counts once.
        by_position: a mean for each position (over the texts that reach it), or one for all. The first
            position's values are often of another kind than all others' (attention rests on it), which
            one mean for all mixes in.

    Raises `BadInput` for an empty data set, and, by position, when a text is longer than all of it.
    """

    def __init__(self, model: LanguageModel, texts: Sequence[Any], *, by_position: bool = False):
        self.model, self.rows, self.by_position = model, _rows(model, texts), by_position
        self.name = "mean by position" if by_position else "mean"
        self._means: dict[Site, Tensor] = {}

    def value(self, place: Site, n: int) -> Tensor:
        longest = max(map(len, self.rows))
        if self.by_position and n > longest:
            raise BadInput(
                f"The longest of the {len(self.rows)} texts has {longest} tokens, so there is no mean for "
                f"position {longest} of a text of {n}.",
                hint="Give longer texts, or one mean for all positions: by_position=False.",
            )
        if place not in self._means:
            self._add_up(place.kind)
        return self._means[place][:n]

    def _add_up(self, kind: str) -> None:
        """The means of a kind of site in every layer, with one pass over the data set."""
        places = select(self.model.spec, f"{kind}.*")
        longest = max(map(len, self.rows))
        counts = torch.zeros(longest, dtype=torch.float64)
        for row in self.rows:
            counts[: len(row)] += 1
        sums: dict[Site, Tensor] = {}
        for batch in _batches(self.rows):
            run = self.model.run(batch, keep=places, logits=False)
            for number, length in enumerate(run.lengths):
                for place in places:
                    values = run[place][number, :length].cpu().double()
                    if place not in sums:
                        sums[place] = values.new_zeros(longest, *values.shape[1:])
                    sums[place][:length] += values
        for place, total in sums.items():
            shape = [-1, *[1] * (total.ndim - 1)]
            if self.by_position:
                mean = total / counts.view(shape)
            else:
                mean = total.sum(0, keepdim=True) / float(counts.sum())
            self._means[place] = mean.to(self.model.device, self.model.dtype)


class Resample:
    """The part writes what it writes in another text, drawn by seed; all parts take it from the same one.

    Args:
        texts: to draw from: texts or lists of ids.
        by_position: take all positions from one text of as many tokens; else each position takes those of
            some position of some text (the first one those of a first one, which is of another kind).

    One draw says little of the average: repeat it with other seeds.

    Raises `BadInput` for no texts, or for none as long as the one ablated (by position).
    """

    def __init__(
        self, model: LanguageModel, texts: Sequence[Any], *, seed: int = 0, by_position: bool = True
    ):
        self.model, self.rows, self.seed, self.by_position = model, _rows(model, texts), seed, by_position
        self.name = f"resample, seed {seed}"
        self._values: dict[tuple[Site, int], Tensor] = {}

    def drawn(self, n: int) -> list[tuple[int, int]]:
        """For each position of a text of `n` tokens, the text and the position that its value is from."""
        draw = python_generator(self.seed)
        if self.by_position:
            fitting = [i for i, row in enumerate(self.rows) if len(row) == n]
            if not fitting:
                raise BadInput(
                    f"None of the {len(self.rows)} texts has {n} tokens; they have "
                    f"{', '.join(map(str, sorted(set(map(len, self.rows)))))}.",
                    hint="Give one as long, or take positions from anywhere: by_position=False.",
                )
            text = draw.choice(fitting)
            return [(text, position) for position in range(n)]
        later = [(i, p) for i, row in enumerate(self.rows) for p in range(1, len(row))]
        first = (draw.randrange(len(self.rows)), 0)
        if n > 1 and not later:
            raise BadInput("All texts are one token long: there is nothing to draw from.")
        return [first, *(draw.choice(later) for _ in range(1, n))]

    def value(self, place: Site, n: int) -> Tensor:
        if (place, n) not in self._values:
            drawn = self.drawn(n)
            chosen = sorted({text for text, _ in drawn})
            places = select(self.model.spec, f"{place.kind}.*")
            parts: dict[Site, dict[int, Tensor]] = {place: {} for place in places}
            for text in chosen:
                run = self.model.run([self.rows[text]], keep=places, logits=False)
                for each in places:
                    parts[each][text] = run[each][0]
            for each in places:
                picked = [parts[each][text][position] for text, position in drawn]
                self._values[each, n] = torch.stack(picked)
        return self._values[place, n]


def aligned(model: LanguageModel, texts: Sequence[Any], n: int) -> bool:
    """Whether a mean by position says something: several texts, each of `n` tokens as the one ablated."""
    lengths = [len(row) for row in _rows(model, texts)]
    return len(lengths) > 1 and set(lengths) == {n}


def _rows(model: LanguageModel, texts: Sequence[Any]) -> list[list[int]]:
    """Each text's token ids."""
    if isinstance(texts, str):
        texts = [texts]
    if not len(texts):
        raise BadInput("The data set is empty: there is nothing to take values from.")
    batch = read_prompt(model, texts)
    return [row[:length] for row, length in zip(batch.tokens.tolist(), batch.lengths, strict=True)]


def _batches(rows: list[list[int]]) -> Iterator[list[list[int]]]:
    """The rows, as many at a time as TOKENS allows."""
    batch: list[list[int]] = []
    for row in sorted(rows, key=len):
        if batch and (len(batch) + 1) * len(row) > TOKENS:
            yield batch
            batch = []
        batch.append(row)
    yield batch
