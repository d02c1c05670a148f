"""Training the induction toys: sequences in which nothing but copying helps, and a plain loop.

A practice sequence is `<begin>` and random letters in which one random segment comes back again
and again, with other random letters between its copies:

    <begin> q x [a f . k] z d [a f . k] m ! [a f . k] ...

How long the segment is, how far apart its copies stand and where the first one begins are drawn
anew for each sequence, so neither a letter's frequency nor a fixed distance tells what comes next.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator, seeded

from . import spec as sp
from .sites import Site, site
from .toys import Measure, Recipe
from .transformer import Transformer

BEGIN_ID = 0  # letters are 1 and up
SHORTEST = 3  # letters in a segment, and one more from one copy to the next
WARM_UP = 50  # steps until the full learning rate
MEASURE_EVERY = 50
MEASURED_ROWS, MEASURED_SEGMENT = 32, 24  # what the scores are measured on
MEASURE_SEED = 1_000_003


def practice(
    rows: int, n: int, vocab_size: int, longest_period: int, distinct: float, draw: torch.Generator
) -> Tensor:
    """Practice sequences, `[rows, n]` ids.

    Args:
        longest_period: the most letters from one copy to the next.
        distinct: the share of rows whose segment has no letter twice, so that each of its letters
            has one continuation; in the others a letter may have several.
    """

    def uniform() -> Tensor:
        return torch.rand(rows, 1, generator=draw)

    n_letters = vocab_size - 1
    period = torch.randint(SHORTEST + 1, longest_period + 1, (rows, 1), generator=draw)
    length = SHORTEST + (uniform() * (period - SHORTEST + 1)).long()
    offset = (uniform() * period).long()
    segment = torch.randint(1, vocab_size, (rows, longest_period), generator=draw)
    shuffled = 1 + torch.rand(rows, n_letters, generator=draw).argsort(-1)
    shuffled = F.pad(shuffled[:, :longest_period], (0, max(0, longest_period - n_letters)), value=1)
    is_distinct = uniform() < distinct
    segment = torch.where(is_distinct, shuffled, segment)
    length = torch.where(is_distinct, length.clamp(max=n_letters), length)
    place = (torch.arange(n - 1) + offset) % period  # where in the period a position stands
    noise = torch.randint(1, vocab_size, (rows, n - 1), generator=draw)
    letters = torch.where(place < length, segment.gather(1, place), noise)
    return torch.cat((torch.full((rows, 1), BEGIN_ID), letters), dim=1)


def train(spec: sp.Spec, recipe: Recipe, *, progress: Progress = SILENT) -> tuple[Transformer, list[Measure]]:
    """Train a model of `spec` by next-letter prediction (AdamW, warm-up, linear decay at the end).

    One thread, so that the same seed gives the same weights on the same kind of machine.
    Returns the model and its measurements. Raises `Cancelled` when the user stops it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(recipe.seed):
            model = Transformer(spec)
        return model.eval(), _train(model, recipe, progress)
    finally:
        torch.set_num_threads(threads)


def _train(model: Transformer, recipe: Recipe, progress: Progress) -> list[Measure]:
    spec, draw, history = model.spec, generator(recipe.seed), []
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )

    def pace(step: int) -> float:
        """The share of the learning rate: up at once, level, and down over the last 40 %."""
        return min(1.0, (step + 1) / WARM_UP, max(0.02, (recipe.steps - step) / (0.4 * recipe.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
    said = "training"
    for step in range(1, recipe.steps + 1):
        progress.report(said, step - 1, recipe.steps)
        tokens = practice(
            recipe.batch, spec.n_ctx, spec.vocab_size, recipe.longest_period, recipe.distinct, draw
        )
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % MEASURE_EVERY == 0 or step == recipe.steps:
            history.append(measure(model, step, loss.item()))
            now = history[-1]
            said = (
                f"training: loss {now.loss:.3f}, first copy {now.first_copy:.2f}, second copy "
                f"{now.second_copy:.2f}, induction {now.induction:.2f}, previous token {now.previous:.2f}"
            )
    progress.report(said, recipe.steps, recipe.steps)
    return history


# --- measuring ---------------------------------------------------------------------------------
class Patterns:
    """A tap that keeps the attention patterns, `[b, h, query, key]` a layer."""

    def __init__(self) -> None:
        self.by_layer: dict[int, Tensor] = {}

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where.kind == "pattern" and where.layer is not None:
            self.by_layer[where.layer] = value
        return value

    def wants(self, where: Site) -> bool:
        return where == site("pattern", where.layer)


@torch.no_grad()
def measure(model: Transformer, step: int, loss: float) -> Measure:
    """Losses and scores on random segments said twice; always the same ones.

    A head's induction score is its mean attention, from each letter of the second copy, to the
    letter that followed it in the first (Olsson et al. 2022, "In-context learning and induction
    heads"); the previous-token score is that to the letter before.
    """
    n, draw = MEASURED_SEGMENT, generator(MEASURE_SEED)
    letters = torch.rand(MEASURED_ROWS, model.spec.vocab_size - 1, generator=draw).argsort(-1)[:, :n] + 1
    tokens = torch.cat((torch.full((MEASURED_ROWS, 1), BEGIN_ID), letters, letters), dim=1)
    patterns = Patterns()
    logits = model(tokens[:, :-1], tap=patterns)
    losses = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")  # [b, 2n]

    def best(distance: int, first_query: int) -> float:
        """The best head's mean attention `distance` back, from the queries on."""
        weights = torch.stack([p.diagonal(-distance, -2, -1) for p in patterns.by_layer.values()])
        return weights[..., first_query - distance :].mean((1, -1)).max().item()

    return Measure(
        step=step,
        loss=loss,
        first_copy=losses[:, :n].mean().item(),
        second_copy=losses[:, n + 1 :].mean().item(),  # the first letter of a copy is a surprise
        induction=best(n - 1, n + 1),
        previous=best(1, 2),
    )
