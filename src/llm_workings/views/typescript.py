"""Writes the TypeScript types of every payload and request, so that no field is declared twice.

`python -m llm_workings.views.typescript` writes `web/generated/payloads.ts`; with `--check` it
writes nothing and fails if that file is not what it would write.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llm_workings.core.wire import Tensor, tensor_of

from . import VIEWS
from .contract import Request
from .network_parts import Predictions, SweepGrid

TARGET = Path(__file__).parents[3] / "web" / "generated" / "payloads.ts"
HEAD = """\
// Written by `python -m llm_workings.views.typescript`. Do not edit.

/** An array of the wire: its numbers, row by row, and its shape. */
export interface NdArray<Data> {
  data: Data;
  shape: number[];
}
"""
# float16 arrives widened: browsers have no typed array of it that all of them know.
ARRAYS = {
    "float16": "Float32Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
    "uint8": "Uint8Array",
    "int8": "Int8Array",
    "uint16": "Uint16Array",
    "int16": "Int16Array",
    "uint32": "Uint32Array",
    "int32": "Int32Array",
}
LIVE = (SweepGrid, Predictions)  # what no view answers, but a socket does
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def generate() -> str:
    """The whole file."""
    written: dict[str, str] = {}
    for view in VIEWS:
        _interface(view.payload, written)
        _interface(view.request, written)
    for payload in LIVE:
        _interface(payload, written)
    answers = "".join(f"  {view.name}: {view.payload.__name__};\n" for view in VIEWS)
    requests = "".join(f"  {view.name}: {view.request.__name__};\n" for view in VIEWS)
    listing = json.dumps(
        {
            view.name: {
                "title": view.title,
                "about": view.about,
                "defaults": _defaults(view.request),
                "fields": {name: _spelling(field) for name, field in view.request.model_fields.items()},
            }
            for view in VIEWS
        },
        indent=2,
        ensure_ascii=False,
    )
    return "\n".join(
        [
            HEAD,
            *written.values(),
            f"/** What each view answers. */\nexport interface Answers {{\n{answers}}}\n",
            f"/** What each view is asked. */\nexport interface Requests {{\n{requests}}}\n",
            "/** Every view: its title, the text beside its picture, what a request leaves out, and how an\n"
            "    address spells each field. */",
            f"export const VIEWS = {listing} as const;\n",
        ]
    )


def _interface(kind: type[BaseModel], written: dict[str, str]) -> None:
    """Adds the interface of `kind` to `written`, after those of the types it holds."""
    if kind.__name__ in written:
        return
    lines = []
    for name, field in kind.model_fields.items():
        hint = _with_marks(field)
        text = _type(hint, written)
        array = _array_in(hint)
        notes = [field.description or ""]
        if array is not None:
            notes.insert(0, f"`[{', '.join(array.axes.split())}]` {array.dtype}.")
        if note := " ".join(filter(None, notes)):
            lines.append(f"  /** {note} */".replace("\n", " "))
        optional = "?" if issubclass(kind, Request) and not field.is_required() else ""
        lines.append(f"  {name}{optional}: {text};")
    about = "" if issubclass(kind, Request) else _comment(kind.__doc__ or "")
    body = "\n".join(lines)
    written[kind.__name__] = f"{about}export interface {kind.__name__} {{\n{body}\n}}\n"


def _with_marks(field: FieldInfo) -> Any:
    """The field's type with the marks that pydantic has taken off it."""
    marks = tuple(mark for mark in field.metadata if isinstance(mark, Tensor))
    return Annotated[field.annotation, *marks] if marks else field.annotation


def _array_in(hint: Any) -> Tensor | None:
    return tensor_of(hint) if get_origin(hint) is Annotated else None


def _type(hint: Any, written: dict[str, str]) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        array = tensor_of(hint)
        if array is not None:
            return f"NdArray<{ARRAYS[array.dtype]}>"
        return _type(arguments[0], written)
    if origin is Literal:
        return " | ".join(json.dumps(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_type(argument, written) for argument in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"[{', '.join(_type(argument, written) for argument in arguments)}]"
    if origin in (list, tuple):
        inner = _type(arguments[0], written)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<string, {_type(arguments[1], written)}>"
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        _interface(hint, written)
        return hint.__name__
    if hint is np.ndarray:
        raise TypeError("an array field needs its Tensor mark")
    raise TypeError(f"no TypeScript for {hint!r}")


def _defaults(request: type[Request]) -> dict[str, Any]:
    fields = {name: field.default for name, field in request.model_fields.items() if not field.is_required()}
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for name, value in fields.items()
    }


def _spelling(field: FieldInfo) -> str:
    """How an address spells a field: text, number or flag as they are, anything else as JSON."""
    hint: Any = field.annotation
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if get_origin(hint) in (Union, types.UnionType) and len(choices) == 1:
        hint = choices[0]
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint is str or (get_origin(hint) is Literal and all(isinstance(x, str) for x in get_args(hint))):
        return "text"
    return "flag" if hint is bool else "number" if hint in (int, float) else "json"


def _comment(text: str) -> str:
    lines = " ".join(text.split())
    return f"/** {lines} */\n" if lines else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m llm_workings.views.typescript", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is stale")
    check = parser.parse_args(arguments).check
    wanted = generate()
    if check:
        if not TARGET.exists() or TARGET.read_text("utf-8") != wanted:
            print(f"{TARGET} is stale: run python -m llm_workings.views.typescript", file=sys.stderr)
            return 1
        return 0
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
