"""A sweep stays inside its budget: the peak of a process of its own, beside what it takes all at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 2**20
SLACK = 128 * MIB  # what the allocator and the libraries take beside the rows
# 4,096 patches, each head at each of 256 positions; of those in the first layer half the text follows.
SWEEP = """
import os, re, sys
import torch
from llm_workings.causal import metrics, sweep as engine
from llm_workings.causal.patching import Pair, patch
from llm_workings.models import spec as sp
from llm_workings.models.tokens import from_vocabulary
from llm_workings.models.transformer import Transformer
from llm_workings.trace.model import LanguageModel

budget, at_once = sys.argv[1], sys.argv[2] == "at once"
torch.manual_seed(0)
spec = sp.Spec(
    vocab_size=100, n_ctx=256, d_model=256, n_layers=2,
    attention=sp.Attention(8, 8, 32, input_bias=True, output_bias=True), mlp=sp.PlainMLP(1024, "gelu_tanh"),
    norm=sp.LayerNorm(), positions=sp.LearnedPositions(), block=sp.PreNorm(), head=sp.NextTokenHead(),
)
tokenizer = from_vocabulary([f"t{i}" for i in range(100)], separator=" ")
model = LanguageModel(Transformer(spec), tokenizer, "wide")
two = torch.randint(100, (2, 256))
pair, metric = Pair(model, two[:1], two[1:]), metrics.logit_difference(model, 11, 12)
patch(pair, "z", metric)
if at_once:
    engine.TOKENS = 10**9
held = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
found = patch(pair, "z", metric, by=("layer", "head", "position"), budget=budget)
# Not ru_maxrss: that begins at what the process had that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
assert found.values.isfinite().all()
print(peak - held, found.values.double().sum().item())
"""


def growth(budget: str, how: str = "in parts") -> tuple[int, float]:
    """By how many bytes the process grew while it swept, and the sum of what it found."""
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, budget, how], capture_output=True, text=True, check=True
    )
    grown, total = done.stdout.split()
    return int(grown), float(total)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_sweep_of_gibibytes_stays_inside_its_budget() -> None:
    whole, total = growth("64GiB", "at once")
    assert whole > 1024 * MIB + SLACK  # so that the budget has something to keep it from
    grown, found = growth("1GiB")
    assert grown <= 1024 * MIB + SLACK, f"{grown / MIB:.0f} MiB"
    assert found == pytest.approx(total, rel=1e-4)
