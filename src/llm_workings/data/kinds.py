"""The sets of points there are: what each is called, what it shows, and which settings it has."""

from __future__ import annotations

from dataclasses import dataclass

from llm_workings.core.dataset import Task
from llm_workings.core.errors import BadInput

from .spec import DataName, DataSpec

DRAWN = ("n", "noise", "test", "seed")
PLANE = (*DRAWN, "features")
# Settings that change something as soon as they are not at these values. The others (n, classes,
# seed) always have some value, and a set without them does as if they were not there.
NEUTRAL = {
    name: DataSpec.model_fields[name].default
    for name in ("noise", "test", "features", "csv", "target", "painted")
}


@dataclass(frozen=True)
class Kind:
    """One of the sets.

    Attributes:
        title: what a page calls it.
        about: what it is, in one sentence.
        task: what is learned from it; None where the user's file decides.
        dimensions: coordinates of a point that is drawn: 2 a plane, 1 a line, 0 none, None where the
            user's file decides.
        uses: the fields of `DataSpec`, besides the name, that make a difference to it.
    """

    title: str
    about: str
    task: Task | None
    dimensions: int | None
    uses: tuple[str, ...]


DATA: dict[DataName, Kind] = {
    "xor_points": Kind(
        "XOR, four points",
        "The truth table of exclusive or: four points that no straight line divides.",
        "classes",
        2,
        ("features", "seed"),
    ),
    "xor": Kind(
        "XOR, clouds",
        "The plane's four quadrants, two opposite ones of each class: exclusive or with many points.",
        "classes",
        2,
        PLANE,
    ),
    "circles": Kind("Circles", "A disc of one class inside a ring of the other.", "classes", 2, PLANE),
    "moons": Kind("Moons", "Two half circles, each reaching into the other.", "classes", 2, PLANE),
    "spiral": Kind(
        "Spiral",
        "Two arms that wind around each other 1.75 times: the hardest of the two-class sets.",
        "classes",
        2,
        PLANE,
    ),
    "gaussians": Kind(
        "Gaussians", "Two round clouds that a straight line divides, or nearly so.", "classes", 2, PLANE
    ),
    "blobs": Kind(
        "Blobs", "Two to eight round clouds in a ring, a class each.", "classes", 2, (*PLANE, "classes")
    ),
    "checkerboard": Kind(
        "Checkerboard", "A board of four by four fields, their classes in turn.", "classes", 2, PLANE
    ),
    "plane": Kind("Plane", "A tilted plane, z = (x + y) / 10.", "regression", 2, PLANE),
    "wave": Kind("Wave", "Hills and valleys in rows, z = sin(x) cos(y / 2).", "regression", 2, PLANE),
    "bump": Kind(
        "Bumps", "Six cones on flat ground, three of them up and three down.", "regression", 2, PLANE
    ),
    "curve": Kind(
        "Curve",
        "A function of one number, a sine on two slopes that meet in a bend at 0.",
        "regression",
        1,
        DRAWN,
    ),
    "digits": Kind(
        "Digits",
        "1797 handwritten digits of 8 by 8 pixels, ten classes (scikit-learn's).",
        "classes",
        0,
        ("test", "seed"),
    ),
    "csv": Kind(
        "Your CSV",
        "A table of your own: columns of numbers, and a column that is to be learned.",
        None,
        None,
        ("csv", "target", "test", "features", "seed"),
    ),
    "painted": Kind(
        "Painted by hand",
        "Points that you set yourself.",
        "classes",
        2,
        ("painted", "test", "features", "seed"),
    ),
}


def check_uses(spec: DataSpec) -> None:
    """Refuse a setting that would make no difference.

    Raises:
        BadInput: a setting is given to a set that does not have it, with the sets that do.
    """
    for name, neutral in NEUTRAL.items():
        value = getattr(spec, name)
        if value == neutral or name in DATA[spec.name].uses:
            continue
        having = [kind for kind in DATA if name in DATA[kind].uses]
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:59]}…"
        others = f"take {having[0]}" if len(having) == 1 else f"take one of {', '.join(having)}"
        raise BadInput(
            f"The set {spec.name} has no {name}, and {name} = {shown} is given.",
            hint=f"Leave it at {neutral!r}, or {others}.",
            given={"name": spec.name, name: shown},
        )


def trimmed(spec: DataSpec) -> DataSpec:
    """The spec without the settings that its set does not have: what is left when the name changes."""
    unused = {name: value for name, value in NEUTRAL.items() if name not in DATA[spec.name].uses}
    return spec.model_copy(update=unused)
