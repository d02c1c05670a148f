"""Which tokens of a text an answer came from."""
