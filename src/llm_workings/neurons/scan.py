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
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadFile
from llm_workings.core.files import write_whole
from llm_workings.core.paths import cache_folder
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.wire import pack, unpack
from llm_workings.models.sites import site

from .corpus import TOKENS, Corpus, Rows
from .passing import BATCH, DRAWN, FEWEST, KINDS, LOW, TOP, Kept, KindMeans, Kinds, Passing, PerUnit
from .running import Extremes
from .weights import check_neuron, input_site, mlp_of

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

ALIKE = 8
HIGH = 0.1  # of the highest activation: what an example must reach for its input to be compared


class Scan(Kept):
    """What was kept of a layer's neurons."""

    key: str
    layer: int
    open: PerUnit
    """The share of tokens at which what the activation function is given is above 0."""
    likeness: PerUnit
    """Mean cosine of its inputs at its highest examples (those above `HIGH` of the very highest), the
    layer's mean input taken off."""
    likeness_drawn: float
    """The same between places drawn at random."""
    alike: Kinds
    """The neurons of the layer whose activations go with it most, or against it."""
    correlation: KindMeans
    rms: float
    """Root mean square of all activations of the layer."""


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
    made = _Scanner(model, corpus, layer, corpus.rows(model, tokens), seed).scan(key, progress)
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


class _Scanner(Passing):
    """One reading of one layer."""

    def __init__(self, model: LanguageModel, corpus: Corpus, layer: int, rows: Rows, seed: int):
        self.layer, self.stop = layer, layer + 1
        self.input = input_site(model.spec, layer)
        super().__init__(
            model,
            corpus,
            rows,
            seed,
            width=mlp_of(model.spec, model.name).width,
            places=[site("mlp_post", layer), site("mlp_pre", layer), self.input],
            where=f"at layer {layer}",
            correlations=True,
        )
        self.inputs = torch.zeros(len(self.ids), model.spec.d_model, dtype=torch.float16)

    def values(self, run: Run) -> Tensor:
        return run[site("mlp_post", self.layer)]

    def meanwhile(self, run: Run, numbers: list[int], counted: Tensor) -> Tensor:
        inputs = run[self.input].float().cpu()
        for i, number in enumerate(numbers):
            begin, length = int(self.begins[number]), len(self.rows.ids[number])
            self.inputs[begin : begin + length] = inputs[i, :length].clamp(-6e4, 6e4).half()
        return run[site("mlp_pre", self.layer)].float().cpu()[counted]

    def scan(self, key: str, progress: Progress) -> Scan:
        """Reads the layer."""
        kept = self.run(progress)
        moments = self.moments
        likeness, drawn = self._likeness(self.top)
        alike, correlation = self._alike(moments.correlations())
        return Scan(
            **kept,
            key=key,
            layer=self.layer,
            open=(moments.open / moments.n).numpy(),
            likeness=likeness,
            likeness_drawn=drawn,
            alike=alike,
            correlation=correlation,
            rms=float((moments.variance + moments.mean.pow(2)).mean().sqrt()),
        )

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
