"""Many networks of one architecture, computed together: one call of NumPy does a layer of all of them.

The arithmetic is `kernel.py`'s with one more axis. Activations are `[unit, network, sample]`, so that what
goes element by element (activations, losses, their slopes) is the kernel's own code on larger arrays. The
products are batched matrix products, a small one a network; where all networks read the same batch, the
first layer of all of them is one large product. Numbers that differ from network to network stand in a
`Config` as arrays that broadcast: `[network, 1]` against samples, flat against parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from llm_workings.core.dataset import Dataset

from . import losses
from .activations import Pointwise, pointwise, softmax
from .config import Config
from .kernel import CHECKED, State, aligned, initial
from .optimizers import SLOTS, learning_rate, updater
from .order import Order

Array = np.ndarray
LAID_OUT = 1 << 19  # numbers of batches that are laid out ahead
# Multiplications of a product while many samples are looked at. OpenBLAS gives a larger one to several
# threads, which on a busy machine wait for each other ten times as long as one takes.
AT_ONCE = 1 << 18
FEWEST = 64  # samples, though


@dataclass(frozen=True)
class Blocks:
    """How the networks' parameters lie in one flat array: layer by layer, all networks of a layer together.

    A layer is `[network, from + 1, to]`, the biases in the last row. The first one lies
    `[from + 1, to, network]` where all networks read the same batch (`shared`).
    """

    layers: tuple[int, ...]
    networks: int
    shared: bool

    @property
    def size(self) -> int:
        return self.networks * sum((into + 1) * out for into, out in pairwise(self.layers))

    def views(self, flat: Array) -> list[Array]:
        """Each layer's `[network, from + 1, to]` on a flat array, whichever way it lies."""
        found: list[Array] = []
        at = 0
        for into, out in pairwise(self.layers):
            block = flat[at : at + self.networks * (into + 1) * out]
            if self.shared and not found:
                found.append(block.reshape(into + 1, out, self.networks).transpose(2, 0, 1))
            else:
                found.append(block.reshape(self.networks, into + 1, out))
            at += block.size
        return found

    def spread(self, values: Array) -> Array:
        """One value a network, at each of its parameters: flat."""
        flat = aligned(self.size)
        for view in self.views(flat):
            view[...] = values[:, None, None]
        return flat

    def flat_of(self, flat: Array, network: int) -> Array:
        """One network's parameters in the order of `Parameters.flat`."""
        return np.concatenate([view[network].ravel() for view in self.views(flat)])


class Many:
    """Networks that differ in numbers only, their training set and their optimizers, at one step.

    Args:
        configs: one a network; alike but for the settings in `differing`.
        differing: the names of the settings that differ.
        data: what they learn from.

    Raises `BadInput` where network and data do not go together (`losses.encode`).
    """

    def __init__(self, configs: Sequence[Config], differing: Sequence[str], data: Dataset):
        config = configs[0]
        self.configs, self.config, self.data = configs, config, data
        targets = losses.encode(config, data)
        self.inputs = np.vstack([data.inputs.T, np.ones(len(data.inputs))])
        self.targets = np.ascontiguousarray(targets.T)
        n = len(configs)
        shared = "seed" not in differing or config.batch_size >= len(data.train)  # which is unshuffled
        self.blocks = blocks = Blocks(config.layers, n, shared)
        self.parameters, self._gradient = aligned(blocks.size), aligned(blocks.size)
        self.slots = {name: aligned(blocks.size) for name in SLOTS[config.optimizer]}
        for i, each in enumerate(configs):
            first, at = initial(each).parameters, 0
            for view in blocks.views(self.parameters):
                view[i] = first[at : at + view[i].size].reshape(view[i].shape)
                at += view[i].size
        self.step = 0
        self.diverged = np.full(n, -1)  # the updates that a network made before it diverged; -1: it did not
        self._settle(differing)
        self._batches = _Batches(self)
        self._passes: dict[int, _Pass] = {}
        self._looks: dict[int, _Pass] = {}

    def _settle(self, differing: Sequence[str]) -> None:
        """The numbers of all networks, as arrays that broadcast."""
        config, blocks = self.config, self.blocks
        numbers = {
            name: np.array([getattr(each, name) for each in self.configs], float) for name in differing
        }
        flat = {name: blocks.spread(values) for name, values in numbers.items()}
        self.by_sample = config.model_copy(update={name: v[:, None] for name, v in numbers.items()})
        by_parameter: Any = config.model_copy(update=flat)
        penalized = aligned(blocks.size)
        for view in blocks.views(penalized):
            view[...] = 1.0
            view[:, -1] = float(config.penalize_bias)
        self._update = updater(by_parameter, self.parameters, self._gradient, self.slots, penalized)
        self._l1 = penalized * by_parameter.l1 if np.any(by_parameter.l1) else None
        self._l2 = penalized * by_parameter.l2 if np.any(by_parameter.l2) else None
        self._scratch = np.empty(blocks.size)
        self._clip_to = None
        if config.clip is not None:
            self._clip_to = np.broadcast_to(numbers.get("clip", np.array(config.clip)), len(self.configs))
        self._rates = _Rates(self.configs, by_parameter.learning_rate, blocks)

    # --- learning ------------------------------------------------------------------------------
    def advance(self, n: int) -> None:
        """Make `n` updates. A network whose next update would leave numbers that are not finite is NaN from
        there on, and `diverged` says how many it made; the others go on as if it were not there."""
        with np.errstate(all="ignore"):
            while n > 0:
                some, step = min(CHECKED, n), self.step
                kept = [array.copy() for array in self._memory()]
                try:
                    self._run(some)
                except BaseException:  # an interrupt between two operations: back to a whole step
                    self._return(step, kept)
                    raise
                if not np.array_equal(self._lost(), self.diverged >= 0):
                    self._return(step, kept)
                    for _ in range(some):  # again, looking after each
                        self._run(1)
                        fresh = self._lost() & (self.diverged < 0)
                        self.diverged[fresh] = self.step - 1
                    for view in self.blocks.views(self.parameters):
                        view[self.diverged >= 0] = np.nan
                n -= some

    def _memory(self) -> list[Array]:
        return [self.parameters, *self.slots.values()]

    def _return(self, step: int, kept: list[Array]) -> None:
        self.step = step
        for array, before in zip(self._memory(), kept, strict=True):
            array[:] = before

    def _lost(self) -> Array:
        """Which networks have a parameter that is not finite, `[network]`."""
        views = self.blocks.views(self.parameters)
        return ~np.logical_and.reduce([np.isfinite(view).all(axis=(1, 2)) for view in views])

    def _run(self, n: int) -> None:
        step, update, penalize = self.step, self._update, self._l1 is not None or self._l2 is not None
        for inputs, targets in self._batches.following(step, n):
            size = inputs.shape[-1]
            (self._passes.get(size) or self._pass(size)).learn(inputs, targets)
            if penalize:
                self._penalize()
            if self._clip_to is not None:
                self._clip()
            update(self._rates.at(step), step)
            step += 1
        self.step = step

    def _pass(self, size: int) -> _Pass:
        self._passes[size] = _Pass(self, self._gradient, size)
        return self._passes[size]

    def _penalize(self) -> None:
        if self._l1 is not None:
            np.sign(self.parameters, self._scratch)
            np.multiply(self._scratch, self._l1, self._scratch)
            np.add(self._gradient, self._scratch, self._gradient)
        if self._l2 is not None:
            np.multiply(self.parameters, self._l2, self._scratch)
            np.add(self._gradient, self._scratch, self._gradient)

    def _clip(self) -> None:
        views = self.blocks.views(self._gradient)
        norm = np.sqrt(sum(np.einsum("nft,nft->n", view, view) for view in views))
        factor = np.minimum(1.0, self._clip_to / (norm + 1e-6))
        for view in views:
            np.multiply(view, factor[:, None, None], view)

    # --- looking -------------------------------------------------------------------------------
    def outputs(self, inputs: Array) -> tuple[Array, Array]:
        """(z, a) of the output layer for any `[feature + 1, sample]` with its row of ones, the same for
        all networks: `[output, network, sample]` each."""
        n = inputs.shape[1]
        layers = self.config.layers
        most = max(FEWEST, AT_ONCE // (len(self.configs) * max(layers) * (layers[0] + 1)))
        z, a = (np.empty((layers[-1], len(self.configs), n)) for _ in range(2))
        with np.errstate(all="ignore"):
            for start in range(0, n, most):
                some = inputs[:, start : start + most]
                work = self._looks.get(some.shape[1]) or self._look(some.shape[1])
                work.forward(some)
                z[..., start : start + most] = work.layers[-1].pre
                a[..., start : start + most] = work.layers[-1].activation
        return z, a

    def _look(self, size: int) -> _Pass:
        if len(self._looks) == 4:  # the data and a picture, in full pieces and with what is left over
            self._looks.clear()
        self._looks[size] = _Pass(self, None, size)
        return self._looks[size]

    def state(self, network: int) -> State:
        """One network's state, for a `Kernel` of its config to start from."""
        slots = {name: self.blocks.flat_of(slot, network) for name, slot in self.slots.items()}
        return State(self.step, self.blocks.flat_of(self.parameters, network), slots, self.step)


class _Rates:
    """Each update's learning rates: one number, or one a parameter (flat)."""

    def __init__(self, configs: Sequence[Config], base: Any, blocks: Blocks):
        self._base, self._blocks = base, blocks
        plans: dict[tuple[Any, ...], Config] = {}
        of = []
        for config in configs:
            key = (config.schedule_every, config.schedule_factor, config.warmup)
            plans.setdefault(key, config.changed(learning_rate=1.0))
            of.append(list(plans).index(key))
        self._plans, self._of = list(plans.values()), np.array(of)
        self._constant = all(plan.schedule == "constant" and not plan.warmup for plan in self._plans)

    def at(self, step: int) -> Any:
        if self._constant:
            return self._base
        shares = [learning_rate(plan, step) for plan in self._plans]
        if len(shares) == 1:
            return self._base * shares[0]
        return self._base * self._blocks.spread(np.array(shares)[self._of])


class _Batches:
    """The batches of all networks, laid out some steps ahead."""

    def __init__(self, many: Many):
        config, data = many.config, many.data
        self._inputs, self._targets = many.inputs[:, data.train], many.targets[:, data.train]
        self._shared, n = many.blocks.shared, len(data.train)
        seeds = sorted({config.seed} if self._shared else {each.seed for each in many.configs})
        self._orders = [Order(n, config.batch_size, seed) for seed in seeds]
        self._of = np.array([0] if self._shared else [seeds.index(each.seed) for each in many.configs])
        numbers = (len(self._inputs) + len(self._targets)) * len(self._of) * self._orders[0].batch_size
        self._ahead = max(1, LAID_OUT // numbers)
        self._first, self._laid = 0, list[tuple[Array, Array]]()

    def following(self, step: int, n: int) -> Iterator[tuple[Array, Array]]:
        """(inputs, targets) of `n` updates from `step` on. `[feature + 1, sample]` and `[output, 1, sample]`
        where shared, else `[feature + 1, network, sample]` and `[output, network, sample]`."""
        while n:
            if not self._first <= step < self._first + len(self._laid):
                self._lay(step)
            some = self._laid[step - self._first :][:n]
            yield from some
            step, n = step + len(some), n - len(some)

    def _lay(self, step: int) -> None:
        order = self._orders[0]
        length = order.an_epoch * order.epochs
        block, at = divmod(step, length)
        at -= at % self._ahead
        self._first = block * length + at
        if order.an_epoch == 1:  # always the same batch
            self._laid = [self._batch(order.of_block(block)[:1])] * (length - at)
            return
        starts = []
        for epoch, within in (divmod(i, order.an_epoch) for i in range(at, min(at + self._ahead, length))):
            starts.append(epoch * order.n + within * order.batch_size)
        stops = [min(start + order.batch_size, (start // order.n + 1) * order.n) for start in starts]
        samples = np.stack([each.of_block(block).ravel()[starts[0] : stops[-1]] for each in self._orders])
        picked, first = samples[self._of], starts[0]
        self._laid = [
            self._batch(picked[:, start - first : stop - first])
            for start, stop in zip(starts, stops, strict=True)
        ]

    def _batch(self, samples: Array) -> tuple[Array, Array]:
        """Inputs and targets of samples `[network, sample]`, or `[1, sample]` where shared."""
        inputs, targets = self._inputs.take(samples, axis=1), self._targets.take(samples, axis=1)
        return (inputs[:, 0], targets) if self._shared else (inputs, targets)


class _Layer:
    """One layer's arrays for batches of one size. `padded` is `activation` with the row of ones below."""

    def __init__(self, weights: Array, activation: Pointwise | None, size: int, learns: bool):
        networks, into, out = weights.shape[0], weights.shape[1] - 1, weights.shape[2]
        self.pre, self.padded = aligned(out, networks, size), aligned(out + 1, networks, size)
        self.padded[-1] = 1.0
        self.activation = self.padded[:-1]
        room = size if learns else 0
        self.delta, self.slope = aligned(out, networks, room), aligned(out, networks, room)
        self.weights_t, self.weights = weights.transpose(0, 2, 1), weights[:, :into]
        # The same arrays with the networks first, as a batched product wants them.
        self.pre_n, self.padded_n = self.pre.transpose(1, 0, 2), self.padded.transpose(1, 0, 2)
        self.delta_n, self.delta_t = self.delta.transpose(1, 0, 2), self.delta.transpose(1, 2, 0)
        self.write_value = activation.write_value if activation else softmax
        self.pointwise = activation


class _Pass:
    """The arithmetic of one batch of `size` samples, forwards and, where there is a gradient, backwards."""

    def __init__(self, many: Many, gradient: Array | None, size: int):
        self.config, self.size, self.shared = many.by_sample, size, many.blocks.shared
        self.unsure = bool(np.any(self.config.confidence_penalty))
        views = many.blocks.views(many.parameters)
        self.gradients = gradients = many.blocks.views(gradient) if gradient is not None else []
        self.layers = [
            _Layer(view, None if name == "softmax" else pointwise(name, self.config), size, bool(gradients))
            for name, view in zip(self.config.activations, views, strict=True)
        ]
        self.share = np.array(1.0 / size)
        if self.shared:  # all networks' first layer as one matrix [from + 1, to · network]
            first = views[0].transpose(1, 2, 0)
            self.first_t = first.reshape(len(first), -1).T
            self.first_pre = self.layers[0].pre.reshape(-1, size)
            if gradients:
                self.first_delta_t = self.layers[0].delta.reshape(-1, size).T
                self.first_gradient = gradients[0].transpose(1, 2, 0).reshape(len(first), -1)

    def forward(self, inputs: Array) -> None:
        """z = Wᵀ a, a = f(z), layer by layer. `inputs` `[feature + 1, sample]`, or with networks between."""
        first = self.layers[0]
        if self.shared:
            np.dot(self.first_t, inputs, self.first_pre)
        else:
            np.matmul(first.weights_t, _networks_first(inputs), first.pre_n)
        first.write_value(first.pre, first.activation)
        below = first
        for layer in self.layers[1:]:
            np.matmul(layer.weights_t, below.padded_n, layer.pre_n)
            layer.write_value(layer.pre, layer.activation)
            below = layer

    def learn(self, inputs: Array, targets: Array) -> None:
        """The gradient of each network's mean loss over the batch, written into the gradient's windows."""
        self.forward(inputs)
        self._begin(targets)
        for at in range(len(self.layers) - 1, 0, -1):
            layer, below = self.layers[at], self.layers[at - 1]
            np.matmul(below.padded_n, layer.delta_t, self.gradients[at])
            if layer.weights.shape[2] > 1:
                np.matmul(layer.weights, layer.delta_n, below.delta_n)
            else:  # an outer product: twice as fast without a call a network
                np.copyto(below.slope, layer.weights.transpose(1, 0, 2))
                np.multiply(below.slope, layer.delta, below.delta)
            below.pointwise.write_slope(below.pre, below.activation, below.slope)  # type: ignore[union-attr]
            np.multiply(below.delta, below.slope, below.delta)
        if self.shared:
            np.dot(inputs, self.first_delta_t, self.first_gradient)
        else:
            np.matmul(_networks_first(inputs), self.layers[0].delta_t, self.gradients[0])

    def _begin(self, targets: Array) -> None:
        """dL/dz at the output, over the number of samples."""
        config, last = self.config, self.layers[-1]
        pre, activation = last.pre, last.activation
        losses.write_delta(config, last.pointwise, pre, activation, targets, last.slope, last.delta)
        if self.unsure:
            losses.add_confidence_slope(config, pre, activation, last.delta)
        if self.size > 1:
            np.multiply(last.delta, self.share, last.delta)


def _networks_first(inputs: Array) -> Array:
    """`[feature + 1, network, sample]` as `[network, feature + 1, sample]`; one batch for all as it is."""
    return inputs.transpose(1, 0, 2) if inputs.ndim == 3 else inputs
