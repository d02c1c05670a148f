"""Steering vectors: the difference that a contrast of texts makes in the stream, to be added to other runs.

    v = mean of h over the first texts - mean of h over the second        (difference of means)
    v = mean over pairs of h(first) - h(second), at the last token        (Rimsky et al. 2024, section 3)

h is the value of a site of the stream. Added to it, `h + strength * typical * v / |v|`, the vector is
measured against what it is added to: `typical` is the median norm of the stream there, so a strength of 1
adds as much as there is. `steered.py` measures what comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
import torch

from llm_workings.core import wire
from llm_workings.core.errors import BadFile, BadInput, unknown
from llm_workings.core.files import write_whole
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator
from llm_workings.models.sites import Site, select, sites_of
from llm_workings.trace.edits import Add, Edit, Picks, Where

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

Over = Literal["last", "tokens"]
ROWS = 16  # texts of one run
STREAM_AXES = ("batch", "position", "d_model")


class SteeringVector(wire.Payload):
    """A direction of the stream at one site of one model."""

    name: str
    """What it stands for."""
    model: str
    """Whose stream it is of."""
    site: str
    """Where it was read, and is added."""
    vector: Annotated[np.ndarray, wire.Tensor("float32", "d_model")]
    """The difference itself, as long as it was found."""
    typical: float
    """The median norm of the stream there, over the tokens of the texts (but each text's first)."""
    origin: str
    """How it was found."""

    @property
    def length(self) -> float:
        """The norm of `vector`."""
        return float(np.linalg.norm(self.vector.astype(np.float64)))

    @property
    def natural(self) -> float:
        """The strength at which the difference is added as long as it was found."""
        return self.length / self.typical

    @property
    def unit(self) -> np.ndarray:
        """`[d_model]` float32, of length 1."""
        return (self.vector.astype(np.float64) / self.length).astype(np.float32)

    def edit(self, strength: float = 1.0, positions: Picks = None) -> Edit:
        """The edit that adds it.

        Args:
            strength: in typical norms of the stream there; negative steers the other way.
            positions: at which tokens; by default all, of the prompt and of what is written.
        """
        return Edit(self.site, Where(positions=positions), Add(self.unit, strength * self.typical))

    def random(self, seed: int) -> SteeringVector:
        """A random direction of the same length: what adding just anything does.

        Drawn evenly over all directions, where the stream itself varies in few of them: `Directions.shuffled`
        is the harder control.
        """
        draw = torch.randn(len(self.vector), generator=generator(seed), dtype=torch.float64).numpy()
        return self._along(draw, f"random direction {seed}", f"random, seed {seed}, as long as {self.name}")

    def _along(self, direction: np.ndarray, name: str, origin: str) -> SteeringVector:
        vector = direction * (self.length / np.linalg.norm(direction))
        return self.model_copy(
            update={"vector": vector.astype(np.float32), "name": name, "origin": origin}, deep=True
        )

    def check(self, model: LanguageModel) -> None:
        """Raise `BadInput` unless this is a vector of that model, at a site that it has."""
        if self.model != model.name:
            raise BadInput(
                f"The vector {self.name!r} is of {self.model}; the directions of {model.name} are others.",
                hint="Make one of its own from the same texts.",
                given={"vector": self.model, "model": model.name},
            )
        select(model.spec, self.site)
        if len(self.vector) != model.spec.d_model:
            raise BadInput(
                f"The vector {self.name!r} is {len(self.vector)} long, the stream {model.spec.d_model} wide."
            )

    def save(self, path: str | Path) -> Path:
        """Write it as a safetensors file (`core/wire.py`), whole or not at all."""
        return write_whole(path, wire.pack(self), example="vector.safetensors")

    def __repr__(self) -> str:
        return (
            f"{self.name} at {self.site} of {self.model}: length {self.length:.4g}, {self.natural:.2f} times "
            f"the stream's typical {self.typical:.4g}; {self.origin}"
        )


def load_vector(path: str | Path) -> SteeringVector:
    """The vector that `SteeringVector.save` wrote; `BadFile` for anything else."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadFile(f"The steering vector {str(path)!r} cannot be read: {error}") from error
    found = wire.unpack(data, SteeringVector)
    if not np.isfinite(found.vector).all() or not found.length or not found.typical > 0:
        raise BadFile(f"The steering vector in {str(path)!r} is not finite, or has no length.")
    return found


@dataclass(frozen=True, eq=False)
class Directions:
    """What a contrast of texts makes at each layer.

    Attributes:
        name: what the first texts have and the second have not.
        sites: of each layer.
        firsts, seconds: `[text, layer, d_model]` float64, h of each text.
        typical: `[layer]`, the median norm of the stream there.
        over: where each text was read: its last token, or the mean over all tokens but the first.
        paired: whether the i-th texts of the two sides belong together.
    """

    name: str
    model: str
    sites: tuple[Site, ...]
    firsts: torch.Tensor = field(repr=False)
    seconds: torch.Tensor = field(repr=False)
    typical: torch.Tensor
    over: Over
    paired: bool

    @property
    def vectors(self) -> torch.Tensor:
        """`[layer, d_model]`: mean of the first less mean of the second."""
        return self.firsts.mean(0) - self.seconds.mean(0)

    @property
    def lengths(self) -> torch.Tensor:
        """`[layer]`: norms of the vectors."""
        return self.vectors.norm(dim=-1)

    @property
    def natural(self) -> torch.Tensor:
        """`[layer]`: norms of the vectors, in typical norms of the stream there."""
        return self.lengths / self.typical

    @property
    def cosines(self) -> torch.Tensor:
        """`[layer, layer]`: of the vectors among each other."""
        units = torch.nn.functional.normalize(self.vectors, dim=-1)
        return units @ units.T

    @property
    def consistency(self) -> torch.Tensor:
        """`[layer]`: mean cosine of a pair's difference with that of all the other pairs together.

        1 if every pair says the same, 0 (give or take 1 / sqrt(d_model)) if they have nothing in common.
        Raises `BadInput` for texts that are no pairs, or for a single pair.
        """
        count = len(self.firsts)
        if not self.paired or count < 2:
            raise BadInput("Consistency is of two or more pairs.", hint="Take contrastive_pairs.")
        each = self.firsts - self.seconds
        others = (each.sum(0) - each) / (count - 1)
        return torch.nn.functional.cosine_similarity(each, others, dim=-1).mean(0)

    def at(self, layer: int) -> SteeringVector:
        """The vector of one layer (negative: from the last of those here).

        Raises `BadInput` for a layer that is not here, and where the two sides do not differ.
        """
        index = self._index(layer)
        vector, typical = self.vectors[index], float(self.typical[index])
        if float(vector.norm()) <= 1e-9 * typical:
            raise BadInput(
                f"The two sides do not differ at {self.sites[index]}: there is no direction.",
                hint="Texts that end in the same token are equal there until attention has read the rest; "
                'over="tokens" reads all of it.',
            )
        kind = (
            f"{len(self.firsts)} pairs"
            if self.paired
            else f"{len(self.firsts)} and {len(self.seconds)} texts"
        )
        read = "at the last token" if self.over == "last" else "over all tokens but the first"
        return SteeringVector(
            name=self.name,
            model=self.model,
            site=str(self.sites[index]),
            vector=vector.cpu().numpy(),
            typical=typical,
            origin=f"difference of means of {kind}, {read}",
        )

    def shuffled(self, layer: int, seed: int) -> SteeringVector:
        """A control: the same texts with half of each side changed over, to the length of the vector itself.

        Which of them is drawn by lot (of pairs, half are turned round), so what the sides differ in cancels
        and what is left is how texts like these differ anyway: a direction in which the stream varies, as
        a random one is not. Raises `BadInput` for fewer than two texts on a side.
        """
        index, true = self._index(layer), self.at(layer)
        a, b = self.firsts[:, index], self.seconds[:, index]
        if min(len(a), len(b)) < 2:
            raise BadInput("To change half of each side over takes two texts on each side or more.")
        draw = generator(seed)
        over = round(len(a) * len(b) / (len(a) + len(b)))  # each side is then the same mixture
        order = torch.randperm(len(a), generator=draw).to(a.device)
        other = order if self.paired else torch.randperm(len(b), generator=draw).to(a.device)
        first = torch.cat((a[order[over:]], b[other[:over]])).mean(0)
        second = torch.cat((b[other[over:]], a[order[:over]])).mean(0)
        origin = f"half of each side changed over, seed {seed}, as long as {self.name}"
        return true._along((first - second).cpu().numpy(), f"shuffled sides {seed}", origin)

    def _index(self, layer: int) -> int:
        layers = [place.layer for place in self.sites]
        wanted = layers[layer] if -len(layers) <= layer < 0 else layer
        if wanted not in layers:
            raise BadInput(
                f"There is no vector of layer {layer}: there are those of {', '.join(map(str, layers))}.",
                given={"layer": layer},
            )
        return layers.index(wanted)

    def __repr__(self) -> str:
        rows = [f"{self.name} in {self.model}, {len(self.firsts)} and {len(self.seconds)} texts"]
        for place, length, natural in zip(self.sites, self.lengths, self.natural, strict=True):
            rows.append(f"{place!s:<16} length {float(length):9.3f}   {float(natural):6.3f} typical norms")
        return "\n  ".join(rows)


def difference_of_means(
    model: LanguageModel,
    firsts: Sequence[str],
    seconds: Sequence[str],
    kind: str = "resid_post",
    *,
    over: Over = "tokens",
    layers: Sequence[int] | None = None,
    name: str = "",
    progress: Progress = SILENT,
) -> Directions:
    """The difference of means of two sets of texts, at every layer in one pass.

    Args:
        firsts, seconds: the texts steered to, and away from; any number of each.
        kind: of site: `resid_pre`, `resid_post`, `attn_out` ..., anything as wide as the stream.
        over: read each text at its `last` token, or as the mean over its `tokens` but the first, whose norm
            is often a hundred times the others' (an attention sink, Xiao et al. 2024).
        layers: by default all.

    Raises:
        BadInput: no texts, a site that is no stream, a text too short for its tokens' mean.
        UnknownName: a site that is not there.
    """
    return _directions(model, firsts, seconds, kind, over, layers, name or "difference", False, progress)


def contrastive_pairs(
    model: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    kind: str = "resid_post",
    *,
    over: Over = "last",
    layers: Sequence[int] | None = None,
    name: str = "",
    progress: Progress = SILENT,
) -> Directions:
    """The mean difference of pairs of texts that differ in one thing (contrastive activation addition).

    As a vector it is the difference of means of the two sides; that they are pairs tells how far they agree
    (`Directions.consistency`). Arguments and errors as of `difference_of_means`.
    """
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise BadInput(f"{pair!r} is no pair of texts.", hint="Give (with it, with its opposite).")
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
    return _directions(model, firsts, seconds, kind, over, layers, name or "difference", True, progress)


def _directions(
    model: LanguageModel,
    firsts: Sequence[str],
    seconds: Sequence[str],
    kind: str,
    over: Over,
    layers: Sequence[int] | None,
    name: str,
    paired: bool,
    progress: Progress,
) -> Directions:
    if over not in get_args(Over):
        raise unknown("way to read a text", str(over), get_args(Over))
    if isinstance(firsts, str) or isinstance(seconds, str) or not firsts or not seconds:
        raise BadInput("A contrast needs a list of texts on each side, with at least one in it.")
    places = _stream_sites(model, kind, layers)
    texts = [*firsts, *seconds]
    read: list[torch.Tensor] = []
    norms: list[torch.Tensor] = []
    for begin in range(0, len(texts), ROWS):
        progress.report("reading the texts", begin, len(texts))
        run = model.run(texts[begin : begin + ROWS], keep=places, logits=False)
        values = run.stack(places).double()  # [layer, text, position, d_model]
        for row, length in enumerate(run.lengths):
            own = values[:, row, :length]
            rest = own[:, 1:] if length > 1 else own
            norms.append(rest.norm(dim=-1))
            if over == "tokens" and length < 2:
                raise BadInput(
                    f"The text {texts[begin + row]!r} is one token long: there is no mean without the first.",
                    hint='Take longer texts, or over="last".',
                )
            read.append(own[:, -1] if over == "last" else rest.mean(1))
    found = torch.stack(read)
    return Directions(
        name,
        model.name,
        places,
        found[: len(firsts)],
        found[len(firsts) :],
        torch.cat(norms, 1).median(1).values,
        over,
        paired,
    )


def _stream_sites(model: LanguageModel, kind: str, layers: Sequence[int] | None) -> tuple[Site, ...]:
    wanted: list[Any] = [f"{kind}.*"] if layers is None else [f"{kind}.{layer}" for layer in layers]
    places = select(model.spec, wanted)
    if not places or places[0].axes != STREAM_AXES:
        wide = {
            place.kind
            for place in sites_of(model.spec)
            if place.axes == STREAM_AXES and place.layer is not None
        }
        axes = ", ".join(places[0].axes) if places else "none"
        raise BadInput(
            f"{kind} is not as wide as the stream: its axes are {axes}.",
            hint=f"Take one of {', '.join(sorted(wide))}.",
        )
    return places
