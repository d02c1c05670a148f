"""The unembedding from the vocabulary's side is the plain product, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from llm_workings.models.unembedding import Unembedding


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 0), (7,)])
def test_it_is_the_plain_product(shape: tuple[int, ...], bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = Unembedding(16, 301, bias=bias).double()
    plain = nn.Linear(16, 301, bias=bias).double()
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(*shape, 16, generator=generator, dtype=torch.float64)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    logits = ours(mine)
    torch.testing.assert_close(logits, plain(theirs), rtol=1e-12, atol=1e-12)
    assert logits.is_contiguous()
    logits.pow(2).sum().backward()
    plain(theirs).pow(2).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-10, atol=1e-10)
