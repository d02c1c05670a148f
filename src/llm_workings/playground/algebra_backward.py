"""The algebra of a backward pass, by the chain rule: what each unit is to blame for, then each parameter."""

from __future__ import annotations

from collections.abc import Callable

from .algebra_forward import HALF, call, entropies, log_probability, minus
from .config import Config
from .expression import Cases, Expression, Negation, Number, Pi, Power, Product, Quotient, Sum, count
from .losses import fused
from .sheet import (
    EXPANDED,
    ONE,
    TWO,
    ZERO,
    Lines,
    Sheet,
    activation,
    delta,
    entry,
    parameter_name,
    parameter_place,
    parameter_places,
    tag,
    unit_name,
    upstream,
)


def _gelu(z: Expression) -> Expression:
    """Φ(z) + z φ(z), the normal distribution's cumulative and density."""
    cumulative = Product((HALF, Sum((ONE, call("erf", Quotient(z, call("sqrt", TWO)))))))
    bell = call("exp", Negation(Quotient(Power(z, TWO), TWO)))
    density = Quotient(bell, call("sqrt", Product((TWO, Pi()))))
    return Sum((cumulative, Product((z, density))))


def _silu(z: Expression) -> Expression:
    own = call("sigmoid", z)
    return Product((own, Sum((ONE, Product((z, minus(ONE, own)))))))


# The slope of each activation, from z and a.
SLOPES: dict[str, Callable[[Number, Number, Config], Expression]] = {
    "linear": lambda z, a, config: ONE,
    "relu": lambda z, a, config: Cases(ONE, z, ">", ZERO, ZERO),
    "leaky_relu": lambda z, a, config: Cases(ONE, z, ">", ZERO, count(config.leaky_slope)),
    "tanh": lambda z, a, config: minus(ONE, Power(a, TWO)),
    "sigmoid": lambda z, a, config: Product((a, minus(ONE, a))),
    "softplus": lambda z, a, config: call("sigmoid", z),
    "gelu": lambda z, a, config: _gelu(z),
    "silu": lambda z, a, config: _silu(z),
    "sine": lambda z, a, config: call("cos", z),
}


# --- backward ----------------------------------------------------------------------------------
def backward(sheet: Sheet) -> Lines:
    """dL/da and dL/dz of every unit asked for, from the outputs down."""
    if sheet.scope.asked[-1]:
        yield from _outputs(sheet)
    for l in reversed(range(sheet.last)):
        for j in sheet.scope.asked[l]:
            yield from _hidden(sheet, l, j)


def _outputs(sheet: Sheet) -> Lines:
    l, config, s = sheet.last, sheet.config, sheet.sample
    layer = l + 1
    places = [f"u{layer}.{k}" for k in range(sheet.n_out)]
    soft = config.output == "softmax"
    if not fused(config):
        for k in sheet.scope.asked[l]:
            yield sheet.line(
                f"a{layer}.{k}",
                "backward",
                f"How the loss changes with {unit_name(sheet, layer, k).lower()}",
                upstream(l, k),
                _loss_slope(sheet, k),
                at=(layer, k),
                sample=True,
                value=sheet.upstream(l, k).number,
                places=[places[k]],
            )
    mixed = Number("m", 0.0)
    if soft and not fused(config):
        each = [Product((sheet.activation(layer, k), sheet.upstream(l, k))) for k in range(sheet.n_out)]
        terms = yield from sheet.parts(
            f"mix{layer}", "backward", each, at=(layer, -1), sample=True, places=places
        )
        a, up = activation(layer, 0).replace("{0}", "k"), upstream(l, 0).replace("_{0}", "_{k}")
        whole = Sum(tuple(terms), short=rf"\sum_k {a}\,{up}" if len(each) > EXPANDED else "")
        yield sheet.line(
            f"mix{layer}",
            "backward",
            "Shares of one sum: raising one output lowers all others, by this mean of the slopes",
            "m",
            whole,
            at=(layer, -1),
            sample=True,
            places=places,
        )
        mixed = Number("m", whole.value)
    for k in sheet.scope.asked[l]:
        said, formula = _output_delta(sheet, k, mixed)
        yield sheet.line(
            f"z{layer}.{k}",
            "backward",
            f"How the loss changes with the sum of {unit_name(sheet, layer, k).lower()}{said}",
            delta(l, k),
            formula,
            at=(layer, k),
            sample=True,
            value=float(sheet.record.delta[l][s, k]),
            places=[places[k]],
        )


def _loss_slope(sheet: Sheet, k: int) -> Expression:
    """dL/da of the losses that are read off the activation."""
    a, y, n = sheet.activation(sheet.last + 1, k), sheet.target(k), sheet.n_out
    error, share = minus(a, y), Quotient(ONE, count(n))
    match sheet.config.loss:
        case "mse":
            return Product((Quotient(TWO, count(n)) if n > 1 else TWO, error))
        case "mae":
            slope: Expression = call("sign", error)
        case "huber":
            bound = count(sheet.config.huber_delta, r"\kappa ")
            slope = call("max", Negation(bound), call("min", bound, error))
        case _:  # hinge
            slope = Cases(Negation(y), Product((y, a)), "<", ONE, ZERO)
    return Product((share, slope)) if n > 1 else slope


def _output_delta(sheet: Sheet, k: int, mixed: Number) -> tuple[str, Expression]:
    """What is said of dL/dz at an output, and its formula."""
    config, l, n = sheet.config, sheet.last, sheet.n_out
    z, a, y = sheet.pre(l, k), sheet.activation(l + 1, k), sheet.target(k)
    formula: Expression
    if config.loss == "binary_cross_entropy":
        said, formula = ": sigmoid and cross-entropy leave its error", minus(a, y)
        formula = Quotient(formula, count(n)) if n > 1 else formula
    elif config.loss == "cross_entropy":
        said, formula = ": softmax and cross-entropy leave its error", minus(a, y)
    elif config.output == "softmax":
        said, formula = ", by softmax's derivative", Product((a, minus(sheet.upstream(l, k), mixed)))
    else:
        slope = SLOPES[config.output](z, a, config)
        said, formula = ", by the slope of its activation", Product((sheet.upstream(l, k), slope))
    if config.confidence_penalty:
        said += ", and the confidence penalty's part"
        strength = count(config.confidence_penalty, r"\beta ")
        if config.output == "softmax":
            entropy = Number("H", float(entropies(sheet)[sheet.sample, 0]))
            part = Product((strength, a, Sum((log_probability(sheet, k), entropy))))
        else:
            share: tuple[Expression, ...] = (Quotient(strength, count(n)),) if n > 1 else (strength,)
            part = Product((*share, a, minus(ONE, a), z))
        formula = Sum((formula, part))
    return said, formula


def _hidden(sheet: Sheet, l: int, j: int) -> Lines:
    layer, above = l + 1, sheet.config.layers[l + 2]
    name = unit_name(sheet, layer, j).lower()
    each = [Product((sheet.parameter(l + 1, j, k), sheet.delta(l + 1, k))) for k in range(above)]
    places = [f"u{layer}.{j}", *(f"w{layer + 1}.{j}.{k}" for k in range(above))]
    places += [f"u{layer + 1}.{k}" for k in range(above)]
    where = (layer, j)
    terms = yield from sheet.parts(f"a{layer}.{j}", "backward", each, at=where, sample=True, places=places)
    short = rf"\sum_k w^{{({layer + 1})}}_{{{j}\to k}}\,\delta^{{({layer + 1})}}_k"
    up = sheet.upstream(l, j)
    yield sheet.line(
        f"a{layer}.{j}",
        "backward",
        f"How the loss changes with {name}: through every unit that it leads to",
        up.symbol,
        Sum(tuple(terms), short=short if above > EXPANDED else ""),
        at=where,
        sample=True,
        value=up.number,
        places=places,
    )
    z, a = sheet.pre(l, j), sheet.activation(layer, j)
    slope = SLOPES[sheet.config.activations[l]](z, a, sheet.config)
    yield sheet.line(
        f"z{layer}.{j}",
        "backward",
        f"How the loss changes with the sum of {name}, by the slope of its activation",
        delta(l, j),
        Product((up, slope)),
        at=where,
        sample=True,
        value=sheet.delta(l, j).number,
        places=[f"u{layer}.{j}"],
    )


# --- gradient ----------------------------------------------------------------------------------
def gradient(sheet: Sheet) -> Lines:
    """The derivative by every parameter asked for: the mean over the batch of a δ."""
    for l, units in enumerate(sheet.scope.asked):
        for j, incoming in units.items():
            for i in incoming:
                yield from _derivative(sheet, l, i, j)


def _derivative(sheet: Sheet, l: int, i: int, j: int) -> Lines:
    bias = sheet.is_bias(l, i)
    deltas = sheet.of_each("delta", l, j)
    each: list[Expression] = (
        list(deltas)
        if bias
        else [Product(pair) for pair in zip(sheet.of_each("a", l, i), deltas, strict=True)]
    )
    id, where, places = parameter_place(sheet, l, i, j), (l + 1, j), parameter_places(sheet, l, i, j)
    terms = yield from sheet.parts(id, "gradient", each, at=where, places=places)
    short = ""
    if len(each) > EXPANDED:
        weighed = "" if bias else rf"{activation(l, i)}[s]\,"
        short = rf"\sum_s {weighed}{delta(l, j)}[s]"
    total = Sum(tuple(terms), short=short)
    left = rf"\frac{{\partial L}}{{\partial {sheet.parameter(l, i, j).symbol}}}"
    if not ((sheet.config.l1 or sheet.config.l2) and sheet.penalized(l, i)):
        left = f"g{tag(bias, l, i, j)} = {left}"
    yield sheet.line(
        id,
        "gradient",
        f"How the batch's loss changes with {parameter_name(sheet, l, i, j)}",
        left,
        Product((Quotient(ONE, sheet.n), total)) if len(each) > 1 else total,
        at=where,
        value=entry(sheet.record.gradient, l, i, j),
        places=places,
    )


def parameter_of(id: str, layers: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Which parameter (layer of weights, from, to) a `gradient` equation derives by; None for a part."""
    place = id.removeprefix("gradient.")
    kind, numbers = place[0], place[1:].split(".")
    if kind == "w" and len(numbers) == 3:
        return int(numbers[0]) - 1, int(numbers[1]), int(numbers[2])
    if kind == "b" and len(numbers) == 2:
        return int(numbers[0]) - 1, layers[int(numbers[0]) - 1], int(numbers[1])
    return None
