"""The families of models that can be loaded and saved: one file each, one visible tuple."""

from __future__ import annotations

from typing import Any

from llm_workings.core.errors import NotSupported

from .bert import BERT
from .distilbert import DISTILBERT
from .family import Family
from .gpt2 import GPT2
from .gpt_neox import GPT_NEOX
from .llama import LLAMA

FAMILIES: tuple[Family, ...] = (GPT2, GPT_NEOX, LLAMA, BERT, DISTILBERT)


def family_of(config: dict[str, Any]) -> Family:
    """The family that reads this `config.json`; `NotSupported`, listing them all, if there is none."""
    model_type = config.get("model_type")
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    supported = [model_type for family in FAMILIES for model_type in family.model_types]
    raise NotSupported(
        f"Models of type {model_type!r} are not supported.",
        hint=f"Supported: {', '.join(supported)}.",
        given={"model_type": model_type, "supported": supported},
    )


__all__ = ["FAMILIES", "Family", "family_of"]
