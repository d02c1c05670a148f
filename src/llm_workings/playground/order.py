"""In which order the samples come: a function of seed and epoch, so that any step can be made again."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
BLOCK = 4096  # samples drawn for at once, since making a generator costs as much as several small steps


class Order:
    """Batches of `n` training samples, shuffled anew each epoch; all at once come unshuffled.

    Args:
        n: training samples.
        batch_size: samples a batch; the last of an epoch may be smaller.
        seed: of the shuffling.
    """

    def __init__(self, n: int, batch_size: int, seed: int):
        self.n, self.seed = n, seed
        self.batch_size = min(batch_size, n)
        self.an_epoch = -(-n // self.batch_size)  # batches
        self.epochs = max(1, BLOCK // n)  # in a block
        self._block = -1
        self._orders: Array = np.empty((0, n), np.int64)

    def of_block(self, block: int) -> Array:
        """The orders of a block's epochs, `[epoch, n]`."""
        if block != self._block:
            rows = np.broadcast_to(np.arange(self.n), (self.epochs, self.n))
            if self.an_epoch > 1:
                rows = np.random.default_rng([self.seed, block]).permuted(rows, axis=1)
            self._block, self._orders = block, rows
        return self._orders

    def batch(self, step: int) -> Array:
        """The samples of the update that follows `step` updates, `[sample]`."""
        epoch, within = divmod(step, self.an_epoch)
        block, row = divmod(epoch, self.epochs)
        start = within * self.batch_size
        return self.of_block(block)[row, start : start + self.batch_size]
