"""What a view is: a function from a question to a payload, declared once.

A view's signature is its request (`View.request`, a pydantic model made from it), its return
annotation is its payload, its docstring the text beside the picture. Hosts see views only through
`View`: they list them, validate what a user asks, run them, and pack what comes out.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from llm_workings.core.errors import BadInput, nearest
from llm_workings.core.wire import Payload

if TYPE_CHECKING:
    from .lab import Lab

LONGEST_PROMPT = 200_000  # characters; a model's own context is far shorter and is checked in tokens


def _not_blank(text: str) -> str:
    if not text:
        raise ValueError("it is empty; type a sentence, for example 'The cat sat on the'")
    return text


Prompt = Annotated[
    str,
    Field(title="Text", max_length=LONGEST_PROMPT, description="The text the model reads."),
    AfterValidator(_not_blank),
]
ModelName = Annotated[
    str,
    Field(
        title="Model",
        min_length=1,
        description="A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file.",
    ),
]
Layer = Annotated[int, Field(title="Layer", ge=0, description="A block of the model, from 0.")]
HeadIndex = Annotated[int, Field(title="Head", ge=0, description="A head of that layer, from 0.")]
Position = Annotated[int, Field(title="Position", ge=0, description="A token of the text, from 0.")]


class Request(BaseModel):
    """Base of the requests made from signatures: frozen, and with no field it did not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def key(self) -> str:
        """One spelling of this request: equal requests have equal keys."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class View:
    """One picture. Made by `@view`.

    Attributes:
        name: what it is called on the wire: `attention`.
        title: what a page calls it.
        about: its docstring: what the picture shows, the formula, what it cannot tell.
        request: the pydantic model of what can be asked.
        payload: the type of what is answered.
    """

    name: str
    title: str
    about: str
    request: type[Request]
    payload: type[Payload]
    function: Callable[..., Payload]

    def parse(self, request: Mapping[str, Any] | BaseModel) -> Request:
        """The request with its defaults filled in.

        Raises:
            BadInput: a field is missing, unknown or of a value that cannot be; it is named, with
                what was given.
        """
        if isinstance(request, BaseModel):
            request = request.model_dump()
        try:
            return self.request.model_validate(dict(request))
        except ValidationError as error:
            raise self._bad_input(error.errors()[0]) from None

    def run(self, lab: Lab, request: Mapping[str, Any] | BaseModel) -> Payload:
        """What the view shows of `request`, computed with the models of `lab`."""
        asked = self.parse(request)
        return self.function(lab, **{name: getattr(asked, name) for name in self.request.model_fields})

    def describe(self) -> dict[str, Any]:
        """The view as plain JSON values, for a host that lists them."""
        return {
            "name": self.name,
            "title": self.title,
            "about": self.about,
            "request": self.request.model_json_schema(),
        }

    def _bad_input(self, error: ErrorDetails) -> BadInput:
        fields = self.request.model_fields
        where = [str(part) for part in error["loc"]]
        path, given = ".".join(where), error.get("input")
        field = fields.get(where[0]) if where else None
        if error["type"] == "extra_forbidden":
            known = list(fields) if len(where) == 1 else []
            close = nearest(where[-1], known)
            hint = (
                f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(known)}." if known else ""
            )
            return BadInput(f"The view {self.name!r} takes no {path!r}.", hint=hint, given={path: given})
        help_text = (field.description or "") if field else ""
        if error["type"] == "missing":
            return BadInput(
                f"The view {self.name!r} needs {path!r}.", hint=help_text, given={"missing": path}
            )
        said = error["msg"].removeprefix("Value error, ")
        shown = repr(given) if len(repr(given)) <= 120 else repr(given)[:120] + "…"
        return BadInput(
            f"The view {self.name!r} cannot use {path} = {shown}: {said[:1].lower()}{said[1:]}.",
            hint=help_text,
            given={path: given if isinstance(given, int | float | bool | None) else shown},
        )


def view(function: Callable[..., Payload]) -> View:
    """Make a `View` of a function `(lab, field: type = default, ...) -> SomePayload`.

    The docstring's first line is the view's title, the rest the text beside the picture.
    """
    hints = get_type_hints(function, include_extras=True)
    payload = hints.pop("return")
    title, *paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    if not paragraphs:
        raise TypeError(f"the view {function.__name__} has no text to show beside its picture")
    about = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        missing = parameter.default is inspect.Parameter.empty
        fields[parameter.name] = (hints[parameter.name], ... if missing else parameter.default)
    name = "".join(part.capitalize() for part in function.__name__.split("_")) + "Request"
    request = create_model(name, __base__=Request, __module__=function.__module__, **fields)
    return View(function.__name__, title.rstrip("."), about, request, payload, function)
