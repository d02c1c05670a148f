"""Read the neurons of one layer over a corpus: one pass, kept in little, and on the disk for the next time.

    reading = read_layer(model, corpus(), layer=26)
    print(reading[1262])

Of each neuron there stay a histogram, moments, the passages in which it goes highest and lowest, some drawn
by a seed, its mean at each kind of token, and the neurons of its layer that go with it. What a neuron
is flagged for (dead, duplicate, polysemantic) stands in `statistics.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadFile
from llm_workings.core.files import write_whole
from llm_workings.core.paths import cache_folder
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.wire import Payload, pack, unpack
from llm_workings.core.wire import Tensor as Array
from llm_workings.models.sites import site

from .corpus import TOKENS, Corpus, Rows
from .running import WIDE, ByToken, Extremes, Histograms, Moments, around
from .weights import check_neuron, input_site, mlp_of

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

BATCH = 2048  # tokens that are run at a time
TOP, LOW, DRAWN = 12, 6, 8  # examples that are kept: highest, lowest, at random
KINDS = 12  # kinds of tokens that are kept, at each end
FEWEST = 3  # times a kind of token has to come for its mean to be listed
ALIKE = 8
HIGH = 0.1  # of the highest activation: what an example must reach for its input to be compared

PerNeuron = Annotated[np.ndarray, Array("float32", "neuron")]
Where = Annotated[np.ndarray, Array("int32", "neuron example")]
Windows = Annotated[np.ndarray, Array("float16", "neuron example place")]
Kinds = Annotated[np.ndarray, Array("int32", "neuron kind")]
KindMeans = Annotated[np.ndarray, Array("float32", "neuron kind")]


class Examples(Payload):
    """Places in the corpus: passage and position, -1 where there is none, and the activations around."""

    rows: Where
    positions: Where
    windows: Windows


class Scan(Payload):
    """What was kept of a layer's neurons."""

    key: str
    model: str
    corpus: str
    title: str
    layer: int
    tokens: int
    """Tokens that count."""
    whole: int
    """Tokens of the whole corpus."""
    ids: Annotated[np.ndarray, Array("int32", "token")]
    """All passages that were read, one after the other."""
    begins: Annotated[np.ndarray, Array("int32", "passage")]
    """Where each begins in `ids`."""
    counts: Annotated[np.ndarray, Array("int32", "neuron bin")]
    exponent: Annotated[np.ndarray, Array("int32", "neuron")]
    mean: PerNeuron
    spread: PerNeuron
    """Standard deviation."""
    low: PerNeuron
    high: PerNeuron
    open: PerNeuron
    """The share of tokens at which what the activation function is given is above 0."""
    top: Examples
    bottom: Examples
    drawn: Examples
    best_kinds: Kinds
    """Token ids of the highest means; -1 where there are fewer."""
    best_means: KindMeans
    best_counts: Kinds
    worst_kinds: Kinds
    worst_means: KindMeans
    worst_counts: Kinds
    selectivity: PerNeuron
    """The share of the variance that the kind of token explains (epsilon squared)."""
    likeness: PerNeuron
    """Mean cosine of its inputs at its highest examples (those above `HIGH` of the very highest), the
    layer's mean input taken off."""
    likeness_drawn: float
    """The same between places drawn at random."""
    alike: Kinds
    """The neurons of the layer whose activations go with it most, or against it."""
    correlation: KindMeans
    rms: float
    """Root mean square of all activations of the layer."""

    def passage(self, number: int) -> list[int]:
        """The token ids of one passage."""
        end = int(self.begins[number + 1]) if number + 1 < len(self.begins) else len(self.ids)
        return [int(index) for index in self.ids[int(self.begins[number]) : end]]


def scan_layer(
    model: LanguageModel,
    corpus: Corpus,
    layer: int,
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    cache: bool = True,
    progress: Progress = SILENT,
) -> Scan:
    """Read a layer's neurons over a corpus, or take what was kept of an earlier reading.

    Args:
        tokens: about how many tokens to read; passages evenly spread over a longer corpus.
        seed: of the examples at random.
        cache: whether to look for it, and keep it, in the cache folder.

    Raises `NotSupported` and `BadInput` as `check_neuron`, what tokenizing and running raise, `Cancelled`.
    """
    check_neuron(model, layer)
    key = key_of(model, corpus, layer, tokens, seed)
    if cache and (found := _stored(key)) is not None:
        return found
    made = _Scanner(model, corpus, layer, corpus.rows(model, tokens), seed).run(key, progress)
    if cache:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(_path(key), pack(made), example=f"{key}.safetensors")
    return made


def stored(model: LanguageModel, corpus: Corpus, *, tokens: int = TOKENS, seed: int = 0) -> dict[int, Scan]:
    """The earlier readings that were kept, by layer."""
    weights = _weights_key(model)
    keys = [key_of(model, corpus, i, tokens, seed, weights) for i in range(model.spec.n_layers)]
    found = {layer: _stored(key) for layer, key in enumerate(keys)}
    return {layer: scan for layer, scan in found.items() if scan is not None}


def key_of(
    model: LanguageModel, corpus: Corpus, layer: int, tokens: int, seed: int, weights: str | None = None
) -> str:
    """What a reading is kept as: of these weights, this text, this layer."""
    weights = weights or _weights_key(model)
    text = hashlib.sha256("\0".join(corpus.passages).encode("utf-8", "surrogatepass")).hexdigest()
    said = [weights, model.name, text, layer, tokens, seed, BATCH, TOP, LOW, DRAWN, KINDS, FEWEST, HIGH]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _weights_key(model: LanguageModel) -> str:
    """A fingerprint: the shape of every weight and some hundred numbers of it."""
    digest = hashlib.sha256()
    for name, weight in model.transformer.named_parameters():
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // 256)][:512].double().cpu().numpy()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(some.tobytes())
    return digest.hexdigest()


def _folder() -> Path:
    return cache_folder() / "neurons"


def _path(key: str) -> Path:
    return _folder() / f"{key}.safetensors"


def _stored(key: str) -> Scan | None:
    path = _path(key)
    try:
        return unpack(path.read_bytes(), Scan)
    except (OSError, BadFile):  # not there, or of another version: it is made again
        return None


class _Scanner:
    """One reading of one layer."""

    def __init__(self, model: LanguageModel, corpus: Corpus, layer: int, rows: Rows, seed: int):
        self.model, self.corpus, self.layer, self.rows, self.seed = model, corpus, layer, rows, seed
        self.width = mlp_of(model.spec, model.name).width
        lengths = [len(row) for row in rows.ids]
        self.begins = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
        self.ids = np.concatenate([np.array(row) for row in rows.ids])
        self.counted = [range(rows.first, length - rows.after) for length in lengths]
        present = [
            i
            for row, places in zip(rows.ids, self.counted, strict=True)
            for i in row[places.start : places.stop]
        ]
        self.kinds = np.unique(np.array(present))
        self.inputs = torch.zeros(len(self.ids), model.spec.d_model, dtype=torch.float16)
        draw = np.random.default_rng(seed)
        chosen = draw.permutation(len(rows.ids))[:DRAWN]
        self.drawn = {
            int(row): int(draw.choice(self.counted[row])) for row in chosen if len(self.counted[row])
        }
        self.windows: dict[int, Tensor] = {}

    def run(self, key: str, progress: Progress) -> Scan:
        histograms, moments = Histograms(self.width), Moments(self.width)
        top, bottom = Extremes(self.width, TOP), Extremes(self.width, LOW, highest=False)
        by_token = ByToken(len(self.kinds), self.width)
        done, total = 0, len(self.ids)
        for numbers in self._batches():
            progress.report(f"reading {self.corpus.title} at layer {self.layer}", done, total)
            values, before, counted, kinds = self._read(numbers)
            flat = values[counted]
            histograms.add(flat)
            moments.add(flat, before[counted])
            by_token.add(flat, kinds[counted])
            at = torch.tensor(numbers)
            for each in (top, bottom):
                each.add(values, counted, at)
            for i, number in enumerate(numbers):
                if number in self.drawn:
                    places = torch.full((1, self.width), self.drawn[number])
                    self.windows[number] = around(values[i : i + 1], places)[0]
            done += sum(len(self.rows.ids[number]) for number in numbers)
        progress.report(f"reading {self.corpus.title} at layer {self.layer}", total, total)
        return self._kept(key, histograms, moments, top, bottom, by_token)

    def _batches(self) -> Iterator[list[int]]:
        """Passages of like length together, about `BATCH` tokens at a time."""
        order = sorted(range(len(self.rows.ids)), key=lambda i: -len(self.rows.ids[i]))
        while order:
            many = max(1, BATCH // len(self.rows.ids[order[0]]))
            yield order[:many]
            order = order[many:]

    def _read(self, numbers: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Neurons `[row, position, neuron]` after and before the activation function, which positions
        count, and the kind of token at each."""
        rows = [self.rows.ids[number] for number in numbers]
        places = [
            site("mlp_post", self.layer),
            site("mlp_pre", self.layer),
            input_site(self.model.spec, self.layer),
        ]
        run = self.model.run(rows, keep=places, stop=self.layer + 1, logits=False)
        values, before, inputs = (run[place].float().cpu() for place in places)
        counted = torch.zeros(values.shape[:2], dtype=torch.bool)
        kinds = torch.zeros(values.shape[:2], dtype=torch.int64)
        for i, number in enumerate(numbers):
            length, span = len(rows[i]), self.counted[number]
            counted[i, span.start : span.stop] = True
            kinds[i, span.start : span.stop] = torch.from_numpy(
                np.searchsorted(self.kinds, np.array(rows[i][span.start : span.stop], dtype=np.int64))
            )
            begin = int(self.begins[number])
            self.inputs[begin : begin + length] = inputs[i, :length].clamp(-6e4, 6e4).half()
            values[i, length:] = torch.nan
            values[i, : span.start] = torch.nan  # what does not count is not shown as an activation either
            values[i, span.stop :] = torch.nan
        return values, before, counted, kinds

    def _kept(
        self,
        key: str,
        histograms: Histograms,
        moments: Moments,
        top: Extremes,
        bottom: Extremes,
        by_token: ByToken,
    ) -> Scan:
        mean, variance = moments.mean, moments.variance
        best, worst = (self._kinds_of(by_token, highest) for highest in (True, False))
        likeness, drawn = self._likeness(top)
        alike, correlation = self._alike(moments.correlations())
        return Scan(
            key=key,
            model=self.model.name,
            corpus=self.corpus.name,
            title=self.corpus.title,
            layer=self.layer,
            tokens=moments.n,
            whole=self.rows.whole,
            ids=self.ids,
            begins=self.begins,
            counts=histograms.counts.numpy(),
            exponent=histograms.exponent.numpy(),
            mean=mean.numpy(),
            spread=variance.sqrt().numpy(),
            low=moments.low.numpy(),
            high=moments.high.numpy(),
            open=(moments.open / moments.n).numpy(),
            top=_examples(top),
            bottom=_examples(bottom),
            drawn=self._drawn_examples(),
            best_kinds=best[0],
            best_means=best[1],
            best_counts=best[2],
            worst_kinds=worst[0],
            worst_means=worst[1],
            worst_counts=worst[2],
            selectivity=self._selectivity(by_token, mean, variance, moments.n),
            likeness=likeness,
            likeness_drawn=drawn,
            alike=alike,
            correlation=correlation,
            rms=float((variance + mean.pow(2)).mean().sqrt()),
        )

    def _drawn_examples(self) -> Examples:
        rows = sorted(self.windows)
        n = self.width
        return Examples(
            rows=np.tile(np.array(rows, np.int32), (n, 1)),
            positions=np.tile(np.array([self.drawn[row] for row in rows], np.int32), (n, 1)),
            windows=torch.stack([self.windows[row] for row in rows], 1).numpy()
            if rows
            else np.zeros((n, 0, WIDE)),
        )

    def _kinds_of(self, by_token: ByToken, highest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The kinds of tokens of the highest (lowest) means, among those that came `FEWEST` times or more; if
        there are none, among all."""
        enough = by_token.counts >= FEWEST
        if not bool(enough.any()):
            enough = by_token.counts > 0
        kept = enough.nonzero()[:, 0]
        means = by_token.sums[kept] / by_token.counts[kept, None]
        found = means.topk(min(KINDS, len(kept)), dim=0, largest=highest)
        at = kept[found.indices]  # [kind, neuron]
        ids = torch.from_numpy(self.kinds)[at]
        return ids.T.numpy(), found.values.T.numpy(), by_token.counts[at].T.numpy()

    @staticmethod
    def _selectivity(by_token: ByToken, mean: Tensor, variance: Tensor, n: int) -> np.ndarray:
        """1 - (within / (n - kinds)) / (total / (n - 1)): the share of variance that the kind of token
        explains, less what as many kinds would explain by chance (Kelley 1935); not below 0."""
        there = by_token.counts > 0
        counts = by_token.counts[there].double()
        means = by_token.sums[there].double() / counts[:, None]
        total = variance * n
        between = (counts[:, None] * (means - mean).pow(2)).sum(0)
        free = n - len(counts)
        if free <= 0:
            return np.full(len(mean), np.nan)
        found = 1 - ((total - between).clamp(min=0) / free) / (total / (n - 1)).clamp(min=1e-30)
        return torch.where(total > 0, found.clamp(0, 1), torch.nan).numpy()

    def _likeness(self, top: Extremes) -> tuple[np.ndarray, float]:
        mean = self.inputs.float().mean(0)
        places = torch.from_numpy(self.begins)[top.rows.clamp(min=0)] + top.positions  # [example, neuron]
        high = top.values > HIGH * top.values[:1]
        found = []
        for some, counts in zip(places.T.split(64), high.T.split(64), strict=True):  # neurons
            x = torch.nn.functional.normalize(self.inputs[some].float() - mean, dim=-1)
            found.append(_mean_cosine(x, counts))
        draw = np.random.default_rng(self.seed).choice(len(self.ids), min(256, len(self.ids)), replace=False)
        drawn = torch.nn.functional.normalize(self.inputs[torch.from_numpy(draw)].float() - mean, dim=-1)
        return torch.cat(found).numpy(), float(_mean_cosine(drawn[None], torch.ones(1, len(drawn)))[0])

    def _alike(self, correlations: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
        if correlations is None:
            return np.zeros((self.width, 0), np.int32), np.zeros((self.width, 0), np.float32)
        found = correlations.abs().topk(min(ALIKE, self.width - 1), dim=1).indices
        return found.numpy(), correlations.gather(1, found).numpy()


def _mean_cosine(x: Tensor, counts: Tensor) -> Tensor:
    """Of unit vectors `[group, member, d]`, the mean cosine of two different ones of those that `counts`
    `[group, member]`; 1 of one alone."""
    many = counts.sum(1)
    pairs = ((x * counts[..., None]).sum(1).pow(2).sum(-1) - many) / (many * (many - 1)).clamp(min=1)
    return torch.where(many < 2, torch.ones_like(pairs), pairs)


def _examples(found: Extremes) -> Examples:
    return Examples(
        rows=found.rows.T.numpy(),
        positions=found.positions.T.numpy(),
        windows=found.windows.transpose(0, 1).numpy(),
    )
