"""`llm-workings classify`: what a vision model takes a picture for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_workings.cli_model import progress_bar


def classify(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or WebP picture.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model of pictures that 'llm-workings models' lists, or torchvision:NAME or timm:NAME.",
        ),
    ] = "efficientnet-lite0",
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to show.")] = 5,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For torchvision:NAME or timm:NAME, a safetensors file of its state dict."
        ),
    ] = None,
) -> None:
    """Show the classes that a vision model finds likeliest for a picture."""
    from llm_workings.data.images import read_image
    from llm_workings.models.vision_load import load_vision

    picture = read_image(image)
    with progress_bar() as progress:
        loaded = load_vision(model, weights=weights, progress=progress)
        best = loaded.top(loaded.prepare(picture), top)
    height, width = loaded.size
    seen = f"its middle as {width} by {height} pixels" if picture.shape[1:] != loaded.size else "as it is"
    print(f"{loaded.name} on {image.name}, {picture.shape[2]} by {picture.shape[1]} pixels, {seen}:")
    if "random weights" in loaded.origin:
        print(f"({loaded.origin})")
    for name, probability in best:
        print(f"  {probability:7.4f}  {name}")
