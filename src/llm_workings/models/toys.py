"""Packaged toys: models small enough to be trained while you watch, and understood whole.

Each toy is a few lines here (what it is and how it was trained) and one file in `toy_weights/`.
`python -m llm_workings.models.toys NAME` trains it again (`toy_training.py`) and writes that file.
"""

from __future__ import annotations

import string
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_workings.core.errors import BadFile, unknown
from llm_workings.core.files import write_whole
from llm_workings.core.progress import Progress
from llm_workings.core.wire import Payload, pack, unpack

from . import spec as sp
from .spec_json import from_json, to_json
from .training_command import training_command

if TYPE_CHECKING:
    from .tokens import Tokenizer
    from .transformer import Transformer

FOLDER = Path(__file__).parent / "toy_weights"
BEGIN = "<begin>"
LETTERS = (BEGIN, " ", ".", ",", "!", "?", *string.ascii_lowercase)


# --- what the toys are -------------------------------------------------------------------------
@dataclass(frozen=True)
class Recipe:
    """How a toy is trained.

    `longest_period` is the most letters from one copy of a segment to the next; `distinct` is the
    share of sequences whose segment repeats no letter.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    longest_period: int = 60
    distinct: float = 0.7
    seed: int = 0


@dataclass(frozen=True)
class Toy:
    """A packaged model: its name, what to say about it, what it is and how it came to be."""

    name: str
    title: str
    about: str
    spec: sp.Spec
    recipe: Recipe
    vocabulary: tuple[str, ...] = LETTERS

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.safetensors"

    @property
    def command(self) -> str:
        """What trains it."""
        return f"python -m llm_workings.models.toys {self.name}"


def _attention_only(n_layers: int) -> sp.Spec:
    return sp.Spec(
        vocab_size=len(LETTERS),
        n_ctx=128,
        d_model=64,
        n_layers=n_layers,
        attention=sp.Attention(n_heads=4, n_key_value_heads=4, d_head=32),
        mlp=sp.NoMLP(),
        norm=sp.LayerNorm(),
        # Half of a head's dimensions turn and can tell distances; the others compare letters only.
        positions=sp.RotaryPositions(base=1000.0, fraction=0.5),
        block=sp.PreNorm(),
        head=sp.NextTokenHead(tied=False),
    )


TOYS: dict[str, Toy] = {
    toy.name: toy
    for toy in (
        Toy(
            name="induction-2l",
            title="Induction heads, 2 layers",
            about="A 2-layer attention-only model that learned to repeat: a head of layer 0 looks one "
            "letter back, heads of layer 1 look for what followed the same letter before. Type a "
            "few random letters twice.",
            spec=_attention_only(2),
            recipe=Recipe(steps=1500),
        ),
        Toy(
            name="induction-1l",
            title="No induction, 1 layer",
            about="Its 1-layer twin with the same training. With nothing below to look one letter "
            "back, no head can look for what followed, and the second copy stays a surprise.",
            spec=_attention_only(1),
            recipe=Recipe(steps=1500),
        ),
    )
}


# --- their files -------------------------------------------------------------------------------
class Measure(Payload):
    """How far the training was at one step. Losses in nats a letter, scores between 0 and 1.

    `first_copy` and `second_copy` are the losses on the two copies of a random segment, `induction`
    and `previous` the best head's induction and previous-token score.
    """

    step: int
    loss: float
    first_copy: float
    second_copy: float
    induction: float
    previous: float


class ToyFile(Payload):
    """A toy on the wire: its weights by the transformer's own names, and how they came to be."""

    name: str
    spec: dict[str, object]
    vocabulary: list[str]
    command: str
    recipe: dict[str, int | float]
    history: list[Measure]
    weights: dict[str, np.ndarray]


def find_toy(name: str) -> Toy:
    """The toy of this name; `UnknownName`, with the nearest, if there is none."""
    if name not in TOYS:
        raise unknown("toy", name, TOYS)
    return TOYS[name]


def read_toy(name: str, path: Path | None = None) -> ToyFile:
    """The file of a toy (the packaged one, unless `path` says another)."""
    toy = find_toy(name)
    path = path or toy.path
    try:
        return unpack(path.read_bytes(), ToyFile)
    except FileNotFoundError as error:
        raise BadFile(f"The toy {name!r} has no file {path}.", hint=f"Train it: {toy.command}") from error


def load_toy(name: str, path: Path | None = None) -> tuple[Transformer, Tokenizer]:
    """The trained toy (float32, on the CPU) and its tokenizer, which puts `<begin>` in front.

    Raises:
        UnknownName: no such toy; suggests the nearest.
        BadFile: its file is missing, damaged, or does not hold the weights that its spec asks for.
    """
    import torch

    from .transformer import Transformer

    file = read_toy(name, path)
    model = Transformer(from_json(file.spec))
    weights = {key: torch.from_numpy(array) for key, array in file.weights.items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BadFile(f"The file of the toy {name!r} does not hold that model: {error}") from error
    return model.eval(), tokenizer_of(file.vocabulary)


def tokenizer_of(vocabulary: list[str]) -> Tokenizer:
    """A letter is a token; `<begin>` comes before the first."""
    from tokenizers.processors import TemplateProcessing

    from .tokens import from_vocabulary

    tokenizer = from_vocabulary(vocabulary, roles={"bos": BEGIN})
    tokenizer.backend.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, vocabulary.index(BEGIN))]
    )
    return tokenizer


def write_toy(toy: Toy, model: Transformer, history: list[Measure], path: Path) -> None:
    """Write a trained toy, whole or not at all."""
    file = ToyFile(
        name=toy.name,
        spec=to_json(toy.spec),
        vocabulary=list(toy.vocabulary),
        command=toy.command,
        recipe=vars(toy.recipe),
        history=history,
        weights={key: value.detach().numpy() for key, value in model.state_dict().items()},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pack(file), example=f"{toy.name}.safetensors")


# --- training them again -----------------------------------------------------------------------
def main(arguments: list[str] | None = None) -> int:
    """`python -m llm_workings.models.toys NAME [-o FILE]`"""

    def work(name: str, output: Path | None, progress: Progress) -> Path:
        toy = find_toy(name)
        from .toy_training import train

        path = output or toy.path
        model, history = train(toy.spec, toy.recipe, progress=progress)
        write_toy(toy, model, history, path)
        return path

    return training_command(
        arguments,
        module="llm_workings.models.toys",
        description="Train a packaged toy again, on one core and from its fixed seed.",
        name="which toy",
        choices="Toys: " + "; ".join(f"{toy.name} ({toy.title})" for toy in TOYS.values()),
        work=work,
    )


if __name__ == "__main__":
    # The module run as a command is a second copy of this one; its classes must not mix with ours.
    from llm_workings.models.toys import main as command

    sys.exit(command())
