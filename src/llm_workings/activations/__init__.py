"""What units answer to a set of inputs: one by one, as rows of a heatmap, by layer, and when misled."""
