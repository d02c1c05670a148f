"""The five families against transformers: logits, gradients, rotation, on tiny random float64 models."""

from __future__ import annotations

import pytest
import torch
from peers import CASES, Recorder, answer, batch, config_of, exact, ours_of, peer_of
from torch import Tensor

from llm_workings.models.families import family_of
from llm_workings.models.sites import site
from llm_workings.models.spec import RotaryPositions

pytestmark = pytest.mark.peer


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize("name", CASES)
def test_logits_of_unequal_lengths_agree_to_1e_9(name: str) -> None:
    peer = peer_of(name)
    ours = ours_of(peer)
    tokens, present = batch()
    with torch.no_grad(), exact(peer):
        theirs = answer(peer, tokens, attention_mask=present.long())
    with torch.no_grad():
        fused = ours(tokens, present=present)
        in_the_open = ours(tokens, present=present, tap=Recorder())
    assert theirs.std() > 0.3  # something is being compared
    assert distance(fused[present], theirs[present]) < 1e-9
    assert distance(in_the_open[present], theirs[present]) < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_the_unpatched_peer_is_near(name: str) -> None:
    """As transformers comes, with its float32 norms and softmax, by either of its attentions."""
    for attention in ("eager", "sdpa"):
        peer = peer_of(name, attention=attention)
        tokens, _ = batch()
        with torch.no_grad():
            assert distance(ours_of(peer)(tokens), answer(peer, tokens)) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_the_embeddings_agree_to_1e_8(name: str) -> None:
    peer = peer_of(name)
    ours = ours_of(peer)
    tokens, present = batch()
    weights = torch.randn(3, 9, 53, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def scalar(out: Tensor) -> Tensor:
        return (torch.tanh(out) * weights[..., : out.shape[-1]])[present].sum()

    embedded: list[Tensor] = []
    peer.get_input_embeddings().register_forward_hook(
        lambda module, args, out: (out.retain_grad(), embedded.append(out))[0]
    )
    with exact(peer):
        scalar(answer(peer, tokens, attention_mask=present.long())).backward()
    tap = Recorder(keep_grad=True)
    scalar(ours(tokens, present=present, tap=tap)).backward()

    theirs = embedded[0].grad
    mine = tap.seen[site("embed")].grad
    assert theirs is not None
    assert mine is not None
    assert theirs.abs().max() > 1e-2
    assert distance(mine, theirs) < 1e-8
    # and of the matrix itself, which a tied unembedding reaches by a second way
    assert distance(ours.embed.weight.grad, peer.get_input_embeddings().weight.grad) < 1e-8


@pytest.mark.parametrize("name", ["bert", "bert without head, three segments"])
def test_segments_are_read(name: str) -> None:
    peer = peer_of(name)
    tokens, present = batch()
    types = torch.randint(0, peer.config.type_vocab_size, tokens.shape)
    with torch.no_grad(), exact(peer):
        theirs = answer(peer, tokens, attention_mask=present.long(), token_type_ids=types)
    with torch.no_grad():
        ours = ours_of(peer)
        mine = ours(tokens, present=present, token_types=types)
        assert distance(mine[present], theirs[present]) < 1e-9
        assert distance(mine[present], ours(tokens, present=present)[present]) > 1e-2


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("pythia", "llama", "qwen"))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_angles_are_exactly_the_peers(name: str, dtype: torch.dtype) -> None:
    """Both make the cosines in float32 and cast them: equality, not nearness, out to far positions."""
    peer = peer_of(name)
    ours = ours_of(peer)
    assert isinstance(ours.spec.positions, RotaryPositions)
    positions = torch.tensor([0, 1, 2, 3, 17, 1000, 8191, 131071])
    cos, sin = peer.base_model.rotary_emb(torch.zeros(1, dtype=dtype), positions[None])
    mine = ours.rotation(positions, dtype)
    assert mine is not None
    assert torch.equal(mine.cos, cos[0])
    assert torch.equal(mine.sin, sin[0])


@pytest.mark.parametrize("name", CASES)
def test_the_config_says_the_spec_and_back(name: str) -> None:
    config = config_of(peer_of(name))
    family = family_of(config)
    spec = family.read_config(config)
    again = family.write_config(spec, config)
    assert family.read_config(again) == spec
    assert again["architectures"] == config["architectures"]
    assert family.read_config(family.write_config(spec, {})) == spec
