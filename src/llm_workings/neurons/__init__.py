"""MLP neurons: what they read and write, and what they do over a corpus."""

from .weights import Terms, check_neuron, reads, write_alike, writes

__all__ = ["Terms", "check_neuron", "reads", "write_alike", "writes"]
