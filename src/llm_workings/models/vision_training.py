"""Training the packaged vision nets again, on one core and from a fixed seed.

    python -m llm_workings.models.vision_training shapes

Of the shortcut's net the accuracies tell the story: on the pictures with the mark, without it, and with
one that lies.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from llm_workings.core.errors import unknown
from llm_workings.core.progress import SILENT, Progress
from llm_workings.core.seeds import generator, seeded
from llm_workings.data.pictures import PICTURES, PictureName, make_pictures

from .training_command import training_command
from .vision import MEAN, STD, ConvNet, Epoch, write_net
from .vision_nets import VISION_NETS, PackagedNet

MEASURED = 400  # test pictures of a drawn set, after each epoch
WARM_UP = 0.1  # the share of the steps in which the learning rate rises


def train(net: PackagedNet, *, progress: Progress = SILENT) -> tuple[ConvNet, list[Epoch]]:
    """Train a net by its recipe: cross-entropy, AdamW, a learning rate that rises and then falls (cosine).

    One thread, so that the same seed gives the same weights on the same kind of machine.
    Returns the net, in eval mode, and its measurements. Raises `Cancelled` when the user stops it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(net.recipe.seed):
            module = ConvNet(net.spec)
        history = _train(module, net, progress)
        _lay_out(module, torch.contiguous_format)
        return module.eval(), history
    finally:
        torch.set_num_threads(threads)


def _train(module: ConvNet, net: PackagedNet, progress: Progress) -> list[Epoch]:
    recipe, draw = net.recipe, generator(net.recipe.seed)
    progress.report("drawing the pictures")
    pictures = make_pictures(net.data, recipe.pictures, seed=recipe.seed, part="train")
    images, labels = torch.from_numpy(pictures.images), torch.from_numpy(pictures.labels)
    tests: dict[str, tuple[Tensor, Tensor]] = {
        name: _test_set(name) for name in PICTURES if name.split("-")[0] == net.data
    }
    _lay_out(module, torch.channels_last)  # half the time on a CPU
    optimizer = torch.optim.AdamW(module.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = len(labels) // recipe.batch
    steps = recipe.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps, pct_start=WARM_UP
    )
    history: list[Epoch] = []
    said = "training"
    for epoch in range(1, recipe.epochs + 1):
        module.train()
        order = torch.randperm(len(labels), generator=draw)
        total = 0.0
        for at in range(batches):
            progress.report(said, (epoch - 1) * batches + at, steps)
            chosen = order[at * recipe.batch : (at + 1) * recipe.batch]
            loss = F.cross_entropy(module(scaled(images[chosen])), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        accuracies = {name: accuracy(module, *test) for name, test in tests.items()}
        history.append(Epoch(epoch=epoch, loss=total / batches, accuracy=accuracies))
        shown = ", ".join(f"{name} {share:.3f}" for name, share in accuracies.items())
        said = f"training: loss {history[-1].loss:.3f}, right of test pictures: {shown}"
    progress.report(said, steps, steps)
    return history


def _lay_out(module: ConvNet, order: torch.memory_format) -> None:
    """The convolutions' weights in another order of memory; their numbers stay."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=order)


def scaled(images: Tensor) -> Tensor:
    """Pixels from 0..1 to what the packaged nets read, laid out as a CPU convolves fastest."""
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def _test_set(name: PictureName) -> tuple[Tensor, Tensor]:
    pictures = make_pictures(name, 359 if name == "digits" else MEASURED, part="test")
    return torch.from_numpy(pictures.images), torch.from_numpy(pictures.labels)


@torch.no_grad()
def accuracy(module: ConvNet, images: Tensor, labels: Tensor) -> float:
    """The share of the pictures that get their own label, by the net in eval mode."""
    module.eval()
    batches = zip(images.split(100), labels.split(100), strict=True)
    right = [module(scaled(x)).argmax(-1) == y for x, y in batches]
    return torch.cat(right).float().mean().item()


# --- the command -------------------------------------------------------------------------------
def main(arguments: list[str] | None = None) -> int:
    """`python -m llm_workings.models.vision_training shapes|shortcut|digits [-o FILE]`"""
    nets = {str(net.data): net for net in VISION_NETS.values()}

    def work(name: str, output: Path | None, progress: Progress) -> Path:
        if name not in nets:
            raise unknown("set to train on", name, nets)
        path = output or nets[name].path
        module, history = train(nets[name], progress=progress)
        write_net(nets[name], module, history, path)
        return path

    return training_command(
        arguments,
        module="llm_workings.models.vision_training",
        description="Train a packaged vision net again, on one core and from its fixed seed.",
        name="the set of pictures that it learns from",
        choices="Sets: " + "; ".join(f"{data} ({net.title})" for data, net in nets.items()),
        work=work,
    )


if __name__ == "__main__":
    # The module run as a command is a second copy of this one; its classes must not mix with ours.
    from llm_workings.models.vision_training import main as command

    sys.exit(command())
