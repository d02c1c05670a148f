"""One pass over a set of pictures: what every unit of the chosen layers answers to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_workings.core.errors import BadInput, BadShape, unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.vision_wrap import VisionModel

Pool = Literal["mean", "max"]
BATCH = 64


@dataclass(frozen=True)
class Collected:
    """What a model answered to n pictures.

    Attributes:
        layers: by layer, `[n, unit]` float32: each channel pooled over its places.
        peaks: by layer, `[n, unit, 2]` int16: the (row, column) of each channel's largest place.
        places: by layer, its (rows, columns); (1, 1) where it has no places.
        logits: `[n, class]` float32.
        labels: `[n]` int64, the true classes; -1 where they are not known.
        classes: their names.
        pool: how places were pooled.
    """

    layers: Mapping[str, NDArray[np.float32]]
    peaks: Mapping[str, NDArray[np.int16]]
    places: Mapping[str, tuple[int, int]]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    pool: Pool

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answers(self) -> NDArray[np.int64]:
        """`[n]`: the class that the model names."""
        return self.logits.argmax(1)

    def at(self, layer: str) -> NDArray[np.float32]:
        """`[n, unit]` of one layer. Raises `UnknownName` for one that was not collected."""
        if layer not in self.layers:
            raise unknown("layer", layer, self.layers)
        return self.layers[layer]


def collect(
    model: VisionModel,
    images: NDArray[np.floating] | Tensor,
    labels: NDArray[np.integer] | None = None,
    layers: Sequence[str] | None = None,
    *,
    pool: Pool = "mean",
    batch: int = BATCH,
    progress: Progress = SILENT,
) -> Collected:
    """Run the model on pictures and keep every unit of the layers, pooled over its places.

    Args:
        images: `[n, channel, h, w]` from 0 to 1, of the model's size.
        labels: `[n]`, the true classes; None: not known.
        layers: by default those that the model lists.
        pool: the mean over places, or the largest. With the mean a unit that is strong in a small part of
            the picture and one that is weak all over look the same.

    Raises:
        UnknownName, BadInput: a layer that is not there, no pictures, labels that do not fit.
        BadShape: pictures that are not of the model's shape.
    """
    if pool not in ("mean", "max"):
        raise unknown("pool", str(pool), ("mean", "max"))
    if not len(images):
        raise BadInput("There are no pictures.", hint="Give at least one.")
    if labels is not None and len(labels) != len(images):
        raise BadInput(f"{len(labels)} labels were given for {len(images)} pictures.", hint="Give one each.")
    names = list(model.layers if layers is None else layers)
    wanted = (model.channels, *model.size)
    if tuple(images.shape[1:]) != wanted:
        raise BadShape(
            f"The pictures have the shape {list(images.shape[1:])}, and {model.name} reads {list(wanted)}.",
            hint="model.prepare(image) fits one.",
        )
    pooled: dict[str, list[Tensor]] = {name: [] for name in names}
    peaks: dict[str, list[Tensor]] = {name: [] for name in names}
    places: dict[str, tuple[int, int]] = {}
    logits = []
    for begin in range(0, len(images), batch):
        progress.report("running the pictures", begin, len(images))
        part = torch.as_tensor(np.asarray(images[begin : begin + batch])).to(model.device, model.dtype)
        run = model.run((part - model.mean) / model.std, names)
        logits.append(run.logits.float().cpu())
        for name in names:
            value = run[name].float()
            flat = value.flatten(2) if value.dim() > 2 else value[..., None]
            wide = value.shape[3] if value.dim() == 4 else 1
            places[name] = (flat.shape[2] // wide, wide)
            top, where = flat.max(2)
            pooled[name].append((top if pool == "max" else flat.mean(2)).cpu())
            peaks[name].append(torch.stack((where // wide, where % wide), -1).to(torch.int16).cpu())
    return Collected(
        {name: torch.cat(parts).numpy() for name, parts in pooled.items()},
        {name: torch.cat(parts).numpy() for name, parts in peaks.items()},
        places,
        torch.cat(logits).numpy(),
        np.full(len(images), -1) if labels is None else np.asarray(labels, np.int64),
        tuple(model.classes),
        pool,
    )
