"""A picture made to mislead, seen from inside: where it leaves the clean one's way, and what tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_workings.core.wire import Payload, Tensor
from llm_workings.models.vision_nets import VISION_NETS

from .contract import view
from .lab import Lab
from .picture_sets import PictureCount, PictureSeed, reference_of, set_of, stages
from .vision_parts import (
    DEFAULT_NET,
    ClassScore,
    Net,
    NetCard,
    Picture,
    PictureName,
    Pixels,
    net_card,
    picture_of,
    pictures_of,
    scores_of,
)

if TYPE_CHECKING:
    import torch

    from llm_workings.models.vision_wrap import VisionModel

AT_ONCE = 20  # pictures between two looks at how far it is

AttackKind = Annotated[
    Literal["pgd", "fgsm"],
    Field(title="Attack", description="pgd: many small steps; fgsm: one step of the gradient's sign."),
]
Epsilon = Annotated[
    float,
    Field(title="Epsilon", gt=0, le=64, description="How far any pixel may change, of 255."),
]
Steps = Annotated[int, Field(title="Steps", ge=1, le=100, description="Of the pgd attack.")]
Each = Annotated[np.ndarray, Tensor("float32", "layer picture")]
Own = Annotated[np.ndarray, Tensor("float32", "layer")]


class Adversary(Payload):
    """A picture, the misleading one made of it, and both inside; the same over a set of pictures."""

    net: NetCard
    picture: Picture
    misleading: Pixels
    """As a picture: rounded to 255ths, which the network was not."""
    change: Annotated[np.ndarray, Tensor("float16", "row column channel")]
    """Misleading less clean, of a pixel's range of 1."""
    away: int
    """The class it was to get away from: the true one; where that is not known, the one first answered."""
    before: list[ClassScore]
    after: list[ClassScore]
    attack: Literal["pgd", "fgsm"]
    epsilon: float
    """Of 255."""
    steps: int
    layers: list[str]
    own_distance: Own
    own_noise: Own
    own_strangeness: Annotated[np.ndarray, Tensor("float32", "side layer")]
    """Of the clean picture and of the misleading one; NaN without a reference."""
    set: str
    """Whose pictures the rest is over; empty where the network has none."""
    done: int
    n: int
    distance: Each
    """|a' - a| / |a| of each picture of the set, misled."""
    noise: Each
    """The same with noise of the same size instead."""
    strangeness: Annotated[np.ndarray, Tensor("float32", "side layer picture")]
    """Mean distance to the five nearest of the reference: of the clean pictures, of the misleading ones."""
    detection: Own
    """Area under the ROC curve of telling them apart by strangeness: 0.5 is chance."""
    baseline: float
    """The same by the answer's own doubt, 1 less its largest probability."""
    right: float
    """The share answered rightly when clean."""
    fooled: float
    """The share of those that no longer is."""
    sure: tuple[float, float]
    """The median of the largest probability: of clean pictures, of misleading ones."""
    reference: int
    """Clean pictures that strangeness is measured from."""
    complete: bool

    def best(self) -> int:
        """The layer whose strangeness tells them best."""
        return int(np.nanargmax(self.detection)) if self.done else len(self.layers) - 1

    def reading(self) -> str:
        """What came out, in a few sentences."""
        names = self.net.classes
        first, then = self.before[0], self.after[0]
        size = f"With {self.attack.upper()} of {self.epsilon:g}/255"
        said = (
            f"{size}, {first.name} ({first.probability:.2f}) becomes {then.name} ({then.probability:.2f})."
            if first.index != then.index
            else f"{size} it is still {first.name} ({then.probability:.2f}, before {first.probability:.2f})."
        )
        if self.away != first.index:
            said += f" In truth it is {names[self.away]}."
        said += (
            f" At {self.layers[-1]} it lies {self.own_distance[-1]:.2f} of the clean picture's length away; "
            f"noise of the same size moves it {self.own_noise[-1]:.2f}."
        )
        if not self.done:
            return said
        at = self.best()
        return (
            f"{said} Of {self.done} pictures {self.fooled:.0%} of those answered rightly are misled; "
            f"strangeness at {self.layers[at]} tells them with an AUROC of {self.detection[at]:.2f}, the "
            f"answer's own doubt with {self.baseline:.2f}."
        )


@view
def adversary(
    lab: Lab,
    net: Net = DEFAULT_NET,
    picture: PictureName = "",
    attack: AttackKind = "pgd",
    epsilon: Epsilon = 4,
    steps: Steps = 10,
    n: PictureCount = 100,
    seed: PictureSeed = 0,
) -> Adversary:
    """Misled, seen from inside.

    A picture within ±ε of the clean one, a pixel, that the network gets wrong if it can be made to. FGSM
    takes one step x + ε sign(∇ loss) (Goodfellow et al. 2015); PGD takes many small ones from a random place
    nearby, each time back into the range (Madry et al. 2018).

    Where it leaves the way: |a' − a| / |a| at each layer, of the misleading picture and of noise of the same
    size (every pixel ±ε by chance), over a set of pictures.

    What tells it without the clean one: strangeness, the mean distance to the five nearest of known clean
    pictures, in units standardized on them. Its AUROC is the chance that a misleading picture is stranger
    than a clean one. The baseline is the answer's own doubt, 1 less its largest probability.

    What this cannot tell you: that an attack can be told in general. One that knows of the detector can be
    made to pass it, other attacks may leave the way elsewhere, and the AUROC is over pictures of one set. It
    does not say which units are at fault either.
    """

    from llm_workings.activations.adversarial import attack as mislead
    from llm_workings.activations.adversarial import distances, noise_like, strangeness
    from llm_workings.activations.collect import collect

    model, names = lab.vision(net), stages(lab.vision(net))
    opened = lab.picture(picture, net)
    shown = picture_of(opened, model)
    clean = model.pixels(model.prepare(opened.image)).float().cpu()
    plain = collect(model, clean, layers=names)
    away = shown.label if shown.label is not None else int(plain.answers[0])
    label = np.array([away])
    lab.progress.report("misleading this picture")
    made = mislead(
        model, clean, label, attack, epsilon=epsilon / 255, steps=steps, seed=seed, progress=lab.progress
    )
    misled = collect(model, made, layers=names)
    noisy = noise_like(clean, made, seed=seed)
    kind = set_of(net) if net in VISION_NETS else ""
    far = distances(model, clean, made, names)[:, 0]
    by_chance = distances(model, clean, noisy, names)[:, 0]
    known = reference_of(lab, net).found if kind else None
    strange = np.full((2, len(names)), np.nan)
    if known:
        strange[:] = [
            [strangeness(one.at(name), known.at(name))[0] for name in names] for one in (plain, misled)
        ]

    def payload(so_far: Misled | None) -> Adversary:
        measured = so_far or Misled.nothing(len(names), len(model.classes))
        detection, baseline = measured.told()
        return Adversary(
            net=net_card(model),
            picture=shown,
            misleading=_as_picture(made),
            change=_channels_last((made - clean).numpy()[0]),
            away=away,
            before=scores_of(plain.logits[0], list(model.classes), 3, (away,)),
            after=scores_of(misled.logits[0], list(model.classes), 3, (away,)),
            attack=attack,
            epsilon=epsilon,
            steps=steps,
            layers=names,
            own_distance=far,
            own_noise=by_chance,
            own_strangeness=strange,
            set=kind,
            done=len(measured.labels),
            n=n if kind else 0,
            distance=measured.distance,
            noise=measured.noise,
            strangeness=measured.strangeness,
            detection=detection,
            baseline=baseline,
            right=measured.right,
            fooled=measured.fooled,
            sure=measured.sure,
            reference=len(known) if known else 0,
            complete=not kind or len(measured.labels) == n,
        )

    if not kind:
        return payload(None)

    def measure() -> Misled:
        lab.progress.publish(lambda: payload(None))
        show = lambda so_far: lab.progress.publish(lambda: payload(so_far))  # noqa: E731
        return _over(lab, model, net, n, attack, epsilon / 255, steps, seed, show)

    return payload(lab.found(net, ("misled", n, attack, epsilon, steps, seed), measure))


@dataclass(frozen=True)
class Misled:
    """A set of pictures and the misleading ones made of them, inside. Sides: clean, misleading.

    Attributes:
        labels: `[n]`; distance, noise: `[layer, n]`; strangeness: `[2, layer, n]`; logits: `[2, n, class]`.
    """

    labels: NDArray[np.int64]
    distance: NDArray[np.float64]
    noise: NDArray[np.float64]
    strangeness: NDArray[np.float64]
    logits: NDArray[np.float32]

    @classmethod
    def nothing(cls, layers: int, classes: int) -> Misled:
        """Of no pictures."""
        none = np.zeros((layers, 0))
        return cls(
            np.zeros(0, np.int64), none, none, np.zeros((2, layers, 0)), np.zeros((2, 0, classes), np.float32)
        )

    def and_(self, more: Misled) -> Misled:
        """These pictures and more."""
        join = np.concatenate
        return Misled(
            join((self.labels, more.labels)),
            join((self.distance, more.distance), 1),
            join((self.noise, more.noise), 1),
            join((self.strangeness, more.strangeness), 2),
            join((self.logits, more.logits), 1),
        )

    def told(self) -> tuple[NDArray[np.float64], float]:
        """How well strangeness tells them at each layer, `[layer]`, and the answer's doubt; NaN of none."""
        if not len(self.labels):
            return np.full(len(self.distance), np.nan), float("nan")
        from llm_workings.activations.mistakes import auroc, doubt

        positive = np.repeat([False, True], len(self.labels))
        by_layer = [auroc(self.strangeness[:, at].ravel(), positive) for at in range(len(self.distance))]
        return np.array(by_layer), auroc(doubt(self.logits.reshape(len(positive), -1)), positive)

    @property
    def right(self) -> float:
        """The share of clean pictures that is answered rightly."""
        return float((self.logits[0].argmax(1) == self.labels).mean()) if len(self.labels) else float("nan")

    @property
    def fooled(self) -> float:
        """The share of those that no longer is."""
        held = self.logits[0].argmax(1) == self.labels
        return float((self.logits[1].argmax(1) != self.labels)[held].mean()) if held.any() else float("nan")

    @property
    def sure(self) -> tuple[float, float]:
        """The median of the largest probability, of each side."""
        if not len(self.labels):
            return float("nan"), float("nan")
        from llm_workings.activations.mistakes import doubt

        clean, misled = (float(np.median(1 - doubt(side))) for side in self.logits)
        return clean, misled


def _over(
    lab: Lab,
    model: VisionModel,
    net: str,
    n: int,
    attack: Literal["pgd", "fgsm"],
    epsilon: float,
    steps: int,
    seed: int,
    show: Callable[[Misled], None],
) -> Misled:
    """The set, twenty pictures at a time."""
    import torch

    from llm_workings.activations.adversarial import attack as mislead
    from llm_workings.activations.adversarial import distances, noise_like, strangeness
    from llm_workings.activations.collect import collect

    names, known = stages(model), reference_of(lab, net).found
    pictures = pictures_of(set_of(net))
    whole = Misled.nothing(len(names), len(model.classes))
    for begin in range(0, n, AT_ONCE):
        lab.progress.report("misleading the set", begin, n)
        at = slice(begin, min(n, begin + AT_ONCE))
        clean, labels = torch.from_numpy(pictures.images[at]), pictures.labels[at]
        made = mislead(model, clean, labels, attack, epsilon=epsilon, steps=steps, seed=seed + begin)
        both = [collect(model, side, layers=names) for side in (clean, made)]
        whole = whole.and_(
            Misled(
                labels,
                distances(model, clean, made, names),
                distances(model, clean, noise_like(clean, made, seed=seed + begin), names),
                np.array([[strangeness(one.at(name), known.at(name)) for name in names] for one in both]),
                np.stack([one.logits for one in both]),
            )
        )
        if len(whole.labels) < n:
            show(whole)
    return whole


def _channels_last(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    return (np.repeat(pixels, 3, axis=0) if len(pixels) == 1 else pixels).transpose(1, 2, 0)


def _as_picture(pixels: torch.Tensor) -> NDArray[np.uint8]:
    return (_channels_last(pixels.numpy()[0]) * 255).round().astype(np.uint8)
