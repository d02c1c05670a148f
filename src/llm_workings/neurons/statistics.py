"""One neuron over a corpus: what was kept of it, its examples, and what is odd about it.

    dead           |a| is never above 0.01 of the layer's root mean square
    duplicate      its correlation with another neuron of the layer is 0.95 or more, either way
    polysemantic   the inputs at its highest examples are hardly more alike than any two: their mean cosine,
                   the layer's mean input taken off, is below 0.1. 1 over that cosine is about how many
                   unrelated kinds of input they are

Each threshold is a convention; the numbers stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_workings.core.progress import SILENT, Progress
from llm_workings.trace.guesses import piece_of

from .corpus import TOKENS, Corpus
from .passing import Examples, Kept
from .running import BEFORE, BINS
from .scan import Scan, scan_layer
from .weights import check_neuron

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

DEAD, DUPLICATE, UNLIKE = 0.01, 0.95, 0.1
Odd = Literal["dead", "duplicate", "polysemantic"]


@dataclass(frozen=True, eq=False)
class Example:
    """A place in the corpus and the activations around it.

    Attributes:
        passage, position: where it is, the position counted in the passage.
        ids: the tokens shown.
        values: their activations; NaN for tokens that do not count.
        at: which of them it is.
    """

    passage: int
    position: int
    ids: tuple[int, ...]
    values: np.ndarray
    at: int

    @property
    def value(self) -> float:
        return float(self.values[self.at])


@dataclass(frozen=True)
class Flag:
    """Whether something is odd about a neuron, with the statistic.

    `value` is compared with `threshold`; `with_neuron` is the other one of a duplicate.
    """

    name: Odd
    raised: bool
    value: float
    threshold: float
    with_neuron: int | None = None


@dataclass(frozen=True)
class TokenMean:
    """A kind of token: its id, the mean activation at it, and how often it came."""

    token: int
    mean: float
    count: int


@dataclass(frozen=True, eq=False)
class Statistics:
    """One unit, a number at every token, over a corpus. Printing it shows the card in text.

    Attributes:
        name: what it is.
        kept: what was kept of it and of those that were read with it.
        edges, counts: its histogram: counts `[bin]`, edges `[bin + 1]`, cut to where it has values.
        mean, spread, low, high: of its values.
        top, bottom, drawn: examples: the highest of different passages, the lowest, some at random.
        selective, averse: the kinds of tokens with the highest and the lowest means.
        selectivity: the share of its variance that the kind of token explains (epsilon squared).
    """

    model: LanguageModel
    name: str
    kept: Kept
    edges: np.ndarray
    counts: np.ndarray
    mean: float
    spread: float
    low: float
    high: float
    top: tuple[Example, ...]
    bottom: tuple[Example, ...]
    drawn: tuple[Example, ...]
    selective: tuple[TokenMean, ...]
    averse: tuple[TokenMean, ...]
    selectivity: float

    def __repr__(self) -> str:
        tokens = self.model.tokenizer
        lines = [
            f"{self.name}, in {self.model.name}, over {self.kept.tokens:,} tokens of "
            f"{self.kept.title}: mean {self.mean:+.3g}, spread {self.spread:.3g}, "
            f"{self.low:+.3g} to {self.high:+.3g}",
            "most at "
            + ", ".join(f"{piece_of(tokens, each.token)!r} {each.mean:+.3g}" for each in self.selective[:6]),
        ]
        for example in self.top[:5]:
            text = "".join(piece_of(tokens, index) for index in example.ids[: example.at + 1])
            lines.append(f"  {example.value:+8.3g}  …{text[-60:]!r}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class NeuronStatistics(Statistics):
    """A neuron over a corpus.

    Attributes:
        open: the share of tokens at which what the activation function is given is above 0.
        likeness: mean cosine of its inputs at its highest examples; `likeness_drawn` at any places.
        alike: (neuron of the same layer, correlation), the strongest first.
        flags: dead, duplicate, polysemantic.
    """

    layer: int
    neuron: int
    open: float
    likeness: float
    likeness_drawn: float
    alike: tuple[tuple[int, float], ...]
    flags: tuple[Flag, ...]

    def __repr__(self) -> str:
        raised = [
            f"{flag.name}: {flag.value:.3g} (threshold {flag.threshold:g})"
            for flag in self.flags
            if flag.raised
        ]
        return "\n".join([super().__repr__(), *raised])


@dataclass(frozen=True, eq=False)
class LayerReading:
    """A layer's neurons over a corpus; `reading[neuron]` is one of them."""

    model: LanguageModel
    scan: Scan

    def __len__(self) -> int:
        return len(self.scan.mean)

    def __getitem__(self, neuron: int) -> NeuronStatistics:
        check_neuron(self.model, self.scan.layer, neuron)
        return _statistics(self.model, self.scan, neuron)

    def flagged(self, name: Odd) -> list[int]:
        """The neurons of which this is so."""
        return [neuron for neuron in range(len(self)) if _flags(self.scan, neuron)[name].raised]

    def __repr__(self) -> str:
        found = {name: len(self.flagged(name)) for name in ("dead", "duplicate", "polysemantic")}
        said = ", ".join(f"{count} {name}" for name, count in found.items())
        return (
            f"Layer {self.scan.layer} of {self.scan.model} over {self.scan.tokens:,} tokens of "
            f"{self.scan.title}: {len(self):,} neurons, {said}"
        )


def read_layer(
    model: LanguageModel,
    corpus: Corpus,
    layer: int,
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    cache: bool = True,
    progress: Progress = SILENT,
) -> LayerReading:
    """A layer's neurons over a corpus: see `scan_layer`, which says what it takes and raises."""
    made = scan_layer(model, corpus, layer, tokens=tokens, seed=seed, cache=cache, progress=progress)
    return LayerReading(model, made)


def _statistics(model: LanguageModel, scan: Scan, neuron: int) -> NeuronStatistics:
    return NeuronStatistics(
        **of_unit(model, f"Neuron {scan.layer}.{neuron}", scan, neuron),
        layer=scan.layer,
        neuron=neuron,
        open=float(scan.open[neuron]),
        likeness=float(scan.likeness[neuron]),
        likeness_drawn=scan.likeness_drawn,
        alike=tuple(zip(scan.alike[neuron].tolist(), scan.correlation[neuron].tolist(), strict=True)),
        flags=tuple(_flags(scan, neuron).values()),
    )


def of_unit(model: LanguageModel, name: str, kept: Kept, unit: int) -> dict[str, Any]:
    """The fields of `Statistics` of one of the units that were kept."""
    edges, counts = histogram(kept, unit)
    return {
        "model": model,
        "name": name,
        "kept": kept,
        "edges": edges,
        "counts": counts,
        **{each: float(getattr(kept, each)[unit]) for each in ("mean", "spread", "low", "high")},
        **{each: _examples(kept, getattr(kept, each), unit) for each in ("top", "bottom", "drawn")},
        "selective": _kinds(kept.best_kinds, kept.best_means, kept.best_counts, unit),
        "averse": _kinds(kept.worst_kinds, kept.worst_means, kept.worst_counts, unit),
        "selectivity": float(kept.selectivity[unit]),
    }


def histogram(kept: Kept, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit's histogram, edges `[bin + 1]` and counts `[bin]`, from its first to its last value."""
    width = 2.0 ** float(kept.exponent[unit])
    counts = kept.counts[unit]
    there = np.flatnonzero(counts)
    first, last = (int(there[0]), int(there[-1])) if len(there) else (BINS // 2, BINS // 2)
    return (np.arange(first, last + 2) - BINS // 2) * width, counts[first : last + 1]


def _examples(kept: Kept, places: Examples, unit: int) -> tuple[Example, ...]:
    found = []
    for number in range(places.rows.shape[1]):
        passage, position = int(places.rows[unit, number]), int(places.positions[unit, number])
        if passage < 0 or np.isnan(places.windows[unit, number, BEFORE]):
            continue
        begin = int(kept.begins[passage])
        end = int(kept.begins[passage + 1]) if passage + 1 < len(kept.begins) else len(kept.ids)
        window = places.windows[unit, number].astype(np.float32)
        first = max(0, position - BEFORE)
        last = min(end - begin, position - BEFORE + len(window))
        shift = position - BEFORE  # of the passage's token that stands first in the window
        found.append(
            Example(
                passage,
                position,
                tuple(kept.ids[begin + first : begin + last].tolist()),
                window[first - shift : last - shift],
                position - first,
            )
        )
    return tuple(found)


def _kinds(ids: np.ndarray, means: np.ndarray, counts: np.ndarray, neuron: int) -> tuple[TokenMean, ...]:
    rows = zip(ids[neuron].tolist(), means[neuron].tolist(), counts[neuron].tolist(), strict=True)
    return tuple(TokenMean(*row) for row in rows)


def _flags(scan: Scan, neuron: int) -> dict[Odd, Flag]:
    furthest = max(abs(float(scan.low[neuron])), abs(float(scan.high[neuron])))
    size = furthest / scan.rms if scan.rms > 0 else 0.0
    dead = size <= DEAD
    other = int(scan.alike[neuron, 0]) if scan.alike.shape[1] else None
    correlation = float(scan.correlation[neuron, 0]) if scan.alike.shape[1] else np.nan
    likeness = float(scan.likeness[neuron])
    return {
        "dead": Flag("dead", dead, size, DEAD),
        "duplicate": Flag(
            "duplicate", not dead and abs(correlation) >= DUPLICATE, correlation, DUPLICATE, other
        ),
        "polysemantic": Flag("polysemantic", not dead and likeness < UNLIKE, likeness, UNLIKE),
    }
