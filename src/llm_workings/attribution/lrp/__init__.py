"""Layer-wise relevance propagation: the score handed back, layer by layer, to what it came from."""
