"""What units answer to a set of inputs: one by one, in rows of a heatmap, by layer, and to inputs made to mislead."""
