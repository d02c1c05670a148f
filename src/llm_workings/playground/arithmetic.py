"""Arithmetic as it is read off a page: numbers with so many digits, and lines of plain text made of them.

`evaluate` reads such a line (`"0.25 * -0.3125 + tanh(1.5)"`) and works it out. It knows numbers, `+ - * /`,
`**`, the functions below and `x if c > d else y`; nothing else can be said in it, so nothing else be done.
Overflow is inf and what has no value is nan, as in NumPy, never an exception.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

from llm_workings.core.errors import BadInput, nearest

EXACT = 17  # significant digits that tell every float64 from every other
LONGEST = 200_000  # characters of a line

EXACTLY = Context(prec=1200)  # room for every digit of any float64


# --- numbers ---------------------------------------------------------------------------------------
def format_number(value: float, digits: int = 4) -> str:
    """An operand, with `digits` significant digits: `-0.3125`, `1.500`, `3.200e-05`.

    A whole number that fits is written as one (`2`); with `EXACT` digits or more, the shortest text that
    reads back as the same float64.
    """
    if not math.isfinite(value):
        return repr(float(value))
    if abs(value) < 10.0 ** min(digits, 7) and value == int(value):
        return str(int(value))
    return repr(float(value)) if digits >= EXACT else format(value, f"#.{digits}g").rstrip(".")


def format_result(value: float, digits: int = 4) -> str:
    """A result, with `digits` significant digits, trailing zeros kept: they say how far it was worked out.

    "0" stands for exactly zero. `agrees` tells whether another number is the same at these digits.
    """
    if value == 0:
        return "0"
    if not math.isfinite(value) or digits >= EXACT:
        return repr(float(value))
    return format(value, f"#.{digits}g").rstrip(".")


def agrees(value: float, result: str) -> bool:
    """Whether `value`, rounded to the last place shown in `result`, is `result`.

    "0" asks for exactly zero, `nan` and `inf` for themselves.
    """
    try:
        shown = Decimal(result)
    except ArithmeticError:
        return False
    if not shown.is_finite() or not math.isfinite(value):
        return repr(float(value)) == repr(float(result))
    if result.lstrip("-") == "0":
        return value == 0
    return Decimal(value).quantize(shown, ROUND_HALF_EVEN, EXACTLY) == shown


@lru_cache(1 << 14)
def shown(value: float, digits: int) -> tuple[str, float]:
    """`format_number`, and the number that this text says."""
    text = format_number(value, digits)
    return text, float(text)


# --- functions -------------------------------------------------------------------------------------
def divide(x: float, y: float) -> float:
    """x / y; a zero below gives inf or nan."""
    try:
        return x / y
    except ZeroDivisionError:
        if x == 0 or math.isnan(x):
            return math.nan
        return math.copysign(math.inf, x) * math.copysign(1.0, y)


def power(x: float, y: float) -> float:
    """x to the power y; inf where it overflows, nan where there is no real value."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


def exp(x: float) -> float:
    """e^x, inf where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def log(x: float) -> float:
    """The natural logarithm: -inf of 0, nan of less."""
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return divide(1.0, 1.0 + exp(-x))


def softplus(x: float) -> float:
    """log(1 + e^x), accurate at both ends."""
    return max(x, 0.0) + math.log1p(exp(-abs(x))) if x == x else x


def logsumexp(*x: float) -> float:
    """log Σ e^x; finite wherever the largest x is."""
    largest = _max(*x)
    if not math.isfinite(largest):
        return largest
    return largest + math.log(sum(math.exp(one - largest) for one in x))


def _max(*x: float) -> float:
    return math.nan if any(one != one for one in x) else max(x)


def _min(*x: float) -> float:
    return math.nan if any(one != one for one in x) else min(x)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0)) if x == x else x


def _floor(x: float) -> float:
    return float(math.floor(x)) if math.isfinite(x) else x


def _finite(function: Callable[[float], float]) -> Callable[[float], float]:
    """`function`, with nan where it has no value."""

    def guarded(x: float) -> float:
        try:
            return function(x)
        except ValueError:
            return math.nan

    return guarded


FUNCTIONS: dict[str, Callable[..., float]] = {
    "exp": exp,
    "log": log,
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "erf": math.erf,
    "sin": _finite(math.sin),
    "cos": _finite(math.cos),
    "sqrt": _finite(math.sqrt),
    "abs": abs,
    "sign": _sign,
    "floor": _floor,
    "max": _max,
    "min": _min,
    "logsumexp": logsumexp,
}
CONSTANTS = {"pi": math.pi, "inf": math.inf, "nan": math.nan}
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}
_RELATIONS: dict[type[ast.cmpop], str] = {ast.Gt: ">", ast.Lt: "<", ast.LtE: "<=", ast.GtE: ">="}
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: divide,
    ast.Pow: power,
}


# --- lines of text ---------------------------------------------------------------------------------
def evaluate(text: str) -> float:
    """What a line of plain arithmetic comes to, in float64, from left to right.

    Raises:
        BadInput: it is no arithmetic, or holds something other than the numbers, operations and functions
            named above; the part that cannot be read is restated.
    """
    if len(text) > LONGEST:
        raise BadInput(
            f"The line has {len(text):,} characters; the limit is {LONGEST:,}.", given={"text": text[:80]}
        )
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise BadInput(f"{text[:80]!r} is no arithmetic: {error}.", given={"text": text[:200]}) from None


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return float(value)  # type: ignore[arg-type]
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.BinOp():
            return _chain(node)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_evaluate(inner)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            values = [_evaluate(arg) for arg in args]
            try:
                return float(FUNCTIONS[name](*values))
            except TypeError:
                raise BadInput(f"{name} does not take {len(values)} numbers.", given={name: values}) from None
        case ast.IfExp(test=ast.Compare(left=left, ops=[op], comparators=[right])) if type(op) in _RELATIONS:
            holds = RELATIONS[_RELATIONS[type(op)]](_evaluate(left), _evaluate(right))
            return _evaluate(node.body if holds else node.orelse)
    said = ast.unparse(node)
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - FUNCTIONS.keys()
    close = [one for name in sorted(names) for one in nearest(name, FUNCTIONS, most=1)]
    raise BadInput(
        f"{said!r} is not plain arithmetic.",
        hint=f"Did you mean {close[0]}?" if close else f"Known functions: {', '.join(FUNCTIONS)}.",
        given={"text": said},
    )


def _chain(node: ast.BinOp) -> float:
    """a + b + c + ... leans to the left, as deep as it is long: walked down, then worked out upwards."""
    steps: list[tuple[Callable[[float, float], float], ast.expr]] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp) and type(left.op) in _OPERATIONS:
        steps.append((_OPERATIONS[type(left.op)], left.right))
        left = left.left
    if not steps:
        raise BadInput(f"{ast.unparse(node)!r} is not plain arithmetic.", hint="Known: + - * / **.")
    value = _evaluate(left)
    for operation, right in reversed(steps):
        value = operation(value, _evaluate(right))
    return value
