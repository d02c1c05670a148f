"""A forward at GPT-2's shape: plain against transformers, keeping every site against TransformerLens.

All three hold the same random weights, and their logits and kept values are compared before the clock
starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from llm_workings.models.families import family_of
from llm_workings.models.sites import Site
from llm_workings.models.tokens import from_vocabulary
from llm_workings.models.transformer import Transformer
from llm_workings.trace.model import LanguageModel

from .pairs import Row, Work, compare
from .torchvision_here import declare_operators

SHAPES = ((1, 16), (1, 64), (8, 64), (1, 512))  # batch, tokens
PLAIN_BAR, KEEPING_BAR = 1.0, 0.4
# TransformerLens's second names of what its cache holds anyway, or returns
ALSO = {"unembed.hook_in": "ln_final", "unembed.hook_out": "logits"}
TOLERANCE = 2e-4  # float32, and logits of magnitude about 5


def rows(pairs: int) -> Iterator[Row]:
    theirs, lens, ours = peers()
    for shape in SHAPES:
        tokens = torch.randint(50257, shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            check_equal(theirs, lens, ours, tokens)
            yield compare(
                f"plain forward, {_said(shape)}",
                lambda tokens=tokens: ours.transformer(tokens),
                "transformers",
                lambda tokens=tokens: theirs(tokens, use_cache=False).logits,
                bar=PLAIN_BAR,
                pairs=pairs,
            )
            yield compare(
                f"the matrix products alone, {_said(shape)}",
                products(ours.transformer, tokens.numel()),
                "TransformerLens keeping",
                lambda tokens=tokens: lens.run_with_cache(tokens),
                bar=None,
                pairs=pairs,
            )
    for each_head in (False, True):
        lens.set_use_attn_result(each_head)
        keep = [str(place) for place in kept_by(lens)]
        extra = ", each head's write too" if each_head else ""
        for shape in SHAPES:
            tokens = torch.randint(50257, shape, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                yield compare(
                    f"keeping {len(keep)} sites{extra}, {_said(shape)}",
                    lambda tokens=tokens, keep=keep: ours.run(tokens, keep),
                    "TransformerLens",
                    lambda tokens=tokens: lens.run_with_cache(tokens),
                    bar=KEEPING_BAR,
                    pairs=pairs,
                )


def products(transformer: Transformer, n: int) -> Work:
    """The products with weights that any forward of `n` tokens makes, on random input, and nothing else.

    What keeping every site costs cannot come below this, whoever keeps it.
    """
    layers = [module for module in transformer.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {layer.in_features: torch.randn(n, layer.in_features) for layer in layers}

    def run() -> None:
        for layer in layers:
            layer(inputs[layer.in_features])

    return run


def _said(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]} tokens"


def peers():  # type: ignore[no-untyped-def]
    """transformers' GPT-2, TransformerLens's and ours, with one set of random weights."""
    declare_operators()
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config()
    theirs = GPT2LMHeadModel(config).eval()

    family = family_of(config.to_dict())
    transformer = Transformer(family.read_config(config.to_dict()))
    family.load_weights(transformer, theirs.state_dict())
    tokenizer = from_vocabulary([f"t{i}" for i in range(config.vocab_size)], separator=" ")
    ours = LanguageModel(transformer, tokenizer, "GPT-2's shape")

    lens_config = HookedTransformerConfig(
        n_layers=config.n_layer,
        d_model=config.n_embd,
        n_ctx=config.n_positions,
        d_head=config.n_embd // config.n_head,
        n_heads=config.n_head,
        d_mlp=4 * config.n_embd,
        d_vocab=config.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=config.layer_norm_epsilon,
        device="cpu",
    )
    lens = HookedTransformer(lens_config)
    lens.load_state_dict(convert_gpt2_weights(theirs, lens_config), strict=False)
    return theirs, lens.eval(), ours


def kept_by(lens) -> list[Site]:  # type: ignore[no-untyped-def]
    """Our names of the sites that TransformerLens's cache holds."""
    _, cache = lens.run_with_cache(torch.tensor([[1, 2]]))
    return list(dict.fromkeys(Site.parse(ALSO.get(name, name)) for name in cache))


def check_equal(theirs, lens, ours: LanguageModel, tokens: Tensor) -> None:  # type: ignore[no-untyped-def]
    """Stop unless the three agree on the logits, and the two that keep on everything kept."""
    expected = theirs(tokens, use_cache=False).logits
    keep = kept_by(lens)
    lens_logits, cache = lens.run_with_cache(tokens)
    run = ours.run(tokens, keep)
    distances = {
        "logits, ours and transformers'": _distance(ours.transformer(tokens), expected),
        "logits, TransformerLens's and transformers'": _distance(lens_logits, expected),
        "logits, kept and plain": _distance(run.logits, expected),
        **{
            str(place): _distance(run[place], cache[place.lens_name])
            for place in keep
            if place.kind != "logits"
        },
    }
    for what, distance in distances.items():
        if not distance < TOLERANCE:
            raise SystemExit(f"Not the same computation: {what} differ by {distance:g}.")


def _distance(a: Tensor, b: Tensor) -> float:
    finite = torch.isfinite(b)
    if not torch.equal(finite, torch.isfinite(a)):
        return float("inf")
    return (a - b)[finite].abs().max().item()
