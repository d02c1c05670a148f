"""The one place where a network is computed: forward, backward, update, in NumPy's float64.

A unit's row, a sample's column: activations are `[unit, sample]` with a last row of ones, so that a layer's
weights `[from, to]` and its biases below them are one matrix, and one product is Σ w a + b. All parameters
lie in one flat array, in the order of `Parameters.flat`, and the layers' matrices are windows on it: an
optimizer then updates the whole network in a few operations. Arrays are made once and written over.

`Kernel.advance` is what training runs and what a record is made of: the record's numbers are this arithmetic,
bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from llm_workings.core.dataset import Dataset

from . import losses
from .activations import Pointwise, pointwise, softmax
from .config import Config
from .optimizers import SLOTS, learning_rate, updater
from .order import Order
from .record import LossTerms, Parameters, StepRecord

Array = np.ndarray
ALIGNMENT = 64  # bytes: sums may differ in the last bit where arrays begin elsewhere
PIECE = 2048  # samples that a `Reader` takes at once
CHECKED = 256  # updates between two looks for numbers that are no longer finite


def aligned(*shape: int) -> Array:
    """Zeros that begin at a multiple of `ALIGNMENT` bytes."""
    size = int(np.prod(shape)) * 8
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(np.float64).reshape(shape)


@dataclass(frozen=True)
class State:
    """All that decides how training goes on.

    Attributes:
        step: updates made.
        parameters: `[parameter]`, flat.
        slots: the optimizer's memory by name, flat each.
        age: updates that the memory has seen (fewer than `step` where the optimizer was changed).
    """

    step: int
    parameters: Array
    slots: dict[str, Array]
    age: int

    def __post_init__(self) -> None:
        for array in (self.parameters, *self.slots.values()):
            array.setflags(write=False)


class Kernel:
    """A network, its training set and its optimizer, at one step.

    Args:
        config: what the network is and how it learns.
        data: what it learns from.

    Raises `BadInput` where the two do not go together (`losses.encode`).
    """

    def __init__(self, config: Config, data: Dataset):
        self.config, self.data = config, data
        targets = losses.encode(config, data)
        self._inputs = _with_ones(data.inputs)
        self._targets = np.ascontiguousarray(targets.T)
        self._train = (self._inputs[:, data.train], self._targets[:, data.train])
        self.order = Order(len(data.train), config.batch_size, config.seed)
        self.parameters, self._gradient = aligned(config.n_parameters), aligned(config.n_parameters)
        self._weights = windows(config, self.parameters)
        self._gradients = windows(config, self._gradient)
        self._is_weight = np.ones(config.n_parameters)
        for window in windows(config, self._is_weight):
            window[-1] = 0.0
        self._penalized = np.ones(config.n_parameters) if config.penalize_bias else self._is_weight
        self._l1, self._l2 = config.l1 * self._penalized, config.l2 * self._penalized
        self._scratch = np.empty(config.n_parameters)
        self.slots = {name: aligned(config.n_parameters) for name in SLOTS[config.optimizer]}
        self._update = updater(config, self.parameters, self._gradient, self.slots, self._penalized)
        self._passes: dict[int, _Pass] = {}
        self._batches: tuple[int, list[tuple[Array, Array]]] = (-1, [])
        self.step = self.age = 0
        self.diverged = False
        self.start(initial(config))

    def start(self, state: State) -> None:
        """Go to `state`. A memory of another optimizer than this one's is let go."""
        self.step, self.diverged = state.step, False
        self.parameters[:] = state.parameters
        kept = state.slots.keys() == self.slots.keys()
        self.age = state.age if kept else 0
        for name, slot in self.slots.items():
            slot[:] = state.slots[name] if kept else 0.0

    def state(self) -> State:
        """Where it is, as a copy."""
        slots = {name: slot.copy() for name, slot in self.slots.items()}
        return State(self.step, self.parameters.copy(), slots, self.age)

    # --- learning ------------------------------------------------------------------------------
    def advance(self, n: int) -> int:
        """Make `n` updates; how many were made.

        Fewer only where the next one would leave numbers that are not finite: the kernel then stands
        before it, and `diverged` is True.
        """
        done = 0
        with np.errstate(all="ignore"):
            while done < n and not self.diverged:
                before, some = self.state(), min(CHECKED, n - done)
                try:
                    self._run(some)
                except BaseException:  # an interrupt between two operations: back to a whole step
                    self.start(before)
                    raise
                if not np.isfinite(self.parameters).all():
                    some = self._approach(before, some)
                done += some
        return done

    def _approach(self, before: State, n: int) -> int:
        """Come again from `before` to the last finite step; how many updates that is."""
        self.start(before)
        for made in range(n):
            last = self.state()
            self._run(1)
            if not np.isfinite(self.parameters).all():
                self.start(last)
                self.diverged = True
                return made
        return n

    def _run(self, n: int) -> None:
        config, step, age = self.config, self.step, self.age
        penalized, clip = bool(config.l1 or config.l2), config.clip
        constant = config.schedule == "constant" and not config.warmup
        rate, update, backward = config.learning_rate, self._update, self._backward
        while n:
            batches, at = self._block_of(step)
            some = min(n, len(batches) - at)
            for inputs, targets in batches[at : at + some]:
                backward(inputs, targets)
                if penalized:
                    self._penalize()
                if clip is not None:
                    self._clip(clip)
                update(rate if constant else learning_rate(config, step), age)
                step, age = step + 1, age + 1
            n -= some
        self.step, self.age = step, age

    def _block_of(self, step: int) -> tuple[list[tuple[Array, Array]], int]:
        """The batches of a block of epochs, laid out for the products, and where `step` is among them."""
        order = self.order
        block, at = divmod(step, order.an_epoch * order.epochs)
        if self._batches[0] != block:
            orders = order.of_block(block)
            if order.an_epoch == 1:  # always the same batch
                batches = self._laid(orders[:1]) * order.epochs
            else:
                full = order.n // order.batch_size * order.batch_size
                batches = self._laid(orders[:, :full].reshape(-1, order.batch_size))
                if full < order.n:  # each epoch ends in a smaller one
                    whole, rest = order.an_epoch - 1, self._laid(orders[:, full:])
                    epochs = [batches[i * whole : (i + 1) * whole] for i in range(order.epochs)]
                    batches = [b for epoch, last in zip(epochs, rest, strict=True) for b in (*epoch, last)]
            self._batches = (block, batches)
        return self._batches[1], at

    def _laid(self, samples: Array) -> list[tuple[Array, Array]]:
        """Inputs and targets of batches `[batch, sample]`, `[row, sample]` each."""
        inputs, targets = (_windows_of(array, samples) for array in self._train)
        return list(zip(inputs, targets, strict=True))

    def _backward(self, inputs: Array, targets: Array) -> _Pass:
        """One batch forwards and backwards: `_gradient` of its mean loss is written."""
        n = inputs.shape[1]
        work = self._passes.get(n) or self._pass(n)
        work.forward(inputs)
        work.backward(inputs, targets)
        if n > 1:
            np.divide(self._gradient, work.n, self._gradient)
        return work

    def _penalize(self) -> None:
        if self.config.l1:
            np.sign(self.parameters, self._scratch)
            np.multiply(self._scratch, self._l1, self._scratch)
            np.add(self._gradient, self._scratch, self._gradient)
        if self.config.l2:
            np.multiply(self.parameters, self._l2, self._scratch)
            np.add(self._gradient, self._scratch, self._gradient)

    def _clip(self, longest: float) -> tuple[float, float]:
        """Scale the gradient down to `longest`, as `torch.nn.utils.clip_grad_norm_`; (norm, factor)."""
        norm = sqrt(float(np.dot(self._gradient, self._gradient)))
        factor = min(1.0, longest / (norm + 1e-6))
        np.multiply(self._gradient, factor, self._gradient)
        return norm, factor

    def _pass(self, n: int) -> _Pass:
        self._passes[n] = _Pass(self.config, self._weights, self._gradients, n)
        return self._passes[n]

    # --- looking -------------------------------------------------------------------------------
    def outputs(self) -> tuple[Array, Array]:
        """(z, a) of the output layer for every sample of the data, `[output, sample]` each."""
        n = self._inputs.shape[1]
        work = self._passes.get(n) or self._pass(n)
        with np.errstate(all="ignore"):
            work.forward(self._inputs)
        return work.layers[-1].pre, work.layers[-1].activation

    def measure(self) -> dict[str, float]:
        """Loss and accuracy on both sets, and the penalties, now. NaN for what there is none of."""
        config, data = self.config, self.data
        with np.errstate(all="ignore"):
            z, a = self.outputs()
            each = losses.losses(config, z, a, self._targets).mean(axis=0)
            found = {"train": each[data.train].mean(), "test": np.nan}
            found |= {"train_accuracy": np.nan, "test_accuracy": np.nan}
            if len(data.test):
                found["test"] = each[data.test].mean()
            if data.task == "classes":
                right = losses.decide(config, a) == data.targets
                found["train_accuracy"] = right[data.train].mean()
                if len(data.test):
                    found["test_accuracy"] = right[data.test].mean()
            found["confidence"] = 0.0
            if config.confidence_penalty:
                found["confidence"] = losses.confidence(config, z, a)[data.train].mean()
            found["l1"], found["l2"] = self._penalties()
        return {name: float(value) for name, value in found.items()}

    def _penalties(self) -> tuple[float, float]:
        w, config = self.parameters, self.config
        l1 = float(np.dot(self._l1, np.abs(w))) if config.l1 else 0.0
        return l1, 0.5 * float(np.dot(self._l2, w * w)) if config.l2 else 0.0

    def sample(self, index: int) -> StepRecord:
        """One sample of the data, by its index, forwards and backwards as if it were a batch."""
        pick = [index]
        return self._record(np.array(pick), self._inputs[:, pick], self._targets[:, pick])

    def record(self) -> StepRecord:
        """The update that leads on from here, whole; the kernel stays where it is."""
        batches, at = self._block_of(self.step)
        return self._record(self.order.batch(self.step), *batches[at])

    def _record(self, samples: Array, inputs: Array, targets: Array) -> StepRecord:
        config, here = self.config, self.state()
        with np.errstate(all="ignore"):
            work = self._backward(inputs, targets)
            gradient = self._gradient.copy()
            pre = tuple(_rows(layer.pre) for layer in work.layers)
            activations = (_rows(inputs[:-1]), *(_rows(layer.activation) for layer in work.layers))
            delta = tuple(_rows(layer.delta) for layer in work.layers)
            each = losses.losses(config, work.layers[-1].pre, work.layers[-1].activation, targets)
            unsure = 0.0
            if config.confidence_penalty:
                z, a = work.layers[-1].pre, work.layers[-1].activation
                unsure = float(losses.confidence(config, z, a).mean())
            upstream = work.upstream(targets)
            loss = LossTerms(float(each.mean()), unsure, *self._penalties())
            self._penalize()
            penalty = self._gradient - gradient
            norm, factor = sqrt(float(np.dot(self._gradient, self._gradient))), 1.0
            if config.clip is not None:
                norm, factor = self._clip(config.clip)
            rate = learning_rate(config, self.step)
            slots_before = {name: self.split(slot) for name, slot in self.slots.items()}
            self._update(rate, self.age)
            after = self.parameters.copy()
            slots_after = {name: self.split(slot) for name, slot in self.slots.items()}
        self.start(here)
        return StepRecord(
            step=here.step,
            config=config,
            learning_rate=rate,
            samples=samples,
            before=self.split(here.parameters),
            after=self.split(after),
            activations=activations,
            pre=pre,
            targets=_rows(targets),
            losses=_rows(each),
            loss=loss,
            upstream=upstream,
            delta=delta,
            gradient=self.split(gradient),
            penalty=self.split(penalty),
            norm=norm,
            clipped=factor,
            slots_before=slots_before,
            slots_after=slots_after,
            update=self.split(after - here.parameters),
            age=here.age,
        )

    def split(self, flat: Array) -> Parameters:
        """A flat array as `Parameters`, copied."""
        return split(self.config, flat)


class Reader:
    """A network's answers to fixed inputs, for any parameters: what pictures are drawn from.

    Many inputs are read a piece at a time. A product of a few thousand columns is quick on one thread; of
    ten thousand, the matrix library takes several, which on a busy machine wait for each other.

    Args:
        inputs: `[sample, feature]`.
    """

    def __init__(self, config: Config, inputs: Array):
        laid, n = _with_ones(inputs), len(inputs)
        self._flat = aligned(config.n_parameters)
        matrices = windows(config, self._flat)
        self._read = [laid[:-1], *(np.empty((units, n)) for units in config.layers[1:])]
        cuts = [slice(begin, min(begin + PIECE, n)) for begin in range(0, n, PIECE)]
        sizes = {cut.stop - cut.start for cut in cuts}
        made = {size: _Pass(config, matrices, matrices, size) for size in sizes}
        self._pieces = [(cut, np.ascontiguousarray(laid[:, cut]), made[cut.stop - cut.start]) for cut in cuts]

    def read(self, parameters: Array) -> list[Array]:
        """Each layer's activations `[unit, sample]`, the inputs first; written over by the next reading."""
        self._flat[:] = parameters
        with np.errstate(all="ignore"):
            for cut, laid, work in self._pieces:
                work.forward(laid)
                for whole, layer in zip(self._read[1:], work.layers, strict=True):
                    whole[:, cut] = layer.activation
        return self._read


class _Layer:
    """One layer's arrays for batches of one size. `padded` is `activation` with the row of ones below."""

    def __init__(self, matrix: Array, gradient: Array, activation: Pointwise | None, n: int):
        into, out = matrix.shape[0] - 1, matrix.shape[1]
        self.matrix_t, self.weights, self.gradient = matrix.T, matrix[:into], gradient
        self.pre, self.padded = aligned(out, n), aligned(out + 1, n)
        self.padded[-1] = 1.0
        self.activation = self.padded[:-1]
        self.delta, self.slope = aligned(out, n), aligned(out, n)
        self.delta_t = self.delta.T
        self.pointwise = activation  # None: softmax


class _Pass:
    """The arithmetic of one batch of `n` samples, forwards and backwards."""

    def __init__(self, config: Config, matrices: list[Array], gradients: list[Array], n: int):
        self.config, self.n = config, np.array(float(n))
        self.layers = []
        for name, matrix, gradient in zip(config.activations, matrices, gradients, strict=True):
            self.layers.append(
                _Layer(matrix, gradient, None if name == "softmax" else pointwise(name, config), n)
            )
        self._forward = [
            (
                la.matrix_t,
                la.pre,
                la.pointwise.write_value if la.pointwise else softmax,
                la.activation,
                la.padded,
            )
            for la in self.layers
        ]
        # From the last layer of weights down: what it read, and the layer below it, if it is not the first.
        self._down = [
            (above.delta, above.delta_t, above.gradient, above.weights, below)
            for above, below in zip(reversed(self.layers), [*reversed(self.layers[:-1]), None], strict=True)
        ]

    def forward(self, inputs: Array) -> None:
        """z = Wᵀ a, a = f(z), layer by layer; `inputs` `[feature + 1, sample]` with the row of ones."""
        dot, a = np.dot, inputs
        for matrix_t, z, write_value, activation, padded in self._forward:
            dot(matrix_t, a, z)
            write_value(z, activation)
            a = padded

    def backward(self, inputs: Array, targets: Array) -> None:
        """delta = dL/dz of each sample's own loss; the sums over samples go into the gradient's windows."""
        dot, multiply = np.dot, np.multiply
        self._begin(targets)
        for delta, delta_t, gradient, weights, below in self._down:
            if below is None:
                dot(inputs, delta_t, gradient)
                return
            dot(below.padded, delta_t, gradient)
            dot(weights, delta, below.delta)
            below.pointwise.write_slope(below.pre, below.activation, below.slope)  # type: ignore[union-attr]
            multiply(below.delta, below.slope, below.delta)

    def _begin(self, targets: Array) -> None:
        """dL/dz at the output."""
        config, last = self.config, self.layers[-1]
        pre, activation = last.pre, last.activation
        losses.write_delta(config, last.pointwise, pre, activation, targets, last.slope, last.delta)
        if config.confidence_penalty:
            losses.add_confidence_slope(config, pre, activation, last.delta)

    def upstream(self, targets: Array) -> tuple[Array | None, ...]:
        """dL/da of each sample's own loss, `[sample, unit]` a layer, after `backward`."""
        last = self.layers[-1]
        found: Array | None = None
        if not losses.fused(self.config):
            out = np.empty_like(last.delta)
            losses.write_slope(self.config, last.pre, last.activation, targets, out)
            found = _rows(out)
        hidden = [_rows(np.dot(above.weights, above.delta)) for above in self.layers[1:]]
        return (*hidden, found)


def _rows(columns: Array) -> Array:
    """A copy `[sample, unit]` of what lies `[unit, sample]`."""
    copied = np.array(columns.T, order="C")
    copied.setflags(write=False)
    return copied


def _with_ones(inputs: Array) -> Array:
    """`[sample, feature]` laid as `[feature + 1, sample]`, the last row ones."""
    laid = aligned(inputs.shape[1] + 1, len(inputs))
    laid[:-1], laid[-1] = inputs.T, 1.0
    return laid


def _windows_of(columns: Array, samples: Array) -> list[Array]:
    """`columns[:, batch]` for each of `[batch, sample]`, each beginning at an aligned place."""
    rows, (batches, width) = len(columns), samples.shape
    step = -(-rows * width * 8 // ALIGNMENT) * ALIGNMENT // 8
    room = aligned(batches, step)[:, : rows * width].reshape(batches, rows, width)
    room[...] = columns[:, samples].transpose(1, 0, 2)
    return list(room)


def windows(config: Config, flat: Array) -> list[Array]:
    """Each layer's `[from + 1, to]` on a flat array: its weights, and its biases in the last row."""
    found, at = [], 0
    for into, out in pairwise(config.layers):
        size = (into + 1) * out
        found.append(flat[at : at + size].reshape(into + 1, out))
        at += size
    return found


def split(config: Config, flat: Array) -> Parameters:
    """A flat array as `Parameters`, copied."""
    copies = windows(config, flat.copy())
    return Parameters(tuple(m[:-1] for m in copies), tuple(m[-1] for m in copies))


def initial(config: Config) -> State:
    """The first weights, drawn by the config's seed; biases at `bias_init`; an empty memory."""
    draw = np.random.default_rng([config.seed, 0xB1A5])
    flat = np.empty(config.n_parameters)
    for window, (into, out) in zip(windows(config, flat), pairwise(config.layers), strict=True):
        shape = (into, out)
        match config.init:
            case "xavier":  # Glorot and Bengio 2010, eq. 16
                bound = sqrt(6.0 / (into + out))
                window[:-1] = draw.uniform(-bound, bound, shape)
            case "he":  # He et al. 2015, eq. 10
                window[:-1] = draw.normal(0.0, sqrt(2.0 / into), shape)
            case "lecun":  # LeCun et al. 1998, section 4.6
                window[:-1] = draw.normal(0.0, sqrt(1.0 / into), shape)
            case "uniform":
                window[:-1] = draw.uniform(-abs(config.init_scale), abs(config.init_scale), shape)
            case "constant":
                window[:-1] = config.init_scale
        window[-1] = config.bias_init
    return State(0, flat, {name: np.zeros_like(flat) for name in SLOTS[config.optimizer]}, 0)
