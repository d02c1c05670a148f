"""The gallery of attributions: one picture, every method as a map over it, each with its own checks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import numpy as np

from llm_workings.core.wire import Payload, Tensor

from .attribution_methods import (
    KINDS,
    MAPS,
    OF_ONE_PASS,
    Against,
    ClassIndex,
    DrawnSeed,
    Family,
    MapLayer,
    MethodNames,
    Posed,
    channels_of,
    method_of,
    named,
    picture_map,
    pose,
    set_of,
    shown_layers,
)
from .contract import view
from .lab import Lab
from .vision_parts import (
    DEFAULT_NET,
    ClassScore,
    Net,
    NetCard,
    Picture,
    PictureName,
    net_card,
    picture_of,
    scores_of,
)

if TYPE_CHECKING:
    from llm_workings.attribution.result import Attribution

Map = Annotated[np.ndarray, Tensor("float32", "row column")]
NO_PLACES = "No layer of this network has places."
NO_SET = "No set that is here has other pictures like this one, nor those that the network was trained on."
MOST_RUNS = 256  # of the network for one map; past that it is worked out when asked for
LATEST = (
    "SmoothGrad",
    "integrated gradients",
    "occlusion",
    "expected gradients",
    "Score-CAM",
)  # many runs: after the others
FULL = 0.995  # the share of the places whose values are told apart by colour; the rest is full


class Tile(Payload):
    """One method's map of the picture, and what can be said of it at once."""

    name: str
    family: Family
    what: str
    layer: str | None
    """Of a class activation map: where it was taken."""
    map: Map
    """Signed; of a layer's own size for a class activation map, else of the picture's."""
    most: float
    """The largest absolute value."""
    full: float
    """The absolute value that 99.5 % of the places stay below: where the colour is full."""
    mean: float
    """The mean absolute value."""
    total: float
    """The sum of all values (of all channels)."""
    expected: float | None
    """What they should add up to, where the method promises that."""
    mass: float | None
    """The true mask's share of all that is positive."""
    hit: bool | None
    """Whether the strongest place lies in the true mask, or next to it."""
    on_mark: float | None
    """The planted mark's share of all that is positive."""
    notes: list[str]
    seconds: float | None
    """That it took; maps of all layers come together."""


class Later(Payload):
    """A method that was not worked out, for it takes long."""

    name: str
    what: str
    runs: int
    """Of the network."""


class Absent(Payload):
    """A method that cannot be worked out here."""

    name: str
    why: str


class AttributionGallery(Payload):
    """A picture, what the network says of it, and every method's map of why."""

    net: NetCard
    picture: Picture
    scores: list[ClassScore]
    """The best classes, the one explained, the one it is compared with and the true one."""
    target: int
    contrast: int | None
    score: float
    """What is explained: the logit, or the difference of the two."""
    layers: list[str]
    """Whose class activation maps are here, in the order in which they run."""
    layer: str | None
    """The one that was asked for."""
    seed: int
    tiles: list[Tile]
    later: list[Later]
    absent: list[Absent]
    area: float | None
    """The true mask's share of the picture: what chance gives."""
    mark_area: float | None
    """The planted mark's share of the picture."""
    waiting: list[str]
    """Methods that are not worked out yet."""

    def reading(self) -> str:
        """The picture in a few sentences, for a terminal or a screen reader."""
        names = self.net.classes
        against = "" if self.contrast is None else f" rather than {names[self.contrast]}"
        best = self.scores[0]
        said = [
            f"{self.net.title} on {self.picture.title}: {best.name} ({best.probability:.2f}). "
            f"Why {names[self.target]}{against} (score {self.score:.3g})?"
        ]
        here = [tile for tile in self.tiles if tile.layer in (None, self.layer)]
        if self.area is not None:
            hits = [tile.name for tile in here if tile.hit]
            said.append(f"The strongest place is on the figure for {len(hits)} of {len(here)} methods.")
        shares = sorted((tile.on_mark, tile.name) for tile in here if tile.on_mark is not None)
        if shares and self.mark_area:
            middle = shares[len(shares) // 2][0]
            said.append(
                f"The mark is {self.mark_area:.1%} of the picture; half of the methods put at least "
                f"{middle:.0%} of their relevance on it, {middle / self.mark_area:.0f} times its share."
            )
        for tile in here[:4]:
            row, column = np.unravel_index(int(np.abs(tile.map).argmax()), tile.map.shape)
            said.append(f"{tile.name}: strongest at row {row}, column {column}.")
        return " ".join(said)


@view
def attribution_gallery(
    lab: Lab,
    net: Net = DEFAULT_NET,
    picture: PictureName = "",
    target: ClassIndex = None,
    contrast: Against = None,
    methods: MethodNames = [],  # noqa: B006 (pydantic copies it)
    layer: MapLayer = None,
    seed: DrawnSeed = 0,
) -> AttributionGallery:
    """Attribution gallery.

    Which places of the picture have to do with the answer? Each map is another method's reply about the
    same score, the logit of a class or the difference of two. Blue speaks for it, orange and hatched
    against it. Slopes say what the score does when a pixel changes a little, ∂score/∂x; shares split the
    score up, for example x · ∂score/∂x; covering takes a window away; class activation maps weigh a
    layer's channels, Σ_c w_c A_c; relevance carries the score back from layer to layer.

    Where a method promises that its values add up, the sum stands beside what it should be; of relevance,
    biases take a part. On drawn
    pictures the true figure is known: mass is its share of all that is positive, and a hit means that
    the strongest place lies on it.

    What this cannot tell you: why the network answers as it does. The methods differ, and none is the
    truth: a map may be pretty and about the picture alone. Randomized weights, deletion and insertion
    (open a map) test that. A map of a layer is coarse: its cells reach over much of the picture. Against
    grey, grey pixels never count.
    """
    posed = pose(lab, net, picture, target, contrast)
    layers, at = shown_layers(posed, layer)
    wanted = named(methods)
    why_not = {} if layers else dict.fromkeys(MAPS, NO_PLACES)
    if not set_of(posed):
        why_not["expected gradients"] = NO_SET
    absent = [Absent(name=name, why=why_not[name]) for name in wanted if name in why_not]
    wanted = [name for name in wanted if name not in why_not]
    later = []
    if "Score-CAM" in wanted and not methods and at and channels_of(posed, at) > MOST_RUNS:
        wanted.remove("Score-CAM")
        later.append(Later(name="Score-CAM", what=KINDS["Score-CAM"].what, runs=channels_of(posed, at)))
    seen = picture_of(posed.opened, posed.model)
    tiles: list[Tile] = []

    def so_far() -> AttributionGallery:
        also = tuple(index for index in (posed.target, posed.contrast, seen.label) if index is not None)
        here = {tile.name for tile in tiles}
        return AttributionGallery(
            net=net_card(posed.model),
            picture=seen,
            scores=scores_of(posed.logits, posed.model.classes, 5, also),
            target=posed.target,
            contrast=posed.contrast,
            score=_score(posed),
            layers=layers,
            layer=at,
            seed=seed,
            tiles=sorted(tiles, key=lambda tile: list(KINDS).index(tile.name)),
            later=later,
            absent=absent,
            area=None if seen.mask is None else float(seen.mask.mean()),
            mark_area=None if seen.mark is None else float(seen.mark.mean()),
            waiting=[name for name in wanted if name not in here],
        )

    lab.progress.publish(so_far)
    tiles += _maps(posed, layers, [name for name in wanted if name in OF_ONE_PASS], seen)
    alone = [name for name in wanted if name not in OF_ONE_PASS]
    alone.sort(key=lambda name: name in LATEST)
    for done, name in enumerate(alone):
        lab.progress.publish(so_far)
        lab.progress.report(name, done, len(alone))
        started = time.perf_counter()
        method = method_of(posed, name, at, seed, lab.progress)
        result = method(posed.model.module, posed.x, posed.score)
        seconds = time.perf_counter() - started
        tiles.append(_tile(posed, name, at if name in MAPS else None, result, seen, seconds))
    return so_far()


def _maps(posed: Posed, layers: list[str], methods: list[str], seen: Picture) -> list[Tile]:
    """The class activation maps of all layers, from one forward and one backward."""
    from llm_workings.attribution.cams import cams

    if not layers or not methods:
        return []
    found = cams(posed.model.module, posed.x, posed.score, layers, methods)
    return [_tile(posed, name, layer, result, seen, None) for (name, layer), result in found.items()]


def _tile(
    posed: Posed, name: str, layer: str | None, result: Attribution, seen: Picture, seconds: float | None
) -> Tile:
    import torch

    from llm_workings.attribution.truth import mass, pointing, strength

    drawn = picture_map(name, result)[0].cpu().double().numpy()
    size = np.abs(drawn)
    strong = strength(result, posed.x).cpu()

    def share(place: np.ndarray | None) -> float | None:
        return None if place is None else float(mass(strong, torch.from_numpy(place)[None]))

    kind = KINDS[name]
    notes = list(result.notes)
    if kind.caveat and not any("no ReLU" in note for note in notes):  # then it is a plain gradient
        notes.append(kind.caveat)
    if not size.any() and not result.notes:
        notes.insert(0, "Every value is zero: nothing is shown.")
    mask = seen.mask
    return Tile(
        name=name,
        family=kind.family,
        what=kind.what,
        layer=layer,
        map=drawn,
        most=float(size.max()),
        full=float(np.quantile(size, FULL)) or float(size.max()),
        mean=float(size.mean()),
        total=float(result.sum[0]),
        expected=None if result.expected is None else float(result.expected[0]),
        mass=share(mask),
        hit=None if mask is None else bool(pointing(strong, torch.from_numpy(mask)[None])[0]),
        on_mark=share(seen.mark),
        notes=notes,
        seconds=seconds,
    )


def _score(posed: Posed) -> float:
    own = float(posed.logits[posed.target])
    return own if posed.contrast is None else own - float(posed.logits[posed.contrast])
