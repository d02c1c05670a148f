"""Part of speech and dependency depth at every layer of the real models, with controls and code length.

    python -m benchmarks.probing ../shared/data

reads `en_ewt-ud-dev.conllu` (learned from) and `en_ewt-ud-test.conllu` (tested on) there, and prints the
tables of docs/probing.md and how long each model took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

import llm_workings as lw
from llm_workings.core.progress import Listener, Progress
from llm_workings.data.conllu import read_conllu
from llm_workings.probing import Task, probe_all, treebank

MODELS = ("minilm-l6", "smollm2-135m")
ASKED = ("part_of_speech", "dependency_depth")


def tasks(path: Path) -> list[Task]:
    """The two tasks of one file."""
    sentences = read_conllu(path)
    return [treebank(sentences, what) for what in ASKED]


def noting(stages: dict[str, float]) -> Listener:
    """Notes when each stage of the work began."""
    return lambda what, done, total: stages.setdefault(what, time.perf_counter()) and None


def main(folder: str) -> None:
    learn, ask = (tasks(Path(folder) / f"en_ewt-ud-{part}.conllu") for part in ("dev", "test"))
    ask = [one.without(other) for one, other in zip(ask, learn, strict=True)]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in MODELS:
        wall, work = time.perf_counter(), time.process_time()
        stages: dict[str, float] = {}
        reports = probe_all(lw.load(name), learn, test=ask, progress=Progress(noting(stages)))
        wall, work = time.perf_counter() - wall, time.process_time() - work
        starts = [*stages.values(), time.perf_counter()]
        parts = zip(stages, starts, starts[1:], strict=False)
        said = ", ".join(f"{what} {after - before:.0f} s" for what, before, after in parts)
        print(f"\n{name}: {wall:.0f} s, {work:.0f} s of processor time ({said})")
        for report in reports:
            print(f"\n{report}")


if __name__ == "__main__":
    main(sys.argv[1])
