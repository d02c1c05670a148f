"""Displayed mathematics: an immutable tree that is shown in symbols, in numbers and as plain arithmetic.

The promise: what is shown re-evaluates, from the rounded numbers that are shown, to the result that is
shown, at the digits shown. So the digits of the operands are not a matter of taste: `show` gives all numbers
of a line as few significant digits as keep the promise, up to `EXACT`, where nothing is rounded.

    z = Sum((Product((w, x)), b))       with w = Number("w", 0.5), ...
    show(z).text                        "0.5000 * -0.2500 + 0.1000"
    show(z).latex                       r"0.5000\\cdot (-0.2500)+0.1000"
    show(z).result                      "-0.02500"
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from .arithmetic import EXACT, EXACTLY, FUNCTIONS, RELATIONS, agrees, divide, format_result, power, shown

DIGITS = 4  # significant digits of a result, and the fewest of an operand
SYMBOLS = 0  # the digits of a number that is written as its symbol
BREAK = "\0"  # where a line of LaTeX may be broken; taken out before it is seen
WIDTH = 76  # characters that a row of numbers may take
ROUNDING = 1e-12  # what sums in another order may differ by, as a share of the terms

CHOICE, SUM, PRODUCT, POWER, ATOM = range(5)  # how tightly a piece of writing holds together
BOUNDED = {"tanh", "sigmoid", "erf", "sin", "cos"}  # rounded by about the same near 0 as near 1


class Written(NamedTuple):
    """Plain text and LaTeX of a piece, and how tightly each holds together."""

    text: str
    latex: str
    text_level: int
    latex_level: int


class Expression(ABC):
    """A piece of mathematics with a value. Pieces are compared and kept by identity; none can change."""

    __slots__ = ()

    @abstractmethod
    def at(self, digits: int) -> float:
        """Its value, worked out from its numbers as shown with so many digits (`EXACT`: as they are)."""

    @abstractmethod
    def write(self, digits: int) -> Written:
        """How it is written, numbers with so many digits (`SYMBOLS`: as symbols)."""

    @abstractmethod
    def magnitude(self) -> float:
        """How large the numbers are that were added up on the way, signs apart: what rounding scales with."""

    @property
    def value(self) -> float:
        return self.at(EXACT)


@dataclass(frozen=True, slots=True, eq=False)
class Number(Expression):
    """A leaf: a symbol in LaTeX and its value. `exact`: always written out (a setting, a count)."""

    symbol: str
    number: float
    exact: bool = False

    def at(self, digits: int) -> float:
        return self.number if self.exact or digits >= EXACT else shown(self.number, digits)[1]

    def write(self, digits: int) -> Written:
        if not digits:
            return Written(self.symbol, self.symbol, ATOM, ATOM)
        return _written(self.number, EXACT if self.exact else digits)

    def magnitude(self) -> float:
        return abs(self.number)


@lru_cache(1 << 14)
def _written(value: float, digits: int) -> Written:
    text, _ = shown(value, digits)
    return Written(text, latex_number(text), ATOM, PRODUCT if "e" in text else ATOM)


_WORDS = {"nan": r"\mathrm{nan}", "inf": r"\infty", "-inf": r"-\infty"}


def count(n: float, symbol: str = "") -> Number:
    """A number that is its own symbol and always written out."""
    text, _ = shown(float(n), EXACT)
    return Number(symbol or text, float(n), exact=True)


@dataclass(frozen=True, slots=True, eq=False)
class Pi(Expression):
    """π, which is written as a name."""

    def at(self, digits: int) -> float:
        return math.pi

    def write(self, digits: int) -> Written:
        return Written("pi", r"\pi", ATOM, ATOM)

    def magnitude(self) -> float:
        return math.pi


@dataclass(frozen=True, slots=True, eq=False)
class Sum(Expression):
    """Terms added from left to right. `short`: how it is written in symbols, such as a Σ."""

    terms: tuple[Expression, ...]
    short: str = ""

    def at(self, digits: int) -> float:
        terms = iter(self.terms)
        total = next(terms).at(digits)
        for term in terms:
            total += term.at(digits)
        return total

    def write(self, digits: int) -> Written:
        if self.short and not digits:
            return Written(self.short, self.short, PRODUCT, PRODUCT)
        texts: list[str] = []
        latexes: list[str] = []
        for term in self.terms:
            text, latex, text_level, latex_level = term.write(digits)
            if text_level <= SUM:
                text = f"({text})"
            if latex_level == SUM:
                latex = _bracketed(latex)
            if texts:
                text = f" - {text[1:]}" if text[0] == "-" else f" + {text}"
                latex = f"{BREAK}{latex}" if latex[0] == "-" else f"{BREAK}+{latex}"
            texts.append(text)
            latexes.append(latex)
        if len(texts) == 1:
            return Written(texts[0], latexes[0], PRODUCT, PRODUCT)
        return Written("".join(texts), "".join(latexes), SUM, SUM)

    def magnitude(self) -> float:
        return sum(term.magnitude() for term in self.terms)


@dataclass(frozen=True, slots=True, eq=False)
class Product(Expression):
    """Factors multiplied from left to right."""

    factors: tuple[Expression, ...]

    def at(self, digits: int) -> float:
        factors = iter(self.factors)
        value = next(factors).at(digits)
        for factor in factors:
            value *= factor.at(digits)
        return value

    def write(self, digits: int) -> Written:
        texts: list[str] = []
        latexes: list[str] = []
        for factor in self.factors:
            text, latex, text_level, latex_level = factor.write(digits)
            if text_level <= SUM or (texts and text_level == PRODUCT):
                text = f"({text})"
            if latex_level == SUM or (texts and latex[0] == "-"):
                latex = _bracketed(latex)
            if latexes:  # symbols stand side by side, numbers do not
                latex = rf"\cdot {latex}" if digits or latex[0].isdigit() else rf"\,{latex}"
            texts.append(text)
            latexes.append(latex)
        return Written(" * ".join(texts), "".join(latexes), PRODUCT, PRODUCT)

    def magnitude(self) -> float:
        return math.prod(factor.magnitude() for factor in self.factors)


@dataclass(frozen=True, slots=True, eq=False)
class Quotient(Expression):
    above: Expression
    below: Expression

    def at(self, digits: int) -> float:
        return divide(self.above.at(digits), self.below.at(digits))

    def write(self, digits: int) -> Written:
        above, below = self.above.write(digits), self.below.write(digits)
        first = f"({above.text})" if above.text_level <= SUM else above.text
        second = below.text if below.text_level >= POWER else f"({below.text})"
        latex = rf"\frac{{{_whole(above.latex)}}}{{{_whole(below.latex)}}}"
        return Written(f"{first} / {second}", latex, PRODUCT, ATOM)

    def magnitude(self) -> float:
        return abs(divide(self.above.magnitude(), self.below.value))


@dataclass(frozen=True, slots=True, eq=False)
class Power(Expression):
    base: Expression
    exponent: Expression

    def at(self, digits: int) -> float:
        return power(self.base.at(digits), self.exponent.at(digits))

    def write(self, digits: int) -> Written:
        base, exponent = self.base.write(digits), self.exponent.write(digits)
        first = base.text if base.text_level == ATOM and base.text[0] != "-" else f"({base.text})"
        second = exponent.text if exponent.text_level == ATOM else f"({exponent.text})"
        # A symbol such as w^{(1)} has a superscript already, and 3·10² would read as one number.
        held = base.latex[0] != "-" and "^" not in base.latex and base.latex != "10"
        plain = base.latex_level == ATOM and held and not base.latex.startswith(r"\frac")
        below = base.latex if plain else _bracketed(_whole(base.latex))
        return Written(f"{first}**{second}", f"{below}^{{{_whole(exponent.latex)}}}", POWER, POWER)

    def magnitude(self) -> float:
        return abs(power(self.base.magnitude(), self.exponent.value))


@dataclass(frozen=True, slots=True, eq=False)
class Negation(Expression):
    of: Expression

    def at(self, digits: int) -> float:
        return -self.of.at(digits)

    def write(self, digits: int) -> Written:
        text, latex, text_level, latex_level = self.of.write(digits)
        if text_level <= SUM or text[0] == "-":
            text = f"({text})"
        if latex_level == SUM or latex[0] == "-":
            latex = _bracketed(latex)
        return Written(f"-{text}", f"-{latex}", PRODUCT, PRODUCT)

    def magnitude(self) -> float:
        return self.of.magnitude()


@dataclass(frozen=True, slots=True, eq=False)
class Function(Expression):
    """A function of `FUNCTIONS` by its name."""

    name: str
    args: tuple[Expression, ...]

    def at(self, digits: int) -> float:
        return FUNCTIONS[self.name](*[arg.at(digits) for arg in self.args])

    def write(self, digits: int) -> Written:
        written = [arg.write(digits) for arg in self.args]
        text = f"{self.name}({', '.join(one.text for one in written)})"
        latexes = [one.latex for one in written]
        match self.name:
            case "exp":
                return Written(text, f"e^{{{_whole(latexes[0])}}}", ATOM, POWER)
            case "sqrt":
                return Written(text, rf"\sqrt{{{_whole(latexes[0])}}}", ATOM, ATOM)
            case "abs":
                return Written(text, rf"|{_whole(latexes[0])}|", ATOM, ATOM)
            case "floor":
                return Written(text, rf"\lfloor {_whole(latexes[0])}\rfloor ", ATOM, ATOM)
            case "logsumexp":
                powers = f"{BREAK}+".join(f"e^{{{_whole(latex)}}}" for latex in latexes)
                return Written(text, rf"\log {_bracketed(powers)}", ATOM, PRODUCT)
        name = _NAMES.get(self.name, rf"\operatorname{{{self.name}}}")
        return Written(text, name + _bracketed(r",\,".join(latexes)), ATOM, ATOM)

    def magnitude(self) -> float:
        at_least = 1.0 if self.name in BOUNDED else 0.0
        if self.name in ("max", "min", "abs", "logsumexp"):
            at_least = max(arg.magnitude() for arg in self.args)
        return max(at_least, abs(self.value))


_NAMES = {
    "log": r"\log ",
    "tanh": r"\tanh ",
    "sigmoid": r"\sigma ",
    "sin": r"\sin ",
    "cos": r"\cos ",
    "max": r"\max ",
    "min": r"\min ",
}


@dataclass(frozen=True, slots=True, eq=False)
class Cases(Expression):
    """`then` where `left relation right` holds, else `otherwise`."""

    then: Expression
    left: Expression
    relation: str
    right: Expression
    otherwise: Expression

    def at(self, digits: int) -> float:
        holds = RELATIONS[self.relation](self.left.at(digits), self.right.at(digits))
        return (self.then if holds else self.otherwise).at(digits)

    def write(self, digits: int) -> Written:
        parts = [part.write(digits) for part in (self.then, self.left, self.right, self.otherwise)]
        then, left, right, otherwise = (
            f"({part.text})" if part.text_level == CHOICE else part.text for part in parts
        )
        text = f"{then} if {left} {self.relation} {right} else {otherwise}"
        then, left, right, otherwise = (_whole(part.latex) for part in parts)
        relation = {"<=": r"\le ", ">=": r"\ge "}.get(self.relation, self.relation)
        lines = rf"{then} & {left}{relation}{right}\\ {otherwise} & \text{{otherwise}}"
        return Written(text, rf"\begin{{cases}}{lines}\end{{cases}}", CHOICE, ATOM)

    def magnitude(self) -> float:
        return max(self.then.magnitude(), self.otherwise.magnitude())


def _whole(latex: str) -> str:
    """Without places to break it: inside a fraction or a root there is no new row."""
    return latex.replace(BREAK, "")


def _bracketed(latex: str) -> str:
    """In brackets that may be broken between, larger ones round what has some already."""
    return rf"\bigl({latex}\bigr)" if BREAK in latex or "(" in latex else f"({latex})"


# --- shown -----------------------------------------------------------------------------------------
class Shown(NamedTuple):
    """A line as displayed: `text` re-evaluates to `result`."""

    symbolic: str
    numeric: str
    text: str
    result: str
    value: float


def show(expression: Expression, value: float | None = None, *, scale: float = 0.0) -> Shown:
    """A line with its result, in as few digits as make it true.

    Args:
        value: what was computed elsewhere for it, and is therefore to be shown; by default its own. The two
            may differ by rounding: a sum in another order, in the last bits. Where that is seen in the result
            (the terms cancel), the result is shown to a fixed decimal place at which they are the same.
            Where they differ by more, the line is shown as it is and does not re-evaluate: someone is wrong.
        scale: size of the numbers that `value` was rounded at, where the expression does not say so itself.
    """
    own = expression.value
    if value is None or not (math.isfinite(value) and math.isfinite(own)):
        value = own
    for more in (0, 1, 2):  # more digits: the two round apart, by a hair
        result = format_result(value, DIGITS + more)
        if format_result(own, DIGITS + more) == result:
            break
    else:
        result = _at_a_place(value, own, max(scale, expression.magnitude())) or format_result(value)
    digits = _digits(expression, result)
    text, latex, _, _ = expression.write(digits)
    symbolic = _whole(expression.write(SYMBOLS).latex)
    return Shown(symbolic, rows(latex, result), text, result, value)


def _digits(expression: Expression, result: str) -> int:
    """The fewest digits with which the expression comes to `result`."""
    for digits in range(DIGITS, 16):
        if agrees(expression.at(digits), result):
            return digits
    return EXACT


def _at_a_place(value: float, own: float, scale: float) -> str:
    """The two to the last decimal place at which they are the same; empty where they are too far apart."""
    if not 1e-290 < scale < math.inf or not abs(value - own) <= ROUNDING * scale:
        return ""
    first = math.ceil(math.log10(ROUNDING * scale))
    for place in range(first, first + 5):
        here, there = (Decimal(x).quantize(Decimal(1).scaleb(place), context=EXACTLY) for x in (value, own))
        if here == there:
            text = f"{here:f}" if -20 <= place <= 0 else str(here).lower()
            return text if here else text.lstrip("-")
    return ""


def latex_number(text: str) -> str:
    """A number's text in LaTeX."""
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa}\cdot 10^{{{int(exponent)}}}" if e else _WORDS.get(text, text)


def rows(latex: str, result: str) -> str:
    """`= numbers = result`, in as many aligned rows as it takes; no term is left out."""
    end = f"= {latex_number(result)}"
    if len(latex.replace(r"\cdot ", "*")) + len(end) <= WIDTH:
        return f"= {_whole(latex)} {end}"
    lines, line, width = [], "", 0
    for piece in latex.split(BREAK):
        wide = len(piece) - 5 * piece.count(r"\cdot ") - 4 * piece.count(r"\big")
        if line and width + wide > WIDTH:
            lines.append(line)
            line, width = "", 0
        line, width = line + piece, width + wide
    lines.append(line)
    first, *rest = lines
    body = r"\\ ".join([f"&= {first}", *(rf"&\quad {one}" for one in rest), f"&{end}"])
    return rf"\begin{{aligned}}{body}\end{{aligned}}"


_LATEX_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?:\\cdot 10\^\{(-?\d+)\})?")
_TEXT_NUMBER = re.compile(r"(?<![A-Za-z_])(\d+(?:\.\d+)?)(?:e([+-]?\d+))?")


def numbers_of_latex(latex: str) -> list[tuple[str, int]]:
    """The numbers in a numeric line, as (mantissa, exponent of ten), signs apart."""
    return [(mantissa, int(exponent or 0)) for mantissa, exponent in _LATEX_NUMBER.findall(latex)]


def numbers_of_text(text: str) -> list[tuple[str, int]]:
    """The numbers in a line of plain arithmetic, likewise."""
    return [(mantissa, int(exponent or 0)) for mantissa, exponent in _TEXT_NUMBER.findall(text)]
