"""The patching view: one run's values put into another, place by place, and what the answer does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.catalogue import DEFAULT_MODEL

from .contract import ModelName, Prompt, view
from .lab import Lab
from .pairs import Answer, At, Corrupted, Direction, Measured, Posed, PosedPair, Wrong, measured, pose
from .parts import quoted

if TYPE_CHECKING:
    from llm_workings.causal.patching import Patching as Found

Kind = Literal[
    "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out",
    "z", "q", "k", "v", "pattern", "mlp_post", "nodes",
]  # fmt: skip
KINDS: dict[str, str] = {
    "resid_pre": "the stream before each layer",
    "resid_mid": "the stream after each attention",
    "resid_post": "the stream after each layer",
    "attn_out": "what each attention adds",
    "mlp_out": "what each MLP adds",
    "z": "heads' outputs",
    "q": "heads' queries",
    "k": "heads' keys",
    "v": "heads' values",
    "pattern": "heads' patterns",
    "mlp_post": "neurons of a layer",
    "nodes": "every head and MLP",
}
"""What each kind patches, in words."""
STRONGEST = 12

Patched = Annotated[
    Kind,
    Field(
        title="What is patched",
        description="A site: resid_pre, resid_mid, resid_post, attn_out, mlp_out, z, q, k, v, pattern, "
        "mlp_post (neurons of one layer); or nodes, every head and MLP.",
    ),
]
By = Annotated[
    str | None,
    Field(
        title="Told apart by",
        max_length=60,
        description="Beside the layer: position, head, neuron, or several, such as 'head,position'. "
        "Left out, it is as usual for the site.",
    ),
]
Only = Annotated[
    int | None,
    Field(
        title="Only the layer",
        ge=0,
        description="Sweep this layer alone. Left out, it is all of them; of neurons, the layer whose MLP "
        "moves the answer most.",
    ),
]


class PatchedPlace(Payload):
    """A cell of the picture."""

    layer: int
    unit: int | None
    """The head, or the neuron; None where the layer is patched whole, or for an MLP."""
    position: int | None
    value: float
    name: str
    """In short: `23.3`, `MLP 4`, `layer 16 at 9`."""


class Patching(PosedPair):
    """The metric of every patched run, between those of the two runs themselves."""

    kind: Kind
    axes: list[Literal["layer", "position", "head", "neuron", "node"]]
    """What is told apart, layer first; of nodes, the last column is the MLP."""
    layers: list[int]
    values: Annotated[np.ndarray, Tensor("float64", "layer unit position")]
    """The metric of each patched run; NaN where it is not computed (yet). An axis that is not told apart
    has one entry."""
    done: int
    total: int
    strongest: list[PatchedPlace]
    """The patches that move the metric furthest from the run they are made in, best first."""

    def normalized(self, value: float) -> float:
        """0 as in the corrupted run, 1 as in the clean one."""
        return (value - self.corrupted_value) / (self.clean_value - self.corrupted_value)

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        into = "corrupted" if self.direction == "denoising" else "clean"
        changes = ", ".join(
            f"{quoted(self.corrupted[at])} for {quoted(self.clean[at])} at {at}" for at in self.differs[:4]
        )
        lines = [
            f"{self.model.title}: {len(self.clean)} tokens; the corrupted text has {changes}.",
            f"{measured(self)}: clean {self.clean_value:.3g}, corrupted {self.corrupted_value:.3g}.",
            f"{self.done} of {self.total} patches of {KINDS[self.kind]} into the {into} run.",
        ]
        if self.strongest and self.comparable:
            said = ", ".join(
                f"{place.name} ({self.normalized(place.value):.2f})" for place in self.strongest[:4]
            )
            lines.append(f"The strongest, 0 as corrupted and 1 as clean: {said}.")
        elif self.strongest:
            said = ", ".join(f"{place.name} ({place.value:.3g})" for place in self.strongest[:4])
            lines.append(f"Both runs score the same, so nothing is normalized. The strongest: {said}.")
        return " ".join(lines)


@view
def patching(
    lab: Lab,
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
    kind: Patched = "resid_pre",
    by: By = None,
    direction: Direction = "denoising",
    metric: Measured = "logit_difference",
    at: At = None,
    only: Only = None,
) -> Patching:
    """Activation patching.

    Two texts of equally many tokens that differ in one thing, and have different answers. Each cell is a run
    of its own: one value of the one run, at one place, is put into the other run, all that comes after is
    computed anew, and the answer is read. A cell says how far the answer went: (patched − corrupted) /
    (clean − corrupted), 0 as in the corrupted run, 1 as in the clean one.

    Denoising puts clean values into the corrupted run, and shows what suffices to restore the answer;
    noising puts corrupted values into the clean run, and shows what the answer needs (Heimersheim and
    Nanda 2024). The two differ wherever parts stand in for each other.

    What this cannot tell you: how a value is used later, nor that a place without effect holds nothing, for
    another place may hold the same. A patch makes a run that no text makes. And all of it is about this pair
    of texts and this metric: take several pairs before you believe in a part of the model.
    """
    posed = pose(lab, model, prompt, corrupted, answer, wrong, metric, at)
    return _Sweeps(lab, posed, kind, by, direction, only).run()


def picture_of(lab: Lab, asked: Mapping[str, Any], found: Found) -> Patching:
    """The picture of a sweep that was made elsewhere; `asked` is the whole request that it answers.

    Raises as `pose`.
    """
    names = ("model", "prompt", "corrupted", "answer", "wrong", "metric", "at")
    posed = pose(lab, *(asked[name] for name in names))
    return _Sweeps(lab, posed, asked["kind"], asked["by"], asked["direction"], None)._picture(found)


@dataclass(frozen=True)
class _Sweeps:
    """The sweeps of one picture, and the picture of as much as they have found."""

    lab: Lab
    posed: Posed
    kind: Kind
    by: str | None
    direction: Literal["denoising", "noising"]
    only: int | None

    def run(self) -> Patching:
        if self.kind == "nodes":
            return self._nodes()
        layers = None if self.only is None else [self.only]
        if self.kind == "mlp_post" and layers is None:
            layers = [self._moving_layer()]
        return self._picture(self._patch(self.kind, self._axes(), layers, self._picture))

    def _patch(
        self, kind: str, by: Any, layers: list[int] | None, picture: Callable[[Found], Patching] | None
    ) -> Found:
        from llm_workings.causal.patching import patch

        def show(found: Found) -> None:
            if picture is not None:
                self.lab.progress.publish(lambda: picture(found))

        return patch(
            self.posed.pair, kind, self.posed.metric, by=by, layers=layers, direction=self.direction,
            progress=self.lab.progress, partial=show,
        )  # fmt: skip

    def _axes(self) -> list[str] | None:
        if self.by is None:
            return None
        return [axis.strip() for axis in self.by.split(",") if axis.strip()]

    def _moving_layer(self) -> int:
        """The layer whose MLP, patched whole, moves the answer most."""
        place, _ = self._patch("mlp_out", ["layer"], None, None).strongest(1)[0]
        return place[0]

    def _nodes(self) -> Patching:
        """Every head's output, then every MLP's, each at all positions."""
        import torch

        from llm_workings.models.spec import NoMLP

        if self.by not in (None, "node"):
            raise BadInput(
                f"Every node at once is told apart by layer and node, not by {self.by!r}.",
                hint="Leave it out, or take one kind, such as z, by head and position.",
                given={"by": self.by},
            )
        spec = self.posed.pair.model.spec
        layers = None if self.only is None else [self.only]

        def joined(heads: Found, mlps: Found | None = None) -> Patching:
            column = torch.full((len(heads.layers), 1), torch.nan, dtype=torch.float64)
            if isinstance(spec.mlp, NoMLP):
                column = column[:, :0]
            elif mlps is not None:
                column = mlps.values[:, None]
            values = torch.cat((heads.values, column), 1)
            return self._payload(heads, values[..., None].numpy(), ["layer", "node"])

        heads = self._patch("z", ["head"], layers, joined)
        if isinstance(spec.mlp, NoMLP):
            return joined(heads)
        mlps = self._patch("mlp_out", ["layer"], layers, lambda found: joined(heads, found))
        return joined(heads, mlps)

    def _picture(self, found: Found) -> Patching:
        values = found.values
        if found.axes[1:] == ("position",):
            values = values[:, None]
        while values.ndim < 3:
            values = values[..., None]
        return self._payload(found, values.numpy(), list(found.axes))

    def _payload(self, found: Found, values: np.ndarray, axes: list[Any]) -> Patching:
        return Patching(
            **self.posed.shown(self.lab, found),
            kind=self.kind,
            axes=axes,
            layers=list(found.layers),
            values=values,
            done=int(np.isfinite(values).sum()),
            total=values.size,
            strongest=self._strongest(values, axes, found),
        )

    def _strongest(self, values: np.ndarray, axes: list[str], found: Found) -> list[PatchedPlace]:
        unpatched = found.corrupted if self.direction == "denoising" else found.clean
        moved = np.nan_to_num(np.abs(values - unpatched), nan=-1.0)
        places = []
        for flat in np.argsort(-moved, axis=None, kind="stable")[:STRONGEST]:
            layer, unit, position = (int(index) for index in np.unravel_index(flat, values.shape))
            if np.isnan(values[layer, unit, position]):
                break
            whole = not {"head", "neuron", "node"} & set(axes)
            mlp = "node" in axes and unit == self.posed.pair.model.spec.attention.n_heads
            at = found.layers[layer]
            name = f"layer {at}" if whole else f"MLP {at}" if mlp else f"{at}.{unit}"
            places.append(
                PatchedPlace(
                    layer=at,
                    unit=None if whole or mlp else unit,
                    position=position if "position" in axes else None,
                    value=float(values[layer, unit, position]),
                    name=name + (f" at {position}" if "position" in axes else ""),
                )
            )
        return places
