"""The unembedding: one matrix as tall as the vocabulary, multiplied from its own side on a CPU."""

from __future__ import annotations

from torch import Tensor, nn


class Unembedding(nn.Linear):
    """`[..., d_model]` -> logits `[..., vocabulary]`.

    x W^T is also (W x^T)^T. With 50,000 rows in W and few in x, the CPU's matrix library is 1.3 to 1.6
    times as fast at the second (docs/benchmarks.md); the products are the same ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        rows = x.flatten(0, -2)
        logits = (self.weight @ rows.T).T.contiguous()
        if self.bias is not None:
            logits = logits + self.bias
        return logits.unflatten(0, x.shape[:-1])
