"""How long a fresh Python takes to import us and to print our help, against importing TransformerLens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from .pairs import Row, Work, compare

BAR = 0.1
HELP = "import sys; from llm_workings.cli import main; sys.argv = ['llm-workings', '--help']; main()"


def rows(pairs: int) -> Iterator[Row]:
    theirs = fresh("import transformer_lens")
    for what, code in (("import llm_workings", "import llm_workings"), ("llm-workings --help", HELP)):
        yield compare(
            what, fresh(code), "import transformer_lens", theirs, bar=BAR, pairs=max(3, pairs // 6), warm_up=1
        )


def fresh(code: str) -> Work:
    """Run `code` in a Python of its own, the interpreter's start included."""

    def run() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    return run
