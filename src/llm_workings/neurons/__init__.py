"""MLP neurons: what they read and write, and what they do over a corpus; heads and directions over it too."""

from .corpus import Corpus, built_in, corpus, kept
from .scalars import Looked, Scalar, along, head_attention, head_looks, head_writes, read_scalars, unembedding
from .scan import Scan, scan_layer, stored
from .statistics import Example, Flag, LayerReading, NeuronStatistics, Statistics, TokenMean, read_layer
from .weights import Terms, check_neuron, reads, write_alike, writes

__all__ = [
    "Corpus",
    "Example",
    "Flag",
    "LayerReading",
    "Looked",
    "NeuronStatistics",
    "Scalar",
    "Scan",
    "Statistics",
    "Terms",
    "TokenMean",
    "along",
    "built_in",
    "check_neuron",
    "corpus",
    "head_attention",
    "head_looks",
    "head_writes",
    "kept",
    "read_layer",
    "read_scalars",
    "reads",
    "scan_layer",
    "stored",
    "unembedding",
    "write_alike",
    "writes",
]
