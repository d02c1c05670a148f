"""What the commands that train packaged models again share: arguments, what they say, how they stop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from llm_workings.core.errors import Cancelled, LabError
from llm_workings.core.progress import Progress

Work = Callable[[str, Path | None, Progress], Path]


def training_command(
    arguments: list[str] | None, *, module: str, description: str, name: str, choices: str, work: Work
) -> int:
    """`python -m MODULE NAME [-o FILE]`; the exit status.

    Args:
        arguments: by default the command line's.
        name: what the name is, in the help; `choices`: what there is.
        work: given the name, where to write (None: in the package) and the progress; the path written.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description, epilog=choices)
    parser.add_argument("name", help=name)
    parser.add_argument("-o", "--output", type=Path, help="where to write it (default: in the package)")
    options = parser.parse_args(arguments)
    last = ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        if what != last:  # a new measurement
            print(f"{done:5}/{total}  {what}", flush=True)
            last = what

    try:
        path = work(options.name, options.output, Progress(show))
    except (KeyboardInterrupt, Cancelled):
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {path} ({path.stat().st_size / 1000:.0f} kB).")
    return 0
