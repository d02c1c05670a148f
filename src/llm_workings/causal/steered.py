"""What a steering vector does: texts side by side, a dose-response, an effect with its chance.

Everything is measured against a run without the vector and against random directions of the same length,
for any push large enough changes a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_workings.core.errors import BadInput
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator
from llm_workings.trace.edits import Edit, Picks
from llm_workings.trace.generate import Text

from . import metrics
from .base import Base
from .metrics import Metric
from .steering import SteeringVector
from .sweep import sweep
from .writing import in_row, write_together

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

Controls = int | Sequence[SteeringVector]
ROWS = 32  # strengths and directions of one forward
STRENGTHS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)


def word_odds(
    model: LanguageModel, firsts: Sequence[str | int], seconds: Sequence[str | int], position: int = -1
) -> Metric:
    """log P(next is one of the first words) - log P(next is one of the second), in nats.

    Raises `BadInput` for an empty list, for a word that is not one token, and for one on both sides.
    """
    if not firsts or not seconds:
        raise BadInput("Log-odds need at least one word on each side.")
    ids = tuple(model.token(word) for word in (*firsts, *seconds))
    k = len(firsts)
    if both := set(ids[:k]) & set(ids[k:]):
        raise BadInput(f"{model.tokenizer.piece(min(both))!r} is on both sides of the log-odds.")
    return Metric(
        "log-odds of the words",
        "nats",
        position,
        ids,
        lambda x: x[:, 0, :k].logsumexp(-1) - x[:, 0, k:].logsumexp(-1),
    )


def distinct(texts: Sequence[Text], n: int = 2) -> float:
    """Different n-grams of tokens as a share of all, over some texts (distinct-n, Li et al. 2016).

    Counted in each text by itself, then added up: low means that texts repeat themselves. NaN where no
    text is n tokens long.
    """
    grams = [[text.tokens[i : i + n] for i in range(len(text.tokens) - n + 1)] for text in texts]
    total = sum(map(len, grams))
    return sum(len(set(some)) for some in grams) / total if total else math.nan


# --- texts side by side --------------------------------------------------------------------------
@dataclass(frozen=True)
class SideBySide:
    """Texts written on without the vector, with it, and with controls of the same length.

    Attributes:
        labels: `unsteered`, the vector's name, then the controls'.
        prompts: what was written on.
        texts: of each prompt, one of each label.
        strength: in typical norms of the stream.
    """

    labels: tuple[str, ...]
    prompts: tuple[str, ...]
    texts: tuple[tuple[Text, ...], ...]
    strength: float

    def column(self, index: int) -> list[Text]:
        """The texts of one label."""
        return [row[index] for row in self.texts]

    def scores(self, score: Callable[[str], float]) -> Tensor:
        """`[label, prompt]` float64: a function of each written text (without its prompt)."""
        found = [[float(score(text.text)) for text in self.column(i)] for i in range(len(self.labels))]
        return torch.tensor(found, dtype=torch.float64)

    def distinct(self, n: int = 2) -> list[float]:
        """distinct-n of each label's texts."""
        return [distinct(self.column(i), n) for i in range(len(self.labels))]

    def __repr__(self) -> str:
        width = max(map(len, self.labels))
        lines = [f"strength {self.strength:g}"]
        for prompt, row in zip(self.prompts, self.texts, strict=True):
            lines.append(repr(prompt))
            lines += [
                f"  {label:<{width}}  {text.text!r}" for label, text in zip(self.labels, row, strict=True)
            ]
        return "\n".join(lines)


def side_by_side(
    model: LanguageModel,
    vector: SteeringVector,
    prompts: Sequence[str] | str,
    strength: float = 1.0,
    n: int = 20,
    *,
    controls: Controls = 1,
    positions: Picks = None,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress = SILENT,
    **how: Any,
) -> SideBySide:
    """Write on from each prompt unsteered, steered, and pushed as far in each control's direction.

    Args:
        strength: in typical norms of the stream; negative steers the other way.
        n: tokens to write, at the most.
        controls: how many random directions (seeds `seed`, `seed` + 1 ...), or vectors of your own, such as
            `Directions.shuffled`; they are added at the same length.
        positions: where it is added; by default everywhere, prompt and written text alike.
        temperature, seed: of the draws, the same seed for each text; 0 takes the best guess.
        how: `top_k`, `top_p`, `stop`, `rows`, `budget`.

    Raises what `model.generate` raises, and `BadInput` for a vector of another model.
    """
    prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not prompts:
        raise BadInput("There is no prompt to write on.")
    vectors = _with_controls(model, vector, controls, seed)
    variants: list[list[Edit]] = [[], *([v.edit(strength, positions)] for v in vectors)]
    written = write_together(
        model,
        [prompt for prompt in prompts for _ in variants],
        [edits for _ in prompts for edits in variants],
        n,
        temperature=temperature,
        seed=seed,
        progress=progress,
        **how,
    )
    k = len(variants)
    rows = tuple(tuple(written[i * k : (i + 1) * k]) for i in range(len(prompts)))
    return SideBySide(("unsteered", *(v.name for v in vectors)), prompts, rows, strength)


def _with_controls(
    model: LanguageModel, vector: SteeringVector, controls: Controls, seed: int
) -> list[SteeringVector]:
    """The vector and its controls, all as long as it is."""
    given = (
        [vector.random(seed + i) for i in range(controls)] if isinstance(controls, int) else list(controls)
    )
    vectors = [vector, *given]
    for one in vectors:
        one.check(model)
        if one.site != vector.site:
            raise BadInput(f"The control {one.name!r} is of {one.site}, the vector of {vector.site}.")
    return [one.model_copy(update={"typical": vector.typical}) for one in vectors]


# --- effect --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Paired:
    """How two scores of the same prompts differ.

    Attributes:
        difference: mean of the first less the second.
        size: that in standard deviations of the differences (Cohen's d of pairs); infinite if they are all
            alike, 0 if there is none.
        p: chance of a mean at least as far from 0 if each prompt's difference had its sign by lot.
        n: prompts.
    """

    difference: float
    size: float
    p: float
    n: int

    def __str__(self) -> str:
        return f"{self.difference:+.3f} (d {self.size:+.2f}, p {self.p:.2g}, {self.n} prompts)"


def paired(first: Tensor, second: Tensor, seed: int = 0, draws: int = 10_000) -> Paired:
    """Compare two scores `[prompt]` of the same prompts by a two-sided sign-flip permutation test.

    p = (1 + flips at least as far) / (1 + draws), which never is 0 (Phipson and Smyth 2010).
    """
    differences = (first - second).double()
    n = len(differences)
    if n < 2:
        raise BadInput("A comparison needs two prompts or more.")
    mean, spread = float(differences.mean()), float(differences.std())
    signs = torch.randint(0, 2, (draws, n), generator=generator(seed)).double() * 2 - 1
    flipped = (signs @ differences.cpu()).abs() / n
    far = int((flipped >= abs(mean) * (1 - 1e-12)).sum())
    size = mean / spread if spread else (math.copysign(math.inf, mean) if mean else 0.0)
    return Paired(mean, size, (1 + far) / (1 + draws), n)


@dataclass(frozen=True)
class Effect:
    """Whether a vector moved a score, and whether just any push would have.

    Attributes:
        means: of each label, the mean score.
        steered: the vector against nothing.
        controls: each control against nothing.
        beyond: the vector against the mean of the controls.
    """

    labels: tuple[str, ...]
    means: tuple[float, ...]
    steered: Paired
    controls: tuple[Paired, ...]
    beyond: Paired | None

    def __repr__(self) -> str:
        lines = [f"{label:<22}{mean:+8.3f}" for label, mean in zip(self.labels, self.means, strict=True)]
        lines += [f"steered - unsteered: {self.steered}"]
        names = self.labels[2:]
        lines += [f"{name} - unsteered: {one}" for name, one in zip(names, self.controls, strict=True)]
        return "\n".join([*lines, *([f"steered - controls: {self.beyond}"] if self.beyond else [])])


def effect(scores: Tensor, labels: Sequence[str], seed: int = 0) -> Effect:
    """The effect in scores `[label, prompt]`, ordered as in `SideBySide`: unsteered, steered, controls.

    Raises `BadInput` for scores that are not finite, or fewer than two prompts.
    """
    if not bool(scores.isfinite().all()):
        raise BadInput("A score is not a finite number.", hint="Look at the texts it was given.")
    unsteered, steered, rest = scores[0], scores[1], scores[2:]
    return Effect(
        tuple(labels),
        tuple(scores.mean(1).tolist()),
        paired(steered, unsteered, seed),
        tuple(paired(one, unsteered, seed) for one in rest),
        paired(steered, rest.mean(0), seed) if len(rest) else None,
    )


# --- dose and response -----------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class DoseResponse:
    """What more and more of a vector does, and of its controls.

    Attributes:
        labels: the vector's name, then the controls'.
        strengths: in typical norms of the stream.
        score: `[direction, strength, prompt]` float64, at the next token.
        divergence: `[direction, strength, prompt]`, KL(unsteered ‖ steered) of the next token, in nats.
        loss: `[direction, strength]`, nats a token on the text given; NaN without one.
        distinct: `[direction, strength]`, distinct-2 of the written texts; NaN if none were written.
        texts: of each direction, each strength, each prompt; empty if none were written.
    """

    labels: tuple[str, ...]
    metric: str
    strengths: tuple[float, ...]
    score: Tensor = field(repr=False)
    divergence: Tensor = field(repr=False)
    loss: Tensor = field(repr=False)
    distinct: Tensor = field(repr=False)
    texts: tuple[tuple[tuple[Text, ...], ...], ...] = field(repr=False)

    def __repr__(self) -> str:
        lines = [f"{self.metric}; KL; loss; distinct-2, by strength in typical norms"]
        for i, label in enumerate(self.labels):
            lines.append(label)
            for j, strength in enumerate(self.strengths):
                numbers = (self.score[i, j].mean(), self.divergence[i, j].mean(), self.loss[i, j])
                said = "".join(f"{float(x):10.3f}" for x in (*numbers, self.distinct[i, j]))
                lines.append(f"  {strength:+6.2f}{said}")
        return "\n".join(lines)


def dose_response(
    model: LanguageModel,
    vector: SteeringVector,
    prompts: Sequence[str],
    score: Metric,
    strengths: Sequence[float] = STRENGTHS,
    *,
    controls: Controls = 2,
    positions: Picks = None,
    text: Any = None,
    n: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DoseResponse:
    """Measure a score, the distance from the unsteered model, its loss and its repetition by strength.

    Args:
        score: at the next token of each prompt: `word_odds`, or any metric of one position.
        strengths: in typical norms of the stream; one of 0 is the unsteered model.
        controls: as of `side_by_side`.
        text: on which the loss is measured, if any.
        n: tokens to write from each prompt at each strength, for the repetition; 0 writes none.

    Raises what `model.run` and `model.generate` raise, and `BadInput` for a vector of another model or a
    score that reads all positions.
    """
    if not prompts or isinstance(prompts, str) or not strengths:
        raise BadInput("A dose-response needs a list of prompts and at least one strength.")
    if score.position is None:
        raise BadInput(f"The score {score.name!r} reads every position.", hint="Give the text as text=...")
    vectors = _with_controls(model, vector, controls, seed)
    edits = [one.edit(strength, positions) for one in vectors for strength in strengths]
    shape = (len(vectors), len(strengths))
    scores, distances = [], []
    for done, prompt in enumerate(prompts):
        progress.report("measuring", done, len(prompts))
        base = Base(model, prompt)
        where = score.positions(base.n)[0]
        logits = _logits_of(base, edits, where)
        chosen = logits if score.tokens is None else logits[..., list(score.tokens)]
        scores.append(score.value(chosen).double().view(shape))
        distances.append(metrics.divergence(base, where).value(logits).double().view(shape))
    losses = torch.full(shape, math.nan, dtype=torch.float64)
    if text is not None:
        base = Base(model, text)
        losses = sweep(base, edits, metrics.loss(base), progress=progress).view(shape)
    texts = _written(model, prompts, edits, shape, n, temperature, seed, progress) if n else ()
    repeated = [[distinct(some) for some in row] for row in texts]
    return DoseResponse(
        tuple(one.name for one in vectors),
        score.name,
        tuple(strengths),
        torch.stack(scores, -1),
        torch.stack(distances, -1),
        losses,
        torch.tensor(repeated, dtype=torch.float64) if n else torch.full(shape, math.nan),
        texts,
    )


def _logits_of(base: Base, edits: list[Edit], position: int) -> Tensor:
    """The logits `[edit, 1, vocabulary]` at a position under each edit, from the edits' layer on."""
    layer = edits[0].place.layer
    assert layer is not None
    found = []
    for begin in range(0, len(edits), ROWS):
        part = [in_row(edit, row) for row, edit in enumerate(edits[begin : begin + ROWS])]
        start = base.run.at(layer).repeat(len(part))
        found.append(base.model.run(resume=start, edits=part, logits=[position]).logits)
    return torch.cat(found)


def _written(
    model: LanguageModel,
    prompts: Sequence[str],
    edits: list[Edit],
    shape: tuple[int, int],
    n: int,
    temperature: float,
    seed: int,
    progress: Progress,
) -> tuple[tuple[tuple[Text, ...], ...], ...]:
    """`[direction][strength][prompt]` texts."""
    asked = [(prompt, [edit]) for edit in edits for prompt in prompts]
    flat = write_together(
        model,
        [prompt for prompt, _ in asked],
        [own for _, own in asked],
        n,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )
    k = len(prompts)
    cells = [tuple(flat[i * k : (i + 1) * k]) for i in range(len(edits))]
    return tuple(tuple(cells[i * shape[1] : (i + 1) * shape[1]]) for i in range(shape[0]))
