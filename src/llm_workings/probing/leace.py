"""LEACE: erase a concept from vectors, so that no linear probe finds it, and change them least.

Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form", theorem 4.3. For vectors x
with labels z (one-hot), of all affine maps r(x) after which x and z are uncorrelated (so that no linear
classifier beats the constant one, theorem 3.1), the one that minimizes E |r(x) - x|^2 is

    r(x) = x - W^+ P W (x - E x),    W = (Cov[x]^(1/2))^+,

P the orthogonal projection onto the columns of W Cov[x, z]. With k classes it takes away k - 1
dimensions. It whitens first, so it follows how the vectors really spread, where projecting out the
difference of the means takes along whatever is correlated with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape, NotSupported
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.sites import Site
from llm_workings.models.spec import NoHead
from llm_workings.trace.edits import FunctionEdit

from .activations import batches_of, begin_token, width_of
from .alignment import ABSENT, Aligned, Passage, align

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel
    from llm_workings.trace.run import Run

SMALLEST = 1e-8  # of the largest: variances below are rounding, and are not whitened


@dataclass(frozen=True)
class Eraser:
    """An affine map x - (x - mean) right' left', of rank k; float64.

    Attributes:
        mean: `[d]`.
        left, right: `[d, k]`; left right' is a projection (not an orthogonal one).
        whiten: `[d, d]`, W of the vectors it was made of, from which erasers of random subspaces come.
    """

    mean: np.ndarray
    left: np.ndarray
    right: np.ndarray
    whiten: np.ndarray

    @property
    def rank(self) -> int:
        """How many dimensions it takes away."""
        return self.left.shape[1]

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The vectors `[..., d]` without the concept. Raises `BadShape` for another width."""
        if x.shape[-1:] != self.mean.shape:
            raise BadShape(f"This eraser is {len(self.mean)} wide; given was {list(x.shape)}.")
        return x - ((x - self.mean) @ self.right) @ self.left.T

    def edit(self, site: Site | str, positions: Tensor | None = None) -> FunctionEdit:
        """The erasure as an edit of a run.

        Args:
            site: where; of the vectors it was made of.
            positions: `[batch, position]`, True where to erase; everywhere by default.
        """
        mean, left, right = (torch.from_numpy(part) for part in (self.mean, self.left, self.right))

        def erase(value: Tensor) -> Tensor:
            flat = value.reshape(*value.shape[:2], -1)
            if flat.shape[-1] != len(mean):
                raise BadShape(f"This eraser is {len(mean)} wide; {site} is {flat.shape[-1]}.")
            parts = (part.to(value) for part in (mean, left, right))
            m, l, r = parts
            change = ((flat - m) @ r) @ l.mT
            if positions is not None:
                change = change * positions[..., None].to(value)
            return value - change.reshape(value.shape)

        erase.__name__ = f"erase {self.rank} dimensions at"
        return FunctionEdit(site, erase)

    def random(self, seed: int = 0) -> Eraser:
        """An eraser of a random subspace of the same rank, drawn where the vectors are white.

        It takes away as many dimensions in the same way (an equal share of the whitened variance), so
        what it does to the model is what erasing anything at all does.
        """
        draw = np.random.default_rng(seed).standard_normal((len(self.mean), self.rank))
        values, vectors = np.linalg.eigh(self.whiten)
        seen = vectors[:, values > 0]  # directions in which the vectors spread at all
        return _eraser(self.mean, self.whiten, seen @ (seen.T @ draw))


def leace(x: np.ndarray, labels: np.ndarray) -> Eraser:
    """The eraser of what tells the classes apart.

    Args:
        x: `[n, d]`; of several times as many vectors as they are wide. From fewer, what is erased is
            partly chance, and other vectors keep some of the concept.
        labels: `[n]`, classes.

    Raises:
        BadInput: fewer than two classes, a NaN or an infinity; BadShape: of different number.
    """
    x, labels = np.asarray(x, np.float64), np.asarray(labels)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise BadShape(f"The vectors are {list(x.shape)} and the labels {list(labels.shape)}.")
    if not np.isfinite(x).all():
        raise BadInput("The vectors have a NaN or an infinity in them.")
    names, z = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise BadInput("There is one class only: nothing to erase.")
    mean = x.mean(0)
    centred = x - mean
    one_hot = np.eye(len(names))[z]
    # z is centred by x being so: sum (x - Ex) z' = sum (x - Ex)(z - Ez)'
    between = centred.T @ one_hot / len(x)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    keep = values > SMALLEST * values[-1]
    whiten = (vectors[:, keep] / np.sqrt(values[keep])) @ vectors[:, keep].T
    return _eraser(mean, whiten, whiten @ between)


def _eraser(mean: np.ndarray, whiten: np.ndarray, columns: np.ndarray) -> Eraser:
    """W^+ P W as left right', P the projection onto the columns' span."""
    u, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis = u[:, sizes > 1e-9 * max(sizes[0], 1e-300)]
    # In the eigenvectors of W, where its pseudo-inverse is a division.
    values, vectors = np.linalg.eigh(whiten)
    inverse = np.where(values > 1e-12 * values[-1], 1 / np.where(values > 0, values, 1), 0)
    return Eraser(mean, (vectors * inverse) @ (vectors.T @ basis), whiten @ basis, whiten)


# --- what it does to the model --------------------------------------------------------------------
Metric = Callable[["Run", "Run"], Any]


@dataclass(frozen=True)
class ErasureEffect:
    """What erasing does to the model's answers; `random` has the same of each random eraser.

    Attributes:
        site: where.
        rank: dimensions taken away.
        tokens: how many positions the means of loss and KL are over: all, and not only those at which
            something was erased.
        loss: nats a token that the loss rises by; None for a model that does not predict the next.
        kl: nats a position from the unedited answer to the edited one, KL(clean | edited).
        change: squared length of the change over that of the centred vectors, where it was erased.
        metric: the mean of the user's metric(clean run, edited run), if one was given.
    """

    site: Site
    rank: int
    tokens: int
    loss: float | None
    kl: float
    change: float
    metric: float | None = None
    random: tuple[ErasureEffect, ...] = ()

    def __str__(self) -> str:
        lines = [f"Erasing {self.rank} dimensions at {self.site}, {self.tokens:,} positions"]
        lines.append(f"{'':<14}{'KL':>10}{'loss':>10}{'change':>10}")
        for name, effect in (("the concept", self), *(("at random", other) for other in self.random)):
            loss = "-" if effect.loss is None else f"{effect.loss:+.4f}"
            lines.append(f"{name:<14}{effect.kl:>10.4f}{loss:>10}{effect.change:>10.4f}")
        return "\n".join(lines)

    __repr__ = __str__


def effect_of_erasure(
    model: LanguageModel,
    eraser: Eraser,
    site: Site | str,
    sentences: Sequence[Any],
    *,
    words: Sequence[Sequence[int]] | None = None,
    draws: int = 3,
    seed: int = 0,
    metric: Metric | None = None,
    begin: bool = True,
    most_tokens: int = 512,
    progress: Progress = SILENT,
) -> ErasureEffect:
    """The change of the model's answers when a concept is erased at a site, beside random erasures.

    The concept is erased at the tokens of the words that are named, or at every token that stands for
    text; those that the model expects around it (a begin-of-text token, [CLS]) stay as they are. Erase
    where the vectors that the eraser was made of come from: elsewhere it takes away more than it knows.

    Args:
        sentences: texts, or sentences with words.
        words: for each sentence, the numbers of the words at which to erase; all by default.
        draws: random subspaces of the same rank to compare with.
        metric: of a clean and an edited run of a batch, a number.
        begin: as in `activations.collect`.
        most_tokens: of a batch, with its padding: every one has a logit for each token there is.

    Raises:
        NotSupported: a model without a head, which answers nothing.
        BadShape: an eraser of another width than the site; BadInput: no sentences.
    """
    place = site if isinstance(site, Site) else Site.parse(site)
    if isinstance(model.spec.head, NoHead):
        raise NotSupported(
            f"{model.name} has no head: erasing changes none of its answers.",
            hint="Look at what is left in later layers: collect(model, ..., edits=eraser.edit(site)).",
        )
    if width_of(model.spec, place) != len(eraser.mean):
        raise BadShape(
            f"The eraser is {len(eraser.mean)} wide, {place} is {width_of(model.spec, place)}.",
            hint="Make it of vectors from that site.",
        )
    if not sentences:
        raise BadInput("There are no sentences to erase in.")
    passages = [Passage.of(sentence) for sentence in sentences]
    aligned = align(model.tokenizer, passages, begin=begin_token(model, begin))
    erased = [found.plain for found in aligned] if words is None else _tokens_of(aligned, words)
    erasers = [eraser, *(eraser.random(seed + i) for i in range(draws))]
    batches = list(batches_of(aligned, range(len(aligned)), most_tokens))
    sums = np.zeros((len(erasers), 4))  # loss, kl, changed, metric
    spread, positions, predicted = 0.0, 0, 0
    for number, rows in enumerate(batches):
        progress.report("erasing", number, len(batches))
        prompts = [aligned[s].ids for s in rows]
        width = max(map(len, prompts))
        plain = torch.zeros(len(rows), width, dtype=torch.bool)
        for at, s in enumerate(rows):
            plain[at, : len(erased[s])] = torch.from_numpy(erased[s])
        clean = model.run(prompts, keep=place)
        present = clean.batch.present()
        vectors = clean[place].reshape(*plain.shape, -1).double().cpu().numpy()[plain.numpy()]
        spread += float(((vectors - eraser.mean) ** 2).sum())
        positions += int(present.sum())
        predicted += int(present[:, 1:].sum())
        for which, one in enumerate(erasers):
            edited = model.run(prompts, edits=one.edit(place, plain.to(model.device)))
            sums[which] += _difference(clean, edited, present, metric)
            sums[which, 2] += float(((vectors - one.apply(vectors)) ** 2).sum())
    found = [
        ErasureEffect(
            place,
            one.rank,
            positions,
            float(row[0] / predicted) if model.spec.causal and predicted else None,
            float(row[1] / positions),
            float(row[2] / spread),
            None if metric is None else float(row[3] / len(batches)),
        )
        for one, row in zip(erasers, sums, strict=True)
    ]
    first = found[0]
    return ErasureEffect(
        place, first.rank, positions, first.loss, first.kl, first.change, first.metric, tuple(found[1:])
    )


def _tokens_of(aligned: Sequence[Aligned], words: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """For each sentence, `[token]`: True at the tokens of the named words."""
    if len(words) != len(aligned):
        raise BadInput(f"words has {len(words)} entries for {len(aligned)} sentences.")
    erased = []
    for number, (found, chosen) in enumerate(zip(aligned, words, strict=True)):
        at = np.zeros(len(found.ids), bool)
        for word in chosen:
            if not 0 <= word < len(found.first):
                raise BadInput(
                    f"There is no word {word} in sentence {number}, which has {len(found.first)}.",
                    given={"sentence": number, "word": int(word)},
                )
            if found.first[word] != ABSENT:
                at[found.first[word] : found.last[word] + 1] = True
        erased.append(at)
    if not any(at.any() for at in erased):
        raise BadInput("No token is left to erase at.", hint="Name at least one word.")
    return erased


def _difference(clean: Run, edited: Run, present: Tensor, metric: Metric | None) -> np.ndarray:
    """Sums over the batch: of the loss's rise, of KL, (a gap), of the metric."""
    p, q = clean.log_probabilities, edited.log_probabilities
    kl = ((p.exp() * (p - q)).sum(-1) * present).sum(dtype=torch.float64)
    rise = 0.0
    if clean.model.spec.causal and max(clean.lengths) > 1:
        rise = float((edited.losses - clean.losses).sum(dtype=torch.float64))
    return np.array([rise, float(kl), 0.0, 0.0 if metric is None else float(metric(clean, edited))])
