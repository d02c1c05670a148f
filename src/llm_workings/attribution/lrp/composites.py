"""Which rule goes where: the named combinations, and one's own.

The names and the choices are Zennit's (Anders et al. 2021, arXiv 2106.13200), after Montavon et al. 2019 and
Kohlbrenner et al. 2020 (arXiv 1910.09840): one rule for convolutions, ε for linear layers above them, and a
rule of its own for the first layer, which reads pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_workings.core.errors import unknown

from .rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, ZBox, ZPlus

Kind = Literal["convolution", "linear"]


@dataclass(frozen=True)
class Composite:
    """A rule for each kind of layer.

    Attributes:
        convolution, linear: of those layers.
        first: of the first layer that a forward meets among `first_of`; None: it is like the others.
        sums: of average poolings, means and residual additions: each addend its share, a / (a + b).
        named: of layers by name, before all of the above.
    """

    name: str
    convolution: Rule
    linear: Rule
    first: Rule | None = None
    first_of: tuple[Kind, ...] = ("convolution", "linear")
    sums: Epsilon = field(default_factory=Epsilon)
    named: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, kind: Kind, name: str, is_first: bool) -> Rule:
        """The rule of a layer."""
        if name in self.named:
            return self.named[name]
        if is_first and self.first is not None:
            return self.first
        return self.convolution if kind == "convolution" else self.linear


def everywhere(rule: Rule, name: str = "") -> Composite:
    """One rule for all convolutions and linear layers; LRP-ε, and so LRP-0, for the sums too."""
    sums = rule if isinstance(rule, Epsilon) else Epsilon()
    return Composite(name or type(rule).__name__, rule, rule, sums=sums)


def epsilon_plus() -> Composite:
    """z⁺ for convolutions, ε for linear layers."""
    return Composite("EpsilonPlus", ZPlus(), Epsilon())


def epsilon_plus_flat() -> Composite:
    """EpsilonPlus, and flat for the first layer."""
    return Composite("EpsilonPlusFlat", ZPlus(), Epsilon(), Flat())


def epsilon_alpha2_beta1() -> Composite:
    """αβ with α = 2 and β = 1 for convolutions, ε for linear layers."""
    return Composite("EpsilonAlpha2Beta1", AlphaBeta(2, 1), Epsilon())


def epsilon_alpha2_beta1_flat() -> Composite:
    """EpsilonAlpha2Beta1, and flat for the first layer."""
    return Composite("EpsilonAlpha2Beta1Flat", AlphaBeta(2, 1), Epsilon(), Flat())


def epsilon_gamma_box(low: Any = 0.0, high: Any = 1.0, gamma: float = 0.25) -> Composite:
    """γ for convolutions, ε for linear layers, z-box for the first convolution.

    `low` and `high` are the bounds of the input as the network gets it, after any normalization.
    """
    return Composite("EpsilonGammaBox", Gamma(gamma), Epsilon(), ZBox(low, high), ("convolution",))


COMPOSITES: dict[str, Callable[[], Composite]] = {
    "EpsilonPlus": epsilon_plus,
    "EpsilonPlusFlat": epsilon_plus_flat,
    "EpsilonAlpha2Beta1": epsilon_alpha2_beta1,
    "EpsilonAlpha2Beta1Flat": epsilon_alpha2_beta1_flat,
    "EpsilonGammaBox": epsilon_gamma_box,
}


def as_composite(composite: str | Rule | Composite) -> Composite:
    """A composite by its name, or one rule everywhere. Raises `UnknownName`, suggesting the nearest."""
    if isinstance(composite, Composite):
        return composite
    if isinstance(composite, Rule):
        return everywhere(composite)
    if composite not in COMPOSITES:
        raise unknown("LRP composite", composite, COMPOSITES)
    return COMPOSITES[composite]()
