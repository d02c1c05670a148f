"""A batch of inputs that differ from one input in a window each: what a window reaches is computed.

Cover 8 of 64 pixels, and a convolution of 3 x 3 gives new values at 10 x 10 places, all others as before. So
of the batch `[n, channel, height, width]` the activation of the unchanged input is held once, and of each row
a crop, the box that its window reaches (`batch.Patched`):

    the batch           row i = unchanged, with crop i pasted at its place
    relu, norms ...     of the crops
    conv, pooling       of the crops with as much around them as the new boxes' outputs read
    a + b               of boxes that hold the boxes of both
    mean of a plane     the unchanged input's, and what the crops add to it
    anything else       of the whole batch, pasted together: an ordinary tensor goes on from there

So does a box that has grown over most of its plane. The unchanged input goes first, alone; where each window
reaches is noted on the way, and windows whose boxes end up of one size are then run together. A norm that
alone reads a convolution goes into its weights.

Where boxes lie is `boxes.py`, what each operation does `rules.py`. The network is run as it is: a `Patched`
is a tensor whose `__torch_function__` meets each call.
"""
