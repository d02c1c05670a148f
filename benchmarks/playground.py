"""Training small networks: against a plain PyTorch loop in the same run, and TensorFlow Playground's figures.

TensorFlow Playground's engine (its `nn.ts`, in Node 20) is on no registry, so it does not run here: its
steps a second were measured once, on another machine of two cores whose 1024-cubed float32 product ran at
250 GFLOP/s. The first rows say how fast such a product is here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import mse_loss

from llm_workings.core.dataset import Dataset
from llm_workings.core.wire import pack
from llm_workings.data.points import make
from llm_workings.data.spec import DataSpec
from llm_workings.playground.config import Config
from llm_workings.playground.kernel import Kernel, initial, split
from llm_workings.playground.order import Order
from llm_workings.playground.run import Run
from llm_workings.playground.sweep import Sweep
from llm_workings.playground.torch_module import to_torch
from llm_workings.views.network_frames import Painter

from .pairs import Row, Work, compare

SHAPES = {  # steps a second of TensorFlow Playground at batch 10, tanh
    (2, 4, 1): 61_000,
    (2, 8, 8, 1): 14_500,
    (2, 8, 8, 8, 8, 8, 8, 1): 4_000,
}
FIGURE = "TensorFlow Playground's figure"
STEPS, TOGETHER, NETWORKS = 2_000, 500, 64
FRAME_MS = 8.0
SIDE, GFLOPS = 1024, 250.0


def rows(pairs: int) -> Iterator[Row]:
    pairs = max(3, pairs // 3)
    yield from matmul(pairs)
    for layers, figure in SHAPES.items():
        shape, config = "-".join(map(str, layers)), config_of(layers)
        data = points()
        check_equal(config, data)
        one, loop = kernel(config, data), torch_loop(config, data)
        yield compare(
            f"{shape}, {STEPS:,} steps", one, "a plain PyTorch loop", loop, bar=1.0, pairs=max(3, pairs // 3)
        )
        yield against(f"{shape}, {STEPS:,} steps", one, FIGURE, STEPS / figure, bar=1.0, runs=pairs)
        what = f"{shape}, {NETWORKS} networks, {TOGETHER} steps each"
        grid, seeds = sweep(config, data), sweep(config, data, seeds=True)
        seconds = NETWORKS * TOGETHER / figure
        yield against(what, grid, FIGURE, seconds, bar=0.05, runs=pairs)
        yield against(f"{what}, each its own batches", seeds, FIGURE, seconds, bar=0.05, runs=pairs)
        alone = kernel(config, data, NETWORKS * TOGETHER)
        yield compare(what, grid, "one after the other", alone, bar=0.2, pairs=max(3, pairs // 3))
    yield against("a frame of 2-8-8-1", frame(), f"{FRAME_MS:g} ms", FRAME_MS / 1000, bar=1.0, runs=pairs)


def against(what: str, work: Work, name: str, seconds: float, *, bar: float | None, runs: int) -> Row:
    """A row against a fixed time. A figure does not slow down when a neighbour is busy, so ours is what the
    processors spent on it, all threads together: on an idle machine, at least the time on the clock."""
    work()
    times = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return Row(what, name, bar, tuple(times), (seconds,) * runs)


def config_of(layers: tuple[int, ...]) -> Config:
    names = ["tanh"] * (len(layers) - 1)
    return Config.of(layers=layers, activations=names, loss="mse", learning_rate=0.03, batch_size=10)


def points() -> Dataset:
    return make(DataSpec(name="xor", n=200, test=0.5))


def kernel(config: Config, data: Dataset, steps: int = STEPS) -> Work:
    made = Kernel(config, data)
    return lambda: made.advance(steps)


def sweep(config: Config, data: Dataset, *, seeds: bool = False) -> Work:
    """64 networks; with their curves, as the page has them."""
    rates, penalties = np.geomspace(0.003, 0.1, 8).tolist(), np.linspace(0, 0.01, 8).tolist()
    if seeds:
        made = Sweep(config, data, ("seed", range(NETWORKS)))
    else:
        made = Sweep(config, data, ("learning_rate", rates), ("l2", penalties))
    return lambda: made.advance(TOGETHER)


class TorchLoop:
    """The same network on the same batches, as one writes it in PyTorch; float64, as ours."""

    def __init__(self, config: Config, data: Dataset):
        self.module = to_torch(config, split(config, initial(config).parameters))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=config.learning_rate)
        train = data.train
        self.x = torch.from_numpy(data.inputs[train].copy())
        self.y = torch.from_numpy(np.where(data.targets[train] == 1, 1.0, -1.0)[:, None])
        self.order = Order(len(train), config.batch_size, config.seed)
        self.step = 0

    def advance(self, n: int) -> None:
        for step in range(self.step, self.step + n):
            batch = torch.from_numpy(self.order.batch(step).copy())
            self.optimizer.zero_grad()
            loss = mse_loss(self.module(self.x[batch]), self.y[batch])
            loss.backward()
            self.optimizer.step()
        self.step += n


def torch_loop(config: Config, data: Dataset) -> Work:
    made = TorchLoop(config, data)
    return lambda: made.advance(STEPS)


def check_equal(config: Config, data: Dataset) -> None:
    """Stop unless both make the same network of it."""
    ours, theirs = Kernel(config, data), TorchLoop(config, data)
    ours.advance(50)
    theirs.advance(50)
    linear = [module for module in theirs.module if isinstance(module, torch.nn.Linear)]
    parts = [part for each in linear for part in (each.weight.T.ravel(), each.bias)]
    distance = float(np.abs(torch.cat(parts).detach().numpy() - ours.parameters).max())
    if not distance < 1e-9:
        shape = "-".join(str(into) for into, _ in pairwise(config.layers))
        raise SystemExit(f"Not the same training of {shape}-...: the parameters differ by {distance:g}.")


def frame() -> Work:
    """The whole frame as it travels: parameters, 100 x 100 surface, every unit's map, one sample's pass."""
    run = Run(config_of((2, 8, 8, 1)), points())
    run.step(100)
    painter = Painter(run, side=100)
    return lambda: pack(painter.frame(sample=0))


def matmul(pairs: int) -> Iterator[Row]:
    """How fast the machine multiplies, by the clock, against the machine of the figures."""
    a = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    out, b = np.empty_like(a), torch.from_numpy(a)
    seconds = 2 * SIDE**3 / (GFLOPS * 1e9)
    works = {"NumPy": lambda: np.matmul(a, a, out=out), "torch": lambda: torch.mm(b, b)}
    for name, work in works.items():
        measured = compare(name, work, "", lambda: None, bar=None, pairs=pairs)
        what = f"{SIDE}-cubed float32 product, {name}"
        yield Row(what, f"{GFLOPS:g} GFLOP/s", None, measured.ours, (seconds,) * pairs)
