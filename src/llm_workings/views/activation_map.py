"""How the pictures of a set lie in each layer, how alike layers are, and what foretells a wrong answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload, Tensor

from .contract import view
from .lab import Lab
from .picture_sets import Over, PictureCount, PictureSeed, Thumbnails, over_set, set_of, stages, thumbnails
from .vision_parts import DEFAULT_NET, Net, NetCard, net_card

if TYPE_CHECKING:
    from llm_workings.activations.layers import Gathering

LIKE = {"shapes-cnn": "shortcut-cnn", "shortcut-cnn": "shapes-cnn"}
NOISES = (0.04, 0.08, 0.12, 0.2, 0.35, 0.6)
TRIED = 64  # pictures that the noise is chosen on

Drawing = Annotated[
    Literal["pca", "umap"],
    Field(title="Drawing", description="pca, or umap where umap-learn is installed."),
]
OtherNet = Annotated[
    str,
    Field(
        title="Other network",
        max_length=200,
        description="Whose layers to compare with; empty: one like it where there is one.",
    ),
]
ByLayer = Annotated[np.ndarray, Tensor("float32", "layer")]
ByPicture = Annotated[np.ndarray, Tensor("uint8", "picture")]


class Foretold(Payload):
    """Whether a wrong answer can be told from inside, on pictures with noise."""

    noise: float
    """Standard deviation of what was added, of a pixel's range of 1."""
    wrong: int
    n: int
    by_layer: ByLayer
    """Area under the ROC curve of a linear probe, on pictures it has not seen: 0.5 is chance."""
    shuffled: ByLayer
    """Of a probe that learned shuffled labels."""
    doubt: float
    """Of the answer's own doubt: the baseline."""


class ActivationMap(Payload):
    """The pictures of a set in the plane of each layer, and what is measured of whole layers."""

    net: NetCard
    set: str
    n: int
    drawing: Literal["pca", "umap"]
    seed: int
    labels: ByPicture
    answers: ByPicture
    thumbnails: Thumbnails
    layers: list[str]
    done: int
    """How many of the layers are drawn; the rest is NaN."""
    flat: Annotated[np.ndarray, Tensor("float32", "layer picture axis")]
    shares: Annotated[np.ndarray, Tensor("float32", "layer axis")]
    """Of the variance, by each of the two directions; NaN for a drawing that is not linear."""
    clusters: Annotated[np.ndarray, Tensor("uint8", "layer picture")]
    """By k-means, with as many clusters as there are classes."""
    agreement: ByLayer
    """Of clusters with classes, the adjusted Rand index: 1 the same, 0 as by chance."""
    silhouette: ByLayer
    separability: ByLayer
    """Accuracy of a linear probe on pictures held back."""
    majority: float
    """What naming the most common class would have."""
    alike: Annotated[np.ndarray, Tensor("float32", "layer layer")]
    """Linear CKA, unbiased."""
    other: str
    """The network whose layers are compared with; empty where there is none."""
    other_title: str
    other_layers: list[str]
    across: Annotated[np.ndarray, Tensor("float32", "layer other")]
    foretold: Foretold | None
    not_foretold: str
    """Why it could not be asked."""
    complete: bool

    def reading(self) -> str:
        """What came out, in a few sentences."""
        done = slice(0, self.done)
        if not self.done:
            return f"{self.n} pictures of {self.set} were run through {self.net.title}."
        best = int(np.nanargmax(self.silhouette[done]))
        last = self.done - 1
        said = (
            f"Of {self.n} pictures of {self.set}, classes stand apart most at {self.layers[best]} "
            f"(silhouette {self.silhouette[best]:.2f}, clusters agree {self.agreement[best]:.2f}); "
            f"a linear probe reads them with {self.separability[0]:.2f} at {self.layers[0]} and "
            f"{self.separability[last]:.2f} at {self.layers[last]} (chance {self.majority:.2f})."
        )
        if self.foretold is None:
            return said
        top = int(self.foretold.by_layer.argmax())
        return (
            f"{said} With noise it gets {self.foretold.wrong} of {self.foretold.n} wrong, which a probe at "
            f"{self.layers[top]} foretells with an AUROC of {self.foretold.by_layer[top]:.2f}, the answer's "
            f"own doubt with {self.foretold.doubt:.2f}, shuffled labels with up to "
            f"{self.foretold.shuffled.max():.2f}."
        )


@dataclass
class _Found:
    gathered: list[Gathering] = field(default_factory=list)
    alike: NDArray[np.float64] | None = None
    across: NDArray[np.float64] | None = None
    foretold: Foretold | None = None
    why_not: str = ""


@view
def activation_map(
    lab: Lab,
    net: Net = DEFAULT_NET,
    n: PictureCount = 200,
    drawing: Drawing = "pca",
    other: OtherNet = "",
    seed: PictureSeed = 0,
) -> ActivationMap:
    """Layers, over a set of pictures.

    Each point is a picture, where its units put it: each channel's mean over its places, standardized, drawn
    along the two directions in which the pictures differ most (PCA), or by UMAP, which puts neighbours near
    each other and says nothing by what is far.

    Silhouette: (b − a) / max(a, b), a being the mean distance to its own class, b to the nearest other.
    Clusters agree: k-means against the classes, adjusted Rand index. Linear probe: accuracy on pictures held
    back. CKA (Kornblith et al. 2019), unbiased: 1 for layers that are the same up to a rotation.

    Will it be wrong? On pictures with noise, a probe of each layer is asked; the baseline is the answer's own
    doubt, 1 less its largest probability (Hendrycks and Gimpel 2017), and a probe of shuffled labels shows
    chance.

    What this cannot tell you: what the network uses. That a class can be read from a layer does not mean that
    the next one reads it. The plane shows two directions of many: what overlaps in it may stand apart.
    The mean over places hides where a unit answers.
    """
    from llm_workings.activations.layers import gather, similarity

    model, kind, over = lab.vision(net), set_of(net), over_set(lab, net, n)
    names = stages(model)
    compared = other or LIKE.get(net, "")
    against = _other(lab, compared, net, over) if compared else None
    so_far = _Found()

    def payload(complete: bool) -> ActivationMap:
        done = so_far.gathered
        many, count = len(names), len(over.found)
        flat = np.full((many, count, 2), np.nan)
        shares = np.full((many, 2), np.nan)
        clusters = np.zeros((many, count), np.uint8)
        numbers = np.full((3, many), np.nan)
        for at, one in enumerate(done):
            flat[at], clusters[at] = one.flat, one.clusters
            shares[at] = one.shares or (np.nan, np.nan)
            numbers[:, at] = one.agreement, one.silhouette, one.separability
        theirs = [] if against is None else list(against.found.layers)
        return ActivationMap(
            net=net_card(model),
            set=kind,
            n=count,
            drawing=drawing,
            seed=seed,
            labels=over.found.labels.astype(np.uint8),
            answers=over.found.answers.astype(np.uint8),
            thumbnails=thumbnails(over.images),
            layers=names,
            done=len(done),
            flat=flat,
            shares=shares,
            clusters=clusters,
            agreement=numbers[0],
            silhouette=numbers[1],
            separability=numbers[2],
            majority=done[0].majority if done else float("nan"),
            alike=_or_nothing(so_far.alike, many, many),
            other=compared,
            other_title=net_card(lab.vision(compared)).title if compared else "",
            other_layers=theirs,
            across=_or_nothing(so_far.across, many, len(theirs)),
            foretold=so_far.foretold,
            not_foretold=so_far.why_not,
            complete=complete,
        )

    def measure() -> _Found:
        for at, name in enumerate(names):
            lab.progress.report(f"gathering {name}", at, len(names) + 1)
            so_far.gathered += gather(
                {name: over.found.at(name)}, over.found.labels, drawing=drawing, seed=seed
            )
            lab.progress.publish(lambda: payload(False))
        so_far.alike = similarity(over.found.layers)
        if against is not None:
            so_far.across = similarity(over.found.layers, against.found.layers)
        lab.progress.report("asking whether errors can be foretold", len(names), len(names) + 1)
        so_far.foretold, so_far.why_not = _foretold(lab, net, over, seed)
        return so_far

    so_far = lab.found(net, ("map", n, drawing, compared, seed), measure)
    return payload(True)


def _or_nothing(found: NDArray[np.float64] | None, rows: int, columns: int) -> NDArray[np.float64]:
    return np.full((rows, columns), np.nan) if found is None else found


def _other(lab: Lab, name: str, net: str, over: Over) -> Over:
    """Another network over the same pictures."""
    from llm_workings.activations.collect import collect

    model = lab.vision(name)
    shape = (model.channels, *model.size)
    if shape != over.images.shape[1:]:
        raise BadInput(
            f"{name!r} reads pictures of {list(shape)}, not of {list(over.images.shape[1:])}.",
            hint="Compare networks that read the same pictures: shapes-cnn and shortcut-cnn.",
            given={"other": name},
        )

    def run() -> Over:
        found = collect(model, over.images, layers=stages(model), progress=lab.progress)
        return Over(found, over.images)

    return lab.found(name, ("pictures of", net, len(over.images)), run)


def _foretold(lab: Lab, net: str, over: Over, seed: int) -> tuple[Foretold | None, str]:
    """The probe for "will it be wrong?", with noise of which about half of the answers are wrong."""
    from llm_workings.activations.collect import collect
    from llm_workings.activations.mistakes import foresee

    model, labels = lab.vision(net), over.found.labels

    def with_noise(size: float, most: int) -> NDArray[np.float32]:
        drawn = np.random.default_rng(seed).normal(0, size, over.images[:most].shape)
        return np.clip(over.images[:most] + drawn, 0, 1).astype(np.float32)

    def wrong(size: float) -> float:
        found = collect(model, with_noise(size, TRIED), layers=())
        return float((found.answers != labels[:TRIED]).mean())

    noise = min(NOISES, key=lambda size: abs(wrong(size) - 0.5))
    found = collect(model, with_noise(noise, len(labels)), labels, stages(model), progress=lab.progress)
    try:
        seen = foresee(found.layers, found.logits, labels, seed=seed)
    except BadInput as error:
        return None, error.message
    return (
        Foretold(
            noise=noise,
            wrong=seen.wrong,
            n=seen.n,
            by_layer=np.array([seen.by_layer[name] for name in found.layers]),
            shuffled=np.array([seen.shuffled[name] for name in found.layers]),
            doubt=seen.doubt,
        ),
        "",
    )
