"""MLP neurons: what they read and write, and what they do over a corpus."""

from .corpus import Corpus, built_in, corpus, kept
from .scan import Scan, scan_layer, stored
from .statistics import Example, Flag, LayerReading, NeuronStatistics, TokenMean, read_layer
from .weights import Terms, check_neuron, reads, write_alike, writes

__all__ = [
    "Corpus",
    "Example",
    "Flag",
    "LayerReading",
    "NeuronStatistics",
    "Scan",
    "Terms",
    "TokenMean",
    "built_in",
    "check_neuron",
    "corpus",
    "kept",
    "read_layer",
    "reads",
    "scan_layer",
    "stored",
    "write_alike",
    "writes",
]
