"""Displayed mathematics: what is shown re-evaluates to what is shown, and nothing else can be evaluated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.errors import BadInput
from llm_workings.playground.arithmetic import (
    EXACT,
    FUNCTIONS,
    agrees,
    evaluate,
    format_number,
    format_result,
)
from llm_workings.playground.expression import (
    SYMBOLS,
    WIDTH,
    Cases,
    Expression,
    Function,
    Negation,
    Number,
    Pi,
    Power,
    Product,
    Quotient,
    Sum,
    count,
    numbers_of_latex,
    numbers_of_text,
    show,
)

floats = st.floats(allow_nan=False, allow_infinity=False)
modest = st.floats(-50, 50) | st.sampled_from([0.0, 1.0, -1.0, 10.0, 0.1, 1e-9, -3e-5, 12345.678])
leaves = st.builds(Number, st.just("x"), modest, st.booleans()) | st.builds(Pi)


def larger(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=1, max_size=4).map(tuple)
    one = [name for name in FUNCTIONS if name not in ("max", "min", "logsumexp")]
    return (
        st.builds(Sum, several)
        | st.builds(Product, several)
        | st.builds(Quotient, inner, inner)
        | st.builds(Power, inner, st.sampled_from([count(2), count(3), count(0.5)]))
        | st.builds(Negation, inner)
        | st.builds(Function, st.sampled_from(one), st.tuples(inner))
        | st.builds(Function, st.sampled_from(["max", "min", "logsumexp"]), several)
        | st.builds(Cases, inner, inner, st.sampled_from(["<", "<=", ">", ">="]), inner, inner)
    )


trees = st.recursive(leaves, larger, max_leaves=12)


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


# ---- the promise ----------------------------------------------------------------------------------
@settings(max_examples=500, deadline=None)
@given(trees)
def test_what_is_shown_comes_to_what_is_shown(tree: Expression) -> None:
    shown = show(tree)
    assert agrees(evaluate(shown.text), shown.result)
    assert same(shown.value, tree.value)
    assert numbers_of_latex(shown.numeric) == numbers_of_text(f"{shown.text} {shown.result}")


@settings(max_examples=500, deadline=None)
@given(trees, st.integers(4, EXACT))
def test_the_text_is_the_tree(tree: Expression, digits: int) -> None:
    """With the digits that are shown the two are the same to the last bit: no bracket is missing."""
    assert same(evaluate(tree.write(digits).text), tree.at(digits))


@settings(max_examples=200, deadline=None)
@given(st.lists(floats, min_size=1, max_size=8))
def test_sums_that_cancel_and_huge_ones(values: list[float]) -> None:
    tree = Sum(tuple(Number("x", value) for value in [*values, *(-value for value in values)]))
    shown = show(tree)
    assert agrees(evaluate(shown.text), shown.result)


def test_no_more_digits_than_it_takes() -> None:
    a, b = Number("a", 0.123456789), Number("b", 0.987654321)
    assert show(Product((a, b))).text == "0.12346 * 0.98765"  # 0.1219; 0.1235 * 0.9877 is 0.1220
    close = show(Sum((Number("a", 0.1234567), Number("b", -0.1234512))))
    assert close.text == "0.1234567 - 0.1234512"
    assert close.result == "5.500e-06"
    assert show(Sum((count(0.1), count(0.2), Number("c", -0.3)))).result == "5.551e-17"


def test_a_number_worked_out_elsewhere() -> None:
    """Equal but for rounding: shown to the place where both are the same. Different: shown to be."""
    terms = (Number("a", 0.1), Number("b", 0.2), Number("c", -0.3))
    cancelled = show(Sum(terms), 2.7e-17)
    assert cancelled.result == "0.000000000000"
    assert agrees(evaluate(cancelled.text), cancelled.result)
    large = show(Sum((Number("a", 1e30), Number("b", -1e30))), 1e14)
    assert large.result == "0e+19"
    assert agrees(evaluate(large.text), large.result)
    tiny = show(Sum((Number("a", 1e-30), Number("b", -1e-30))), 1e-46)
    assert tiny.result == "0e-41"
    rounded = show(Number("a", 0.12345), 0.1234499999999999)  # 0.1235 and 0.1234 to four digits
    assert rounded.result == "0.12345"
    wrong = show(Product((Number("a", 2.5), Number("b", 4.5))), 11.26)
    assert wrong.result == "11.26"
    assert not agrees(evaluate(wrong.text), wrong.result)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_shown_as_such(value: float) -> None:
    shown = show(Sum((count(1), Number("x", value))))
    assert shown.result == repr(value)
    assert agrees(evaluate(shown.text), shown.result)
    assert (r"\infty" in shown.numeric) == math.isinf(value)


# ---- how it looks ---------------------------------------------------------------------------------
X, Y, N = Number("x", -0.25), Number("y", 3.2e-5), Number("n", 2.0)
TINY = r"3.200\cdot 10^{-5}"
LOOKS = [
    (
        Sum((X, Product((Y, X)))),
        "-0.2500 + 3.200e-05 * -0.2500",
        rf"-0.2500+{TINY}\cdot (-0.2500)",
    ),
    (Sum((N, Negation(X))), "2 - (-0.2500)", "2-(-0.2500)"),
    (Sum((N, Product((X, N)))), "2 - 0.2500 * 2", r"2-0.2500\cdot 2"),
    (Product((N, Sum((X, N)))), "2 * (-0.2500 + 2)", r"2\cdot \bigl(-0.2500+2\bigr)"),
    (Product((N, Quotient(X, N))), "2 * (-0.2500 / 2)", r"2\cdot \frac{-0.2500}{2}"),
    (Power(X, N), "(-0.2500)**2", "(-0.2500)^{2}"),
    (Power(Y, N), "3.200e-05**2", r"(3.200\cdot 10^{-5})^{2}"),
    (Power(count(10), N), "10**2", "(10)^{2}"),
    (Negation(Power(X, N)), "-(-0.2500)**2", r"-(-0.2500)^{2}"),
    (Function("exp", (Negation(N),)), "exp(-2)", "e^{-2}"),
    (Quotient(count(1), Sum((count(1), N))), "1 / (1 + 2)", r"\frac{1}{1+2}"),
    (Function("sqrt", (Quotient(Pi(), N),)), "sqrt(pi / 2)", r"\sqrt{\frac{\pi}{2}}"),
    (Function("tanh", (X,)), "tanh(-0.2500)", r"\tanh (-0.2500)"),
    (Function("abs", (X,)), "abs(-0.2500)", "|-0.2500|"),
    (Function("logsumexp", (X, N)), "logsumexp(-0.2500, 2)", r"\log \bigl(e^{-0.2500}+e^{2}\bigr)"),
    (Function("max", (count(0), X)), "max(0, -0.2500)", r"\max (0,\,-0.2500)"),
    (
        Cases(N, X, ">", count(0), count(0.01)),
        "2 if -0.2500 > 0 else 0.01",
        r"\begin{cases}2 & -0.2500>0\\ 0.01 & \text{otherwise}\end{cases}",
    ),
]


@pytest.mark.parametrize(("tree", "text", "latex"), LOOKS, ids=[text for _, text, _ in LOOKS])
def test_how_it_looks(tree: Expression, text: str, latex: str) -> None:
    written = tree.write(4)
    assert (written.text, written.latex.replace("\0", "")) == (text, latex)
    assert evaluate(text) == tree.at(4)


def test_in_symbols() -> None:
    w, b = Number("w^{(1)}_{0}", 0.5), Number("b", 1.0)
    tree = Sum((Product((w, X)), b))
    assert tree.write(SYMBOLS).latex.replace("\0", "") == r"w^{(1)}_{0}\,x+b"
    assert Power(w, count(2)).write(SYMBOLS).latex == r"\bigl(w^{(1)}_{0}\bigr)^{2}"
    many = Sum((w, w, w), short=r"\sum_i w_i")
    assert Product((X, many)).write(SYMBOLS).latex == r"x\,\sum_i w_i"
    assert many.write(4).text == "0.5000 + 0.5000 + 0.5000"


def test_a_long_sum_is_broken_into_rows_and_loses_nothing() -> None:
    tree = Sum(tuple(Product((Number("w", 0.1 + k), Number("a", -0.37 * k))) for k in range(40)))
    numeric = show(tree).numeric
    assert numeric.startswith(r"\begin{aligned}&= 0.1000\cdot 0+")
    assert numeric.endswith(r"\end{aligned}")
    rows = numeric.split(r"\\ ")
    assert len(rows) > 8
    assert max(len(row.replace(r"\cdot ", "*").replace(r"\quad ", "")) for row in rows) < WIDTH + 35
    assert len(numbers_of_latex(numeric)) == 81
    assert r"\\" not in show(Quotient(tree, N)).numeric.replace(r"\\ &= ", "")  # none within a fraction


# ---- numbers --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "digits", "number", "result"),
    [
        (-0.3125, 4, "-0.3125", "-0.3125"),
        (1.5, 4, "1.500", "1.500"),
        (3.2e-5, 4, "3.200e-05", "3.200e-05"),
        (1.0, 4, "1", "1.000"),
        (-0.0, 4, "0", "0"),
        (9.99996, 4, "10.00", "10.00"),
        (1234.4, 4, "1234", "1234"),
        (123456.0, 4, "1.235e+05", "1.235e+05"),
        (0.1 + 0.2, EXACT, "0.30000000000000004", "0.30000000000000004"),
        (math.inf, 4, "inf", "inf"),
    ],
)
def test_how_a_number_is_written(value: float, digits: int, number: str, result: str) -> None:
    assert format_number(value, digits) == number
    assert format_result(value, digits) == result
    assert agrees(value, result)


@given(floats, st.integers(4, EXACT))
def test_a_number_agrees_with_its_own_result_and_not_with_the_next(value: float, digits: int) -> None:
    result = format_result(value, digits)
    assert agrees(value, result)
    if digits < 15 and 1e-300 < abs(value) < 1e300:
        assert not agrees(value * (1 + 2 * 10.0 ** (1 - digits)), result)
    assert float(format_number(value, EXACT)) == value


def test_what_agrees() -> None:
    assert agrees(0.31254, "0.3125")
    assert not agrees(0.31256, "0.3125")
    assert agrees(0.0, "0")
    assert not agrees(1e-300, "0")
    assert agrees(1e-9, "0.00000")
    assert agrees(math.nan, "nan")
    assert not agrees(1.0, "nan")
    assert not agrees(math.inf, "1.000")
    assert not agrees(-math.inf, "inf")
    assert not agrees(1.0, "one")
    assert not agrees(1e300, "0.001")


# ---- plain text -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("-2**2", -4.0),
        ("(-2)**-2", 0.25),
        ("2**3**2", 512.0),
        ("max(1, 2, -3) + min(4, 5)", 6.0),
        ("1 if 2 >= 2 else 0", 1.0),
        ("1 / 0", math.inf),
        ("-1 / 0", -math.inf),
        ("exp(1000) - 1", math.inf),
        ("9**9**9", math.inf),
        ("(-9.5)**999", -math.inf),
        ("log(0)", -math.inf),
        ("0 * inf", math.nan),
        ("log(-1)", math.nan),
        ("sqrt(-1)", math.nan),
        ("sin(inf)", math.nan),
        ("0**-1", math.inf),
        ("sigmoid(-1000)", 0.0),
        ("softplus(1000)", 1000.0),
        ("softplus(-30)", math.log1p(math.exp(-30))),
        ("logsumexp(10000, 10000)", 10000 + math.log(2)),
        ("floor(7 / 2)", 3.0),
        ("sign(-3) + sign(0)", -1.0),
        ("cos(pi)", -1.0),
        ("max(0, nan)", math.nan),
    ],
)
def test_plain_arithmetic(text: str, value: float) -> None:
    assert same(evaluate(text), value)


def test_a_line_of_a_thousand_terms() -> None:
    assert evaluate(" + ".join(["0.5"] * 400)) == 200.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "a + 1",
        "True",
        "'1'",
        "1j",
        "1 // 2",
        "1 % 2",
        "~1",
        "1 if 2 == 2 else 0",
        "1 if 1 < 2 < 3 else 0",
        "[1, 2]",
        "(1).real",
        "__import__('os')",
        "exp.__class__",
        "abs(x=1)",
        "max(*[1])",
        "abs(1, 2)",
        "lambda: 1",
        "(a := 1)",
        "1; 2",
        "sum(i for i in range(9))",
        "(" * 500 + ")" * 500,
        "-" * 50_000 + "1",
        "9" * 5000,
        "1 + " * 60_000 + "1",
    ],
)
def test_nothing_else_can_be_said(text: str) -> None:
    with pytest.raises(BadInput):
        evaluate(text)


def test_a_slip_of_the_pen_is_understood() -> None:
    with pytest.raises(BadInput, match=r"Did you mean tanh\?"):
        evaluate("tahn(1)")
