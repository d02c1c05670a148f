"""The contract of views: signatures become requests, and what cannot be asked is said."""

from __future__ import annotations

from typing import Any

import pytest

from llm_workings.core.errors import BadInput
from llm_workings.core.wire import Payload
from llm_workings.views import REGISTRY, VIEWS
from llm_workings.views.contract import Layer, ModelName, Prompt, view
from llm_workings.views.lab import Lab
from llm_workings.views.parts import HeadRef


def test_a_request_is_made_from_the_signature() -> None:
    request = REGISTRY["head"].parse({"prompt": "hi", "layer": 2, "head": 1})
    assert request.model_dump() == {
        "prompt": "hi",
        "layer": 2,
        "head": 1,
        "model": "smollm2-135m",
        "ablate": [],
        "ablation": "zero",
        "with_scores": False,
    }
    again = REGISTRY["head"].parse({"head": 1, "layer": 2, "prompt": "hi", "ablation": "zero"})
    assert again == request
    assert again.key() == request.key()
    assert REGISTRY["head"].parse(request) == request


def test_defaults_are_not_shared_between_requests() -> None:
    first = REGISTRY["attention"].parse({"prompt": "hi"})
    first.ablate.append(HeadRef(layer=0, head=0))  # type: ignore[attr-defined]
    assert REGISTRY["attention"].parse({"prompt": "hi"}).ablate == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "request_", "message", "hint"),
    [
        ("attention", {}, "The view 'attention' needs 'prompt'", "text the model reads"),
        ("attention", {"prompt": ""}, "prompt = '': it is empty", "text the model reads"),
        ("attention", {"prompt": "x", "ablat": []}, "takes no 'ablat'", "Did you mean 'ablate'"),
        ("attention", {"prompt": "x", "zzz": 1}, "takes no 'zzz'", "It takes prompt, model"),
        ("attention", {"prompt": "x", "ablation": "noise"}, "ablation = 'noise'", "replaced by"),
        ("attention", {"prompt": "x", "ablate": [{"layer": -1, "head": 0}]}, r"ablate\.0\.layer = -1", ""),
        ("attention", {"prompt": "x", "ablate": [{"layer": 1}]}, r"needs 'ablate\.0\.head'", ""),
        ("head", {"prompt": "x", "layer": "two", "head": 0}, "layer = 'two'", "A block of the model"),
        ("head", {"prompt": "x", "layer": -1, "head": 0}, "layer = -1", "from 0"),
        ("head", {"prompt": "x", "layer": 1.5, "head": 0}, "layer = 1.5", "from 0"),
        ("head_row", {"prompt": "x", "layer": 1, "head": 0}, "needs 'query'", "A token of the text"),
        ("logit_lens", {"prompt": "x" * 300_000}, "prompt = 'xxx.*…: string should have at most", ""),
        ("logit_lens", {"prompt": 7}, "prompt = 7", ""),
    ],
)
def test_a_bad_request_is_restated(name: str, request_: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        REGISTRY[name].parse(request_)
    assert hint in caught.value.hint
    assert len(caught.value.message) < 400


def test_every_view_explains_itself_and_its_fields() -> None:
    for one in VIEWS:
        assert one.title
        assert "What this cannot tell you" in one.about
        schema = one.describe()["request"]
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{one.name}.{name} has no help text"
            assert field.get("title")
    assert list(REGISTRY) == [one.name for one in VIEWS]


class Seen(Payload):
    said: str


def test_a_view_is_declared_by_a_function() -> None:
    @view
    def echo(lab: Lab, prompt: Prompt, model: ModelName = "m", layer: Layer = 3) -> Seen:
        """An echo.

        It says what
        it heard.

        What this cannot tell you: anything else.
        """
        return Seen(said=f"{prompt} {model} {layer}")

    assert (echo.name, echo.title) == ("echo", "An echo")
    assert echo.about == "It says what it heard.\n\nWhat this cannot tell you: anything else."
    assert echo.payload is Seen
    assert echo.request.__name__ == "EchoRequest"
    assert echo.run(Lab(), {"prompt": "hi", "layer": "4"}) == Seen(said="hi m 4")


def test_a_view_without_text_beside_its_picture_is_refused() -> None:
    def silent(lab: Lab, prompt: Prompt) -> Seen:
        """Only a title."""
        return Seen(said="")

    with pytest.raises(TypeError, match="no text to show"):
        view(silent)
