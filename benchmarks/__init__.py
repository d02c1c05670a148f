"""Ratios against the peers, measured side by side: `make bench`, or `python -m benchmarks.run`."""

import os

os.environ["TQDM_DISABLE"] = "1"  # the peers' bars are not part of the work; read when tqdm is imported
