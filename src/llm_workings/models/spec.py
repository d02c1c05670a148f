"""What a model is, said in typed choices: a `Spec` that cannot spell an illegal combination.

Each choice is a small frozen class that carries just the numbers it needs. The transformer
(`transformer.py`) matches on them; a family (`families/`) makes a `Spec` out of a `config.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]


# --- norm ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class LayerNorm:
    """(x - mean) / sqrt(var + eps) * weight + bias  (Ba et al. 2016)."""

    eps: float = 1e-5


@dataclass(frozen=True)
class RMSNorm:
    """x / sqrt(mean(x^2) + eps) * weight  (Zhang and Sennrich 2019)."""

    eps: float = 1e-5


@dataclass(frozen=True)
class NoNorm:
    """The stream is read as it is: toys and hand-made models."""


# --- positions -------------------------------------------------------------------------------
@dataclass(frozen=True)
class LearnedPositions:
    """A learned vector a position, added to the token's embedding."""


@dataclass(frozen=True)
class LinearScaling:
    """Positions are divided by `factor` before they become angles."""

    factor: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's stretching of the slow rotations only, for a longer context."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_n_ctx: int


@dataclass(frozen=True)
class RotaryPositions:
    """Queries and keys are turned by an angle proportional to the position (Su et al. 2021).

    Only the first `fraction` of a head's dimensions turns; dimension i pairs with i + half.
    """

    base: float = 10000.0
    fraction: float = 1.0
    scaling: LinearScaling | Llama3Scaling | None = None


@dataclass(frozen=True)
class NoPositions:
    """The model knows order only through the causal mask."""


# --- block -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class PreNorm:
    """Attention, then MLP, each reading a normed copy of the stream (GPT-2, Llama)."""


@dataclass(frozen=True)
class ParallelPreNorm:
    """Attention and MLP read the same stream and are added together (GPT-NeoX)."""


@dataclass(frozen=True)
class PostNorm:
    """The sum is normed after each addition, so the stream itself is rescaled (BERT)."""


# --- attention -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Attention:
    """Multi-head attention; heads share keys and values in groups when there are fewer of those.

    `query_key_norm` norms each head's query and key before the rotation (Qwen 3).
    """

    n_heads: int
    n_key_value_heads: int
    d_head: int
    causal: bool = True
    input_bias: bool = False
    output_bias: bool = False
    query_key_norm: RMSNorm | None = None

    def __post_init__(self) -> None:
        if self.n_heads < 1 or self.n_key_value_heads < 1 or self.n_heads % self.n_key_value_heads:
            raise ValueError(
                f"{self.n_heads} heads cannot share {self.n_key_value_heads} key-value heads evenly"
            )


# --- MLP -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PlainMLP:
    """activation(x W_in + b) W_out + b."""

    width: int
    activation: Activation
    bias: bool = True


@dataclass(frozen=True)
class GatedMLP:
    """(activation(x W_gate) * (x W_in)) W_out  (Shazeer 2020)."""

    width: int
    activation: Activation
    bias: bool = False


@dataclass(frozen=True)
class NoMLP:
    """An attention-only block."""


# --- head ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NextTokenHead:
    """Logits by an unembedding; `tied` when it is the token embedding itself."""

    tied: bool = True
    bias: bool = False


@dataclass(frozen=True)
class MaskedTokenHead:
    """BERT's: dense, activation, LayerNorm, then the unembedding with a bias."""

    activation: Activation
    eps: float
    tied: bool = True


@dataclass(frozen=True)
class NoHead:
    """An encoder that answers nothing by itself: the last residual is its output."""


Norm = LayerNorm | RMSNorm | NoNorm
Positions = LearnedPositions | RotaryPositions | NoPositions
Block = PreNorm | ParallelPreNorm | PostNorm
MLP = PlainMLP | GatedMLP | NoMLP
Head = NextTokenHead | MaskedTokenHead | NoHead


@dataclass(frozen=True)
class Spec:
    """Everything that decides the shape of a model's arithmetic. Widths are numbers of units."""

    vocab_size: int
    n_ctx: int
    d_model: int
    n_layers: int
    attention: Attention
    mlp: MLP
    norm: Norm
    positions: Positions
    block: Block
    head: Head
    n_token_types: int = 0  # BERT's segment embeddings; 0 is none
    norm_embedding: bool = False  # the embeddings' sum is normed (BERT, DistilBERT)

    def __post_init__(self) -> None:
        if isinstance(self.mlp, NoMLP) and not isinstance(self.block, PreNorm):
            raise ValueError("an attention-only model has pre-norm blocks")
        if isinstance(self.positions, RotaryPositions) and self.rotary_size % 2:
            raise ValueError(
                f"an odd number of dimensions ({self.rotary_size}) cannot be paired for rotation"
            )

    @property
    def causal(self) -> bool:
        return self.attention.causal

    @property
    def final_norm(self) -> bool:
        """Whether the stream is normed once more before the head: where blocks do not end in one."""
        return not isinstance(self.block, PostNorm)

    @property
    def rotary_size(self) -> int:
        """How many of a head's dimensions turn."""
        if not isinstance(self.positions, RotaryPositions):
            return 0
        return int(self.attention.d_head * self.positions.fraction)
