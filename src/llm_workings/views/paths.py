"""The path patching view: what every head and MLP says to a few receivers, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .pairs import Answer, At, Corrupted, Direction, Measured, Posed, PosedPair, Wrong, measured, pose

if TYPE_CHECKING:
    from llm_workings.causal.path_patching import PathPatching as Found

STRONGEST = 12

Receivers = Annotated[
    str,
    Field(
        title="Into",
        min_length=1,
        max_length=2_000,
        description="What receives: logits, or inputs of heads, such as 'v.23.3' (the values of head 3 in "
        "layer 23), 'q.23.3' (its query), 'k.23.3' (its keys); several with commas between.",
    ),
]
MLPs = Annotated[
    Literal["frozen", "recomputed"],
    Field(
        title="MLPs on the way",
        description="frozen: a path leads straight through the stream. recomputed: MLPs answer to what the "
        "sender changed, as in Wang et al. 2022.",
    ),
]


class Sender(Payload):
    """A head or an MLP, and what its path does."""

    layer: int
    head: int | None
    """None for the MLP."""
    effect: float
    """By how much the metric changes."""

    def __str__(self) -> str:
        return f"MLP {self.layer}" if self.head is None else f"{self.layer}.{self.head}"


class Paths(PosedPair):
    """What every sender's direct path into the receivers does to the metric."""

    receivers: list[str]
    """As they are written; ["logits"] for the logits."""
    shared: list[str]
    """Of receivers whose keys or values several heads share: which, in words."""
    mlps: Literal["frozen", "recomputed"]
    values: Annotated[np.ndarray, Tensor("float64", "layer unit")]
    """The metric with each sender's path patched; the columns are the heads and then, if the model has
    one, the MLP. NaN where nothing is sent (the receivers are below), or where it is not computed yet."""
    sends: Annotated[np.ndarray, Tensor("uint8", "layer unit")]
    """1 where there is a sender."""
    done: int
    total: int
    strongest: list[Sender]

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        into = "the logits" if self.receivers == ["logits"] else ", ".join(self.receivers)
        said = ", ".join(f"{sender} ({sender.effect:+.3g})" for sender in self.strongest[:5])
        return (
            f"{self.model.title}: {self.direction} of the paths from {self.total} senders into {into}. "
            f"{measured(self)}: clean {self.clean_value:.3g}, corrupted {self.corrupted_value:.3g}. "
            f"The strongest change it by: {said}."
        )


@view
def path_patching(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
    receivers: Receivers = "logits",
    direction: Direction = "noising",
    mlps: MLPs = "frozen",
    metric: Measured = "logit_difference",
    at: At = None,
) -> Paths:
    """Path patching.

    What a head or MLP says to one receiver, and nothing else of what it does. The sender is given the value
    that it has in the other text; of that, only what it writes straight into the receiver's input is let
    through: all other heads, and the MLPs between, keep the values of the run that is patched. Then all
    after the receivers is computed anew, and the answer read (Wang et al. 2022; Goldowsky-Dill et al.
    2023). Each cell is one sender: the change of the metric, as a share of clean − corrupted.

    Receivers are the logits, or the queries, keys or values of heads. Where heads share keys and values, so
    do the receivers. Noising, the papers' direction, shows what the answer needs of each path.

    What this cannot tell you: what comes by two steps. For that, take what was found here as the next
    receiver. The receiver's own norm is not frozen, so a share need not be linear in what is sent.
    """
    from llm_workings.causal.path_patching import patch_paths

    posed = pose(lab, model, prompt, corrupted, answer, wrong, metric, at)
    asked = [name.strip() for name in receivers.split(",") if name.strip()]

    def show(found: Found) -> None:
        lab.progress.publish(lambda: _payload(lab, posed, asked, found))

    found = patch_paths(
        posed.pair, asked, posed.metric, direction=direction, mlps=mlps, progress=lab.progress, partial=show
    )
    return _payload(lab, posed, asked, found)


def _payload(lab: Lab, posed: Posed, asked: list[str], found: Found) -> Paths:
    from llm_workings.models.spec import NoMLP

    spec = posed.pair.model.spec
    n_heads = spec.attention.n_heads
    shape = (spec.n_layers, n_heads + (not isinstance(spec.mlp, NoMLP)))
    values, sends = np.full(shape, np.nan), np.zeros(shape, np.uint8)
    for part, value in zip(found.senders, found.values.tolist(), strict=True):
        column = part.index if part.kind == "head" else n_heads
        values[part.layer, column] = value
        sends[part.layer, column] = 1
    shared = [
        f"{receiver}, shared by heads {', '.join(f'{receiver.layer}.{head}' for head in heads)}"
        for receiver in found.receivers
        if len(heads := receiver.shared(posed.pair.clean)) > 1
    ]
    return Paths(
        **posed.shown(lab, found),
        receivers=[str(receiver) for receiver in found.receivers] or asked,
        shared=shared,
        mlps=found.mlps,
        values=values,
        sends=sends,
        done=int(np.isfinite(values).sum()),
        total=int(sends.sum()),
        strongest=[
            Sender(layer=part.layer, head=part.index, effect=effect)
            for part, effect in found.strongest(STRONGEST)
            if effect == effect  # a path not patched yet has none
        ],
    )
