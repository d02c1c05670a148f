"""The algebra of an update: penalties, clipping, the optimizer, and where every parameter ends up."""

from __future__ import annotations

from .algebra_forward import HALF, call, minus
from .equation import Equation
from .expression import Expression, Negation, Number, Pi, Power, Product, Quotient, Sum, count
from .sheet import (
    ONE,
    TWO,
    Lines,
    Sheet,
    entry,
    parameter,
    parameter_name,
    parameter_place,
    parameter_places,
    tag,
)

Parameter = tuple[int, int, int]


def _asked(sheet: Sheet) -> list[Parameter]:
    """(layer of weights, from, to) of the parameters asked for; from is their number for a bias."""
    return [
        (l, i, j)
        for l, units in enumerate(sheet.scope.asked)
        for j, incoming in units.items()
        for i in incoming
    ]


# --- penalty -----------------------------------------------------------------------------------
def penalty(sheet: Sheet) -> Lines:
    """What L1 and L2 add to each gradient."""
    config = sheet.config
    if not (config.l1 or config.l2):
        return
    for l, i, j in _asked(sheet):
        if not sheet.penalized(l, i):
            continue
        w = sheet.parameter(l, i, j)
        derived = rf"\frac{{\partial L}}{{\partial {w.symbol}}}"
        terms: list[Expression] = [Number(derived, entry(sheet.record.gradient, l, i, j))]
        if config.l1:
            terms.append(Product((count(config.l1, r"\lambda_1"), call("sign", w))))
        if config.l2:
            terms.append(Product((count(config.l2, r"\lambda_2"), w)))
        yield sheet.line(
            parameter_place(sheet, l, i, j),
            "penalty",
            f"The penalties pull {parameter_name(sheet, l, i, j)} towards 0",
            f"g{tag(sheet.is_bias(l, i), l, i, j)}",
            Sum(tuple(terms)),
            at=(l + 1, j),
            places=parameter_places(sheet, l, i, j),
        )


# --- clip --------------------------------------------------------------------------------------
def clip(sheet: Sheet) -> Lines:
    """The length of the whole gradient, and what it is scaled by, as `torch.nn.utils.clip_grad_norm_`."""
    config, record = sheet.config, sheet.record
    if config.clip is None:
        return
    squares = yield from sheet.over_parameters("squares", "clip", "G", True, sheet.totals, "g")
    title, left = "The squares of all derivatives, added up", r"\lVert g\rVert^2"
    yield sheet.line("squares", "clip", title, left, squares)
    norm = call("sqrt", Number(left, squares.value))
    title, left = "The length of the gradient", r"\lVert g\rVert "
    yield sheet.line("norm", "clip", title, left, norm, value=record.norm)
    longest, length = count(config.clip, r"c_{\max}"), Number(left, record.norm)
    factor = call("min", ONE, Quotient(longest, Sum((length, count(1e-6, "10^{-6}")))))
    title = "The gradient is longer than allowed: all of it is scaled down"
    title = title if sheet.clipped else "The gradient is short enough: it stays as it is"
    yield sheet.line("factor", "clip", title, "c", factor, value=record.clipped)
    if not sheet.clipped:
        return
    for l, i, j in _asked(sheet):
        g, scaled = (sheet.gradient(l, i, j, after_clipping=after) for after in (False, True))
        yield sheet.line(
            parameter_place(sheet, l, i, j),
            "clip",
            f"The derivative by {parameter_name(sheet, l, i, j)}, scaled down",
            scaled.symbol,
            Product((Number("c", record.clipped), g)),
            at=(l + 1, j),
            places=parameter_places(sheet, l, i, j),
        )


# --- optimizer ---------------------------------------------------------------------------------
def optimizer(sheet: Sheet) -> Lines:
    """The learning rate of this step, each parameter's memory, and how far it is to move."""
    if sheet.config.schedule != "constant" or sheet.config.warmup:
        said, formula = _rate(sheet)
        rate = sheet.record.learning_rate
        yield sheet.line("rate", "optimizer", f"The learning rate now{said}", r"\eta ", formula, value=rate)
    for l, i, j in _asked(sheet):
        yield from _memory(sheet, l, i, j)
        moved = _direction(sheet, l, i, j)
        line = _line(
            sheet, "step", l, i, j, f"How far {parameter_name(sheet, l, i, j)} is to move", "", moved, None
        )
        sheet.moved[l, i, j] = line.value
        yield line


def _rate(sheet: Sheet) -> tuple[str, Expression]:
    config, step = sheet.config, count(sheet.record.step, "t")
    factors: list[Expression] = [count(config.learning_rate, r"\eta_0")]
    every, factor = count(config.schedule_every, "T"), count(config.schedule_factor, r"\gamma ")
    said = ""
    match config.schedule:
        case "step":
            said = f": a new factor every {config.schedule_every:,} updates"
            factors.append(Power(factor, call("floor", Quotient(step, every))))
        case "exponential":
            said = f": one factor in {config.schedule_every:,} updates"
            factors.append(Power(factor, Quotient(step, every)))
        case "cosine":
            said = f": down to 0 along a cosine in {config.schedule_every:,} updates"
            angle = Quotient(Product((Pi(), call("min", step, every))), every)
            factors += [HALF, Sum((ONE, call("cos", angle)))]
    if config.warmup:
        said += f"; warmed up over the first {config.warmup:,}"
        share = Quotient(Sum((step, ONE)), count(config.warmup, r"T_{\text{warm}}"))
        factors.append(call("min", ONE, share))
    return said, Product(tuple(factors))


def _line(
    sheet: Sheet,
    name: str,
    l: int,
    i: int,
    j: int,
    title: str,
    left: str,
    formula: Expression,
    value: float | None,
) -> Equation:
    return sheet.line(
        f"{name}.{parameter_place(sheet, l, i, j)}",
        "optimizer",
        title,
        left or rf"\Delta {sheet.parameter(l, i, j).symbol}",
        formula,
        at=(l + 1, j),
        value=value,
        places=parameter_places(sheet, l, i, j),
    )


_LETTERS = {"momentum": "v", "mean_square": "s", "m": "m", "v": "v"}


def _slot(sheet: Sheet, name: str, l: int, i: int, j: int, *, after: bool) -> Number:
    slots = sheet.record.slots_after if after else sheet.record.slots_before
    above = tag(sheet.is_bias(l, i), l, i, j)
    letter = f"{{{_LETTERS[name]}'}}" if after else _LETTERS[name]
    return Number(letter + above, entry(slots[name], l, i, j))


def _memory(sheet: Sheet, l: int, i: int, j: int) -> Lines:
    """The optimizer's slots of a parameter, from before to after."""
    config, g = sheet.config, sheet.gradient(l, i, j)
    of = parameter_name(sheet, l, i, j)
    mu, alpha = count(config.momentum, r"\mu "), count(config.decay, r"\alpha ")
    beta1, beta2 = count(config.beta1, r"\beta_1"), count(config.beta2, r"\beta_2")
    square = Power(g, TWO)

    def slot(name: str, after: bool = False) -> Number:
        return _slot(sheet, name, l, i, j, after=after)

    def mixed(kept: Number, name: str, new: Expression) -> Expression:
        return Sum((Product((kept, slot(name))), Product((minus(ONE, kept), new))))

    lines: list[tuple[str, str, Expression]] = []
    match config.optimizer:
        case "momentum" | "nesterov":
            said = f"The momentum of {of}: what is left of the old one, and the new derivative"
            lines.append(("momentum", said, Sum((Product((mu, slot("momentum"))), g))))
        case "rmsprop":
            said = f"The running mean of the squared derivative by {of}"
            lines.append(("mean_square", said, mixed(alpha, "mean_square", square)))
        case "adam" | "adamw":
            lines.append(("m", f"The running mean of the derivative by {of}", mixed(beta1, "m", g)))
            lines.append(("v", f"The running mean of its square, for {of}", mixed(beta2, "v", square)))
    for name, title, formula in lines:
        kept = slot(name, after=True)
        yield _line(sheet, name, l, i, j, title, kept.symbol, formula, kept.number)


def _direction(sheet: Sheet, l: int, i: int, j: int) -> Expression:
    """What is added to a parameter: torch.optim's formulas."""
    config, record, g = sheet.config, sheet.record, sheet.gradient(l, i, j)
    changing = config.schedule != "constant" or config.warmup > 0
    eta = Number(r"\eta ", record.learning_rate, exact=not changing)
    down, epsilon = Negation(eta), count(config.epsilon, r"\varepsilon ")

    def slot(name: str) -> Number:
        return _slot(sheet, name, l, i, j, after=True)

    match config.optimizer:
        case "momentum":
            return Product((down, slot("momentum")))
        case "nesterov":
            mu = count(config.momentum, r"\mu ")
            return Product((down, Sum((g, Product((mu, slot("momentum")))))))
        case "rmsprop":
            return Product((down, Quotient(g, Sum((call("sqrt", slot("mean_square")), epsilon)))))
        case "adam" | "adamw":
            t = count(record.age + 1, "t'")
            share1 = minus(ONE, Power(count(config.beta1, r"\beta_1"), t))
            share2 = minus(ONE, Power(count(config.beta2, r"\beta_2"), t))
            below = Sum((call("sqrt", Quotient(slot("v"), share2)), epsilon))
            step: Expression = Product((down, Quotient(Quotient(slot("m"), share1), below)))
            if config.optimizer == "adamw" and config.weight_decay and sheet.penalized(l, i):
                lost = Product((down, count(config.weight_decay, r"\lambda "), sheet.parameter(l, i, j)))
                step = Sum((lost, step))
            return step
    return Product((down, g))


# --- update ------------------------------------------------------------------------------------
def update(sheet: Sheet) -> Lines:
    """Every parameter, moved."""
    for l, i, j in _asked(sheet):
        w, name = sheet.parameter(l, i, j), parameter_name(sheet, l, i, j)
        bias = sheet.is_bias(l, i)
        moved = Number(rf"\Delta {w.symbol}", sheet.moved[l, i, j])
        yield sheet.line(
            parameter_place(sheet, l, i, j),
            "update",
            f"{name[0].upper()}{name[1:]} moves",
            f"{{{'b' if bias else 'w'}'}}" + parameter(bias, l, i, j)[1:],
            Sum((w, moved)),
            at=(l + 1, j),
            value=entry(sheet.record.after, l, i, j),
            places=parameter_places(sheet, l, i, j),
        )
