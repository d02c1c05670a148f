"""The algebra of a forward pass: every unit's sum and answer, then what the answers cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .config import Config
from .equation import Equation, Section
from .expression import Cases, Expression, Function, Negation, Number, Power, Product, Quotient, Sum, count
from .sheet import EXPANDED, ONE, TWO, ZERO, Array, Lines, Sheet, activation, unit_name

LARGE = 300.0  # logits beyond which e^z is written e^(z - largest): it would overflow
HALF = count(0.5)


def call(name: str, *args: Expression) -> Function:
    return Function(name, args)


def minus(x: Expression, y: Expression) -> Sum:
    return Sum((x, Negation(y)))


def _sigmoid(z: Expression) -> Expression:
    return Quotient(ONE, Sum((ONE, call("exp", Negation(z)))))


def _gelu(z: Expression) -> Expression:
    inner = call("erf", Quotient(z, call("sqrt", TWO)))
    return Product((z, HALF, Sum((ONE, inner))))


# How each activation is written: what is said of it, and its formula.
VALUES: dict[str, tuple[str, Callable[[Number, Config], Expression]]] = {
    "linear": ("passes its sum on as it is", lambda z, config: z),
    "relu": ("lets only a positive sum through (ReLU)", lambda z, config: call("max", ZERO, z)),
    "leaky_relu": (
        "lets a positive sum through, and little of a negative one (leaky ReLU)",
        lambda z, config: Cases(z, z, ">", ZERO, Product((count(config.leaky_slope), z))),
    ),
    "tanh": ("squeezes its sum between -1 and 1 (tanh)", lambda z, config: call("tanh", z)),
    "sigmoid": ("squeezes its sum between 0 and 1 (sigmoid)", lambda z, config: _sigmoid(z)),
    "softplus": (
        "answers with softplus, log(1 + e^z): a smooth ReLU",
        lambda z, config: call("softplus", z),
    ),
    "gelu": ("weighs its sum by the normal distribution below it (GELU)", lambda z, config: _gelu(z)),
    "silu": (
        "weighs its sum by its own sigmoid (SiLU)",
        lambda z, config: Quotient(z, Sum((ONE, call("exp", Negation(z))))),
    ),
    "sine": ("answers with the sine of its sum", lambda z, config: call("sin", z)),
}


# --- forward -----------------------------------------------------------------------------------
def forward(sheet: Sheet) -> Lines:
    """z and a of every unit asked for."""
    for l, units in enumerate(sheet.scope.asked):
        soft = sheet.config.activations[l] == "softmax"
        for j in units:
            yield from _sum(sheet, l, j)
            if not soft:
                yield _answer(sheet, l, j)
        if soft and units:
            yield from _softmax(sheet, l, list(units))


def _sum(sheet: Sheet, l: int, j: int) -> Lines:
    into, layer = sheet.config.layers[l], l + 1
    weighted = [Product((sheet.parameter(l, i, j), sheet.activation(l, i))) for i in range(into)]
    places = [f"u{layer}.{j}", *(f"w{layer}.{i}.{j}" for i in range(into)), f"b{layer}.{j}"]
    places += [f"u{l}.{i}" for i in range(into)]
    where, bias = (layer, j), sheet.parameter(l, into, j)
    terms = yield from sheet.parts(
        f"z{layer}.{j}", "forward", [*weighted, bias], at=where, sample=True, places=places
    )
    short = ""
    if into > EXPANDED:
        weight, below = rf"w^{{({layer})}}_{{i\to {j}}}", activation(l, 0).replace("{0}", "i")
        short = rf"\sum_{{i=0}}^{{{into - 1}}} {weight}\,{below}+{bias.symbol}"
    yield sheet.line(
        f"z{layer}.{j}",
        "forward",
        f"{unit_name(sheet, layer, j)} adds up its inputs",
        sheet.pre(l, j).symbol,
        Sum(tuple(terms), short=short),
        at=where,
        sample=True,
        value=sheet.pre(l, j).number,
        places=places,
    )


def _answer(sheet: Sheet, l: int, j: int) -> Equation:
    z, a = sheet.pre(l, j), sheet.activation(l + 1, j)
    name = sheet.config.activations[l]
    said, formula = VALUES[name]
    return sheet.line(
        f"a{l + 1}.{j}",
        "forward",
        f"{unit_name(sheet, l + 1, j)} {said}",
        a.symbol,
        formula(z, sheet.config),
        at=(l + 1, j),
        sample=True,
        value=a.number,
        scale=max(1.0, abs(z.number)) if name in ("sigmoid", "silu") else 0.0,
        places=[f"u{l + 1}.{j}"],
    )


def _softmax(sheet: Sheet, l: int, asked: list[int]) -> Lines:
    """Each e^z over their sum; where that overflows, e^(z - the largest)."""
    logits = [sheet.pre(l, k) for k in range(sheet.n_out)]
    largest = max(logits, key=lambda z: z.number)
    shift = abs(largest.number) > LARGE or min(z.number for z in logits) < -LARGE
    powers = [call("exp", minus(z, largest) if shift else z) for z in logits]
    places = [f"u{l + 1}.{k}" for k in range(sheet.n_out)]
    terms = yield from sheet.parts(
        f"softmax{l + 1}", "forward", powers, at=(l + 1, -1), sample=True, places=places
    )
    whole = Sum(tuple(terms))
    short = rf"\sum_k e^{{z^{{({l + 1})}}_k{'-' + largest.symbol if shift else ''}}}"
    yield sheet.line(
        f"softmax{l + 1}",
        "forward",
        "The outputs add up the exponentials of their sums"
        + (", taken from the largest sum down so that none overflows" if shift else ""),
        r"\Sigma",
        Sum(whole.terms, short=short if len(powers) > EXPANDED else ""),
        at=(l + 1, -1),
        sample=True,
        places=places,
    )
    below = Number(r"\Sigma ", whole.value)
    for k in asked:
        a = sheet.activation(l + 1, k)
        yield sheet.line(
            f"a{l + 1}.{k}",
            "forward",
            f"{unit_name(sheet, l + 1, k)} is its share of that sum (softmax)",
            a.symbol,
            Quotient(powers[k], below),
            at=(l + 1, k),
            sample=True,
            value=a.number,
            places=[f"u{l + 1}.{k}", *places],
        )


# --- loss --------------------------------------------------------------------------------------
def loss(sheet: Sheet) -> Lines:
    """What the sample's answers cost, the batch's mean, and the terms that are added to it."""
    if not sheet.scope.losses:
        return
    record, config = sheet.record, sheet.config
    outputs = [f"u{sheet.last + 1}.{k}" for k in range(sheet.n_out)]
    where = (sheet.last + 1, -1)
    if config.loss == "cross_entropy":
        yield sheet.line(
            "sample",
            "loss",
            "The sample's loss: how far the right class's sum is below log Σ e^z (cross-entropy)",
            r"\ell ",
            _cross_entropy(sheet),
            at=where,
            sample=True,
            value=float(record.losses[sheet.sample, 0]),
            places=outputs,
        )
    else:
        for k in sheet.scope.asked[-1]:
            said, formula = _output_loss(sheet, k)
            yield sheet.line(
                f"u{sheet.last + 1}.{k}",
                "loss",
                f"What {unit_name(sheet, sheet.last + 1, k).lower()} costs: {said}",
                rf"\ell_{{{k}}}" if sheet.n_out > 1 else r"\ell ",
                formula,
                at=(sheet.last + 1, k),
                sample=True,
                value=float(record.losses[sheet.sample, k]),
                places=[outputs[k]],
            )
        if sheet.n_out > 1:
            row = record.losses[sheet.sample].tolist()
            each = [Number(rf"\ell_{{{k}}}", value) for k, value in enumerate(row)]
            title = "The sample's loss is the mean over the outputs"
            yield from _mean(sheet, "sample", title, r"\ell ", each, sample=True)
    own = record.losses.mean(axis=1).tolist()
    samples = [Number(rf"\ell[{index}]", value) for index, value in zip(sheet.indices, own, strict=True)]
    title = "The loss of the batch is the mean over its samples"
    yield from _mean(sheet, "data", title, r"L_{\text{data}}", samples, value=record.loss.data)
    yield from _added(sheet)


def _mean(
    sheet: Sheet,
    id: str,
    title: str,
    left: str,
    each: list[Number],
    *,
    sample: bool = False,
    value: float | None = None,
    factor: Expression | None = None,
) -> Lines:
    """1/n Σ, over outputs or over samples; `factor` stands before it."""
    where = (sheet.last + 1, -1) if sample else (-1, -1)
    places = [f"u{sheet.last + 1}.{k}" for k in range(sheet.n_out)]
    terms = yield from sheet.parts(id, "loss", each, at=where, sample=sample, places=places)
    name = each[0].symbol
    bare = name.partition("[" if "[" in name else "_")[0]
    short = rf"\sum_s {bare}[s]" if not sample else rf"\sum_k {bare}_k"
    total = Sum(tuple(terms), short=short if len(each) > EXPANDED else "")
    shares: tuple[Expression, ...] = (Quotient(ONE, count(len(each))), total) if len(each) > 1 else (total,)
    factors = (factor, *shares) if factor else shares
    yield sheet.line(
        id,
        "loss",
        title,
        left,
        Product(factors) if len(factors) > 1 else factors[0],
        at=where,
        sample=sample,
        value=value,
        places=places,
    )


def _cross_entropy(sheet: Sheet) -> Expression:
    z = tuple(sheet.pre(sheet.last, k) for k in range(sheet.n_out))
    y = [sheet.target(k) for k in range(sheet.n_out)]
    right = [k for k, target in enumerate(y) if target.number == 1.0]
    if len(right) == 1 and sum(abs(target.number) for target in y) == 1.0:
        return minus(Function("logsumexp", z), z[right[0]])
    return Sum(
        tuple(Product((one, minus(Function("logsumexp", z), logit))) for one, logit in zip(y, z, strict=True))
    )


def _output_loss(sheet: Sheet, k: int) -> tuple[str, Expression]:
    """What is said of an output's loss, and its formula."""
    z, a, y = sheet.pre(sheet.last, k), sheet.activation(sheet.last + 1, k), sheet.target(k)
    error = minus(a, y)
    match sheet.config.loss:
        case "mse":
            return "the square of its error", Power(error, TWO)
        case "mae":
            return "the size of its error", call("abs", error)
        case "huber":
            bound, size = count(sheet.config.huber_delta, r"\kappa "), call("abs", error)
            near = Product((HALF, Power(error, TWO)))
            far = Product((bound, minus(size, Product((HALF, bound)))))
            said = "its error squared while small, its size beyond (Huber)"
            return said, Cases(near, size, "<=", bound, far)
        case "binary_cross_entropy":
            said = "softplus(z) - y z, which is -log of the probability given to what is true"
            return said, minus(call("softplus", z), Product((y, z)))
        case "hinge":
            return "how far it is short of the margin (hinge)", call("max", ZERO, minus(ONE, Product((y, a))))
    raise AssertionError(sheet.config.loss)


# --- what is added to it -----------------------------------------------------------------------
def entropies(sheet: Sheet) -> Array:
    """The entropy of each output's yes or no, `[sample, output]`; of softmax, `[sample, 1]`. In nats."""
    z, a = sheet.record.pre[-1], sheet.record.activations[-1]
    with np.errstate(all="ignore"):
        if sheet.config.output == "softmax":
            largest = z.max(axis=1, keepdims=True)
            logs = z - largest - np.log(np.exp(z - largest).sum(axis=1, keepdims=True))
            return -(a * logs).sum(axis=1, keepdims=True)
        return np.logaddexp(z, 0.0) - z * a


def log_probability(sheet: Sheet, k: int) -> Expression:
    """log a_k of softmax, from the sums where some a_k is too small to take the logarithm of."""
    if np.all(sheet.record.activations[-1][sheet.sample] > 1e-290):
        return call("log", sheet.activation(sheet.last + 1, k))
    z = tuple(sheet.pre(sheet.last, j) for j in range(sheet.n_out))
    return minus(z[k], Function("logsumexp", z))


def _added(sheet: Sheet) -> Lines:
    config, terms = sheet.config, sheet.record.loss
    names = [Number(r"L_{\text{data}}", terms.data)]
    if config.confidence_penalty:
        yield from _confidence(sheet)
        names.append(Number(r"L_{\text{confidence}}", terms.confidence))
    arrays = []
    for l in range(sheet.last + 1):
        rows = [sheet.record.before.weights[l]]
        rows += [sheet.record.before.biases[l][None]] if config.penalize_bias else []
        arrays.append(np.vstack(rows))
    if config.l1:
        sizes = yield from sheet.over_parameters("l1", "loss", "A", False, arrays, "w")
        left, factor = r"L_{1}", count(config.l1, r"\lambda_1")
        title = "The L1 penalty: the sizes of all weights, added up"
        yield sheet.line("l1", "loss", title, left, Product((factor, sizes)), value=terms.l1)
        names.append(Number(left, terms.l1))
    if config.l2:
        squares = yield from sheet.over_parameters("l2", "loss", "Q", True, arrays, "w")
        left, factor = r"L_{2}", count(config.l2, r"\lambda_2")
        title = "The L2 penalty: half the squares of all weights, added up"
        whole = Product((HALF, factor, squares))
        yield sheet.line("l2", "loss", title, left, whole, value=terms.l2)
        names.append(Number(left, terms.l2))
    if len(names) > 1:
        title = "What is minimized is all of these together"
        yield sheet.line("total", "loss", title, "L", Sum(tuple(names)), value=terms.total)


def _confidence(sheet: Sheet) -> Lines:
    """The penalty on being sure: minus its strength times the mean entropy (Pereyra et al. 2017, eq. 3)."""
    section: Section = "loss"
    layer, s = sheet.last + 1, sheet.sample
    entropy = entropies(sheet)
    places = [f"u{layer}.{k}" for k in range(sheet.n_out)]
    if sheet.config.output == "softmax":
        each: list[Expression] = [
            Product((sheet.activation(layer, k), log_probability(sheet, k))) for k in range(sheet.n_out)
        ]
        terms = yield from sheet.parts("entropy", section, each, at=(layer, -1), sample=True, places=places)
        short = rf"\sum_k a^{{({layer})}}_k\,\log a^{{({layer})}}_k" if len(each) > EXPANDED else ""
        whole, value = Negation(Sum(tuple(terms), short=short)), float(entropy[s, 0])
        title = "How unsure the outputs are about the sample: their entropy"
        yield sheet.line(
            "entropy", section, title, "H", whole, at=(layer, -1), sample=True, value=value, places=places
        )
    else:
        for k in sheet.scope.asked[-1]:
            z, a = sheet.pre(sheet.last, k), sheet.activation(layer, k)
            left = rf"H_{{{k}}}" if sheet.n_out > 1 else "H"
            whole_k, value = minus(call("softplus", z), Product((z, a))), float(entropy[s, k])
            title = f"How unsure {unit_name(sheet, layer, k).lower()} is: the entropy of its yes or no"
            yield sheet.line(
                f"entropy.u{layer}.{k}",
                section,
                title,
                left,
                whole_k,
                at=(layer, k),
                sample=True,
                value=value,
                places=[places[k]],
            )
        if sheet.n_out > 1:
            parts = [Number(rf"H_{{{k}}}", value) for k, value in enumerate(entropy[s].tolist())]
            title = "The sample's entropy is the mean over the outputs"
            yield from _mean(sheet, "entropy", title, "H", parts, sample=True)
    own = entropy.mean(axis=1).tolist()
    samples = [Number(rf"H[{index}]", value) for index, value in zip(sheet.indices, own, strict=True)]
    yield from _mean(
        sheet,
        "confidence",
        "The confidence penalty rewards being unsure: the mean entropy is taken off",
        r"L_{\text{confidence}}",
        samples,
        value=sheet.record.loss.confidence,
        factor=Negation(count(sheet.config.confidence_penalty, r"\beta ")),
    )
