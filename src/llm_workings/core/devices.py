"""Which device computes, in which precision, and how much memory is free there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput, NotSupported, unknown

if TYPE_CHECKING:
    import torch

PRECISIONS = {
    "float32": "float32",
    "fp32": "float32",
    "float64": "float64",
    "fp64": "float64",
    "double": "float64",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
}
KINDS = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`.

    `auto` takes the first CUDA device if there is one and the CPU otherwise. Apple's GPU is taken
    only when named: it has no float64, and every number shown here is to be checkable in float64.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in KINDS:
        raise unknown("device", name, KINDS)
    if kind == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if index and not index.isdecimal():
        raise BadInput(f"The device {name!r} has no number after the colon.", hint="Write cuda:0.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise NotSupported(
                f"The device {name!r} is not there: PyTorch sees {count} CUDA device(s).",
                hint="Use 'cpu', or install a PyTorch built for your GPU.",
            )
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise NotSupported("The device 'mps' is not there.", hint="It needs a Mac with Apple silicon.")
    return torch.device(kind)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The floating-point type called `name` (float32, float64, bfloat16, float16), usable on `device`."""
    import torch

    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    if PRECISIONS[name] == "float64" and device.type == "mps":
        raise NotSupported("Apple's GPU has no float64.", hint="Use precision float32, or device cpu.")
    return getattr(torch, PRECISIONS[name])


def free_memory(device: torch.device) -> int:
    """Bytes that a new request may take on `device`: what is free, or what the container leaves."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return _free_main_memory()


def _free_main_memory() -> int:
    amounts = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        amounts += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    group = Path("/sys/fs/cgroup")
    try:  # version 2 of control groups: "max" means unlimited, and raises here
        limit = int((group / "memory.max").read_text())
        amounts.append(max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        pass
    if amounts:
        return min(amounts)
    try:  # macOS and Windows: no cheap exact answer without another package, so half of what there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30
