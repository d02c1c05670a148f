"""`python -m benchmarks.run [-o FILE.json] [--only TABLE] [--pairs N]`: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from . import attribution, gpt2, loading, playground, starting, sweeps
from .pairs import Row

TABLES = {
    "starting": starting.rows,
    "playground": playground.rows,
    "gpt2": gpt2.rows,
    "loading": loading.rows,
    "sweeps": sweeps.rows,
    "attribution": attribution.rows,
}
PEERS = ("torch", "transformers", "transformer-lens")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="also write every measured time here, as JSON")
    parser.add_argument("--only", choices=TABLES, action="append", help="measure only this (repeatable)")
    parser.add_argument("--pairs", type=int, default=30, help="pairs a row; slow rows take fewer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, for both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    machine = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PEERS},
    }
    rows: list[Row] = []
    for name in options.only or TABLES:
        for row in TABLES[name](options.pairs):
            rows.append(row)
            done = row.verdict if row.skipped else f"{row.ratio:.2f} (at most {_bar(row)})"
            print(f"{row.what} / {row.against}: {done}", file=sys.stderr, flush=True)
    table_of(rows, machine)
    if options.output:
        written = {"machine": machine, "rows": [row.as_dict() for row in rows]}
        options.output.write_text(json.dumps(written, indent=1) + "\n")
    return 0


def table_of(rows: list[Row], machine: dict[str, object]) -> None:
    table = Table(title=", ".join(f"{key} {value}" for key, value in machine.items()))
    for column in ("what", "against", "ours, ms", "theirs, ms", "ratio", "min-max", "bar", "pairs", ""):
        table.add_column(column, justify="left" if column in ("what", "against", "") else "right")
    for row in rows:
        if row.skipped:
            table.add_row(row.what, row.against, "", "", "", "", _bar(row), "0", row.verdict)
            continue
        table.add_row(
            row.what,
            row.against,
            f"{1000 * median(row.ours):.0f}",
            f"{1000 * median(row.theirs):.0f}",
            f"{row.ratio:.3f}",
            f"{min(row.ratios):.3f}-{max(row.ratios):.3f}",
            _bar(row),
            str(len(row.ratios)),
            row.verdict,
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _bar(row: Row) -> str:
    return "-" if row.bar is None else f"{row.bar:g}"


if __name__ == "__main__":
    sys.exit(main())
