"""Our sweeps against TransformerLens's `patching` functions: all of them, float32 to 1e-4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.torchvision_here import declare_operators
from llm_workings.causal import metrics
from llm_workings.causal.patching import Pair, patch
from llm_workings.causal.sweep import sweep
from llm_workings.models.families import family_of
from llm_workings.models.sites import Site
from llm_workings.models.tokens import from_vocabulary
from llm_workings.models.transformer import Transformer
from llm_workings.trace.edits import Edit, Replace, Where
from llm_workings.trace.model import LanguageModel

TOLERANCE = 1e-4
pytestmark = pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning")
CLEAN, CORRUPTED = [3, 14, 15, 9, 2, 6], [3, 41, 15, 9, 17, 6]  # different in the middle, alike at the end
RIGHT, WRONG = 11, 12
HEADS = {"out": "z", "q": "q", "k": "k", "v": "v", "pattern": "pattern"}  # TransformerLens's word: our site


@dataclass
class Both:
    """One pair of texts in two copies of one model: TransformerLens's and ours."""

    lens: Any
    pair: Pair

    @cached_property
    def cache(self) -> Any:
        return self.lens.run_with_cache(torch.tensor([CLEAN]))[1]

    @property
    def metric(self) -> metrics.Metric:
        return metrics.logit_difference(self.pair.model, RIGHT, WRONG)

    def theirs(self, name: str) -> Tensor:
        from transformer_lens import patching

        with torch.no_grad():
            return getattr(patching, f"get_act_patch_{name}")(  # type: ignore[no-any-return]
                self.lens, torch.tensor([CORRUPTED]), self.cache, lambda x: x[0, -1, RIGHT] - x[0, -1, WRONG]
            )

    def ours(self, kind: str, *by: Any) -> Tensor:
        return patch(self.pair, kind, self.metric, by=by).values


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def both(request: pytest.FixtureRequest) -> Both:
    declare_operators()  # TransformerLens imports torchvision
    pytest.importorskip(
        "transformer_lens", reason="TransformerLens cannot be imported here: there is nothing to compare with"
    )
    theirs, lens = {"gpt2": _gpt2, "llama": _llama}[request.param]()
    family = family_of(theirs.config.to_dict())
    transformer = Transformer(family.read_config(theirs.config.to_dict()))
    family.load_weights(transformer, theirs.state_dict())
    tokenizer = from_vocabulary([f"t{i}" for i in range(theirs.config.vocab_size)], separator=" ")
    ours = LanguageModel(transformer.eval(), tokenizer, request.param)
    pair = Pair(ours, torch.tensor([CLEAN]), torch.tensor([CORRUPTED]))
    made = Both(lens, pair)
    _, cache = lens.run_with_cache(torch.tensor([CLEAN]))
    torch.testing.assert_close(cache["resid_post", -1][0], pair.clean.stream[-1], rtol=0, atol=TOLERANCE)
    return made


def _gpt2() -> tuple[Any, Any]:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=53, n_positions=16, n_embd=24, n_layer=3, n_head=3)
    theirs = _spread(GPT2LMHeadModel(config))
    lens_config = HookedTransformerConfig(
        n_layers=3, d_model=24, n_ctx=16, d_head=8, n_heads=3, d_mlp=96, d_vocab=53, act_fn="gelu_new",
        normalization_type="LN", eps=config.layer_norm_epsilon, device="cpu",
    )  # fmt: skip
    lens = HookedTransformer(lens_config)
    lens.load_state_dict(convert_gpt2_weights(theirs, lens_config), strict=False)
    return theirs, lens.eval()


def _llama() -> tuple[Any, Any]:
    """Grouped keys and values, a gated MLP, RMS norms, rotated positions."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=53, max_position_embeddings=16, hidden_size=24, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, intermediate_size=40, tie_word_embeddings=False,
    )  # fmt: skip
    theirs = _spread(LlamaForCausalLM(config))
    lens_config = HookedTransformerConfig(
        n_layers=3, d_model=24, n_ctx=16, d_head=4, n_heads=6, n_key_value_heads=2, d_mlp=40, d_vocab=53,
        act_fn="silu", normalization_type="RMS", eps=config.rms_norm_eps, positional_embedding_type="rotary",
        rotary_dim=4, rotary_adjacent_pairs=False, gated_mlp=True, final_rms=True, device="cpu",
    )  # fmt: skip
    lens = HookedTransformer(lens_config)
    lens.load_state_dict(convert_llama_weights(theirs, lens_config), strict=False)
    return theirs, lens.eval()


def _spread(model: Any) -> Any:
    """Weights large enough that every part matters."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            size = 0.35 if weight.ndim > 1 else 0.1
            noise = torch.randn_like(weight) * size
            weight.copy_(1 + noise if "norm" in name or (".ln_" in name and "weight" in name) else noise)
    return model.eval()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=TOLERANCE)
    assert theirs.std() > 100 * TOLERANCE  # the patches do something


STREAM = ["resid_pre", "resid_mid", "attn_out", "mlp_out"]


@pytest.mark.parametrize("kind", STREAM)
def test_stream_and_outputs_by_position(both: Both, kind: str) -> None:
    assert_same(both.ours(kind, "layer", "position"), both.theirs(kind))


@pytest.mark.parametrize("word", HEADS)
def test_heads_at_all_positions(both: Both, word: str) -> None:
    assert_same(both.ours(HEADS[word], "layer", "head"), both.theirs(f"attn_head_{word}_all_pos"))


@pytest.mark.parametrize("word", HEADS)
def test_heads_by_position(both: Both, word: str) -> None:
    theirs = both.theirs(f"attn_head_{word}_by_pos")
    if word != "pattern":  # which they give as layer, head, position; the others as layer, position, head
        theirs = theirs.transpose(1, 2)
    assert_same(both.ours(HEADS[word], "layer", "head", "position"), theirs)


def test_every_weight_of_every_pattern(both: Both) -> None:
    theirs = both.theirs("attn_head_pattern_dest_src_pos")
    clean = [both.pair.clean.value(Site("pattern", layer))[0] for layer in range(theirs.shape[0])]
    entries = [
        Edit(Site("pattern", layer), Where(heads=head, positions=query, keys=key), Replace(value))
        for layer, patterns in enumerate(clean)
        for head, rows in enumerate(patterns.tolist())
        for query, row in enumerate(rows)
        for key, value in enumerate(row)
    ]
    found = sweep(both.pair.corrupted, entries, both.metric)
    assert_same(found.reshape(theirs.shape), theirs)


def padded(values: Tensor, heads: int) -> Tensor:
    """Key-value heads filled up with 0 to the number of heads, as their stacks are."""
    return torch.nn.functional.pad(values, (0, heads - values.shape[-1]))


def test_the_stacks_of_several(both: Both) -> None:
    heads = both.pair.model.spec.attention.n_heads
    found: dict[str, Callable[[], list[Tensor]]] = {
        "attn_head_all_pos_every": lambda: [both.ours(kind, "layer", "head") for kind in HEADS.values()],
        "attn_head_by_pos_every": lambda: [
            both.ours(kind, "layer", "head", "position").transpose(1, 2) for kind in HEADS.values()
        ],
        "block_every": lambda: [
            both.ours(kind, "layer", "position") for kind in ("resid_pre", "attn_out", "mlp_out")
        ],
    }
    for name, ours in found.items():
        each = ours() if name == "block_every" else [padded(values, heads) for values in ours()]
        assert_same(torch.stack(each), both.theirs(name))


def test_no_function_of_theirs_is_left_out(both: Both) -> None:
    from transformer_lens import patching

    theirs = {name.removeprefix("get_act_patch_") for name in vars(patching) if name.startswith("get_act_")}
    compared = {
        *STREAM,
        *(f"attn_head_{word}_{where}" for word in HEADS for where in ("all_pos", "by_pos")),
        "attn_head_pattern_dest_src_pos",
        "attn_head_all_pos_every",
        "attn_head_by_pos_every",
        "block_every",
    }
    assert theirs == compared
