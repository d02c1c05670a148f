"""Ratios against the peers, measured side by side: `make bench`, or `python -m benchmarks.run`."""
