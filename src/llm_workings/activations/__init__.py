"""What a network's units answer to a set of pictures: one by one, by layer, and to inputs made to mislead."""
