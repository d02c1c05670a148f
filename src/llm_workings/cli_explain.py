"""`llm-workings explain`: which tokens an answer came from, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_workings.cli_causal import AnswerOption, PositionOption, WrongOption
from llm_workings.cli_model import DeviceOption, ModelOption, PrecisionOption, work_on
from llm_workings.cli_page import OutputOption
from llm_workings.core.errors import unknown

if TYPE_CHECKING:
    from llm_workings.views.token_attribution import Attributed, TokenAttribution

METHODS = (
    "leave_one_out",
    "attn_lrp",
    "cp_lrp",
    "gradient_x_input",
    "integrated_gradients",
    "attention_rollout",
    "value_zeroing",
)
NARROW = 10  # characters of a column


def explain(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to run.")],
    answer: AnswerOption,
    wrong: WrongOption = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="NAME", help=f"May come again; by default all: {', '.join(METHODS)}."
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="What is explained: logit or probability.")] = "logit",
    position: PositionOption = None,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Hand an answer out to the text's tokens by several methods, beside what leaving each token out does."""
    for name in method or ():
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    if kind not in ("logit", "probability"):
        raise unknown("measure", kind, ("logit", "probability"))
    request: dict[str, Any] = {
        "prompt": text,
        "answer": answer,
        "wrong": wrong,
        "position": position,
        "kind": kind,
        "methods": method or list(METHODS),
    }
    with work_on("explain", model, device, dtype, request) as (loaded, progress):
        from llm_workings.views import REGISTRY
        from llm_workings.views.bundle import script
        from llm_workings.views.lab import Lab

        if output is not None:
            script("standalone.js")  # says so before the work if the front end is not built
        lab = Lab(progress=progress)
        lab.add(loaded.name, loaded)
        asked = REGISTRY["token_attribution"].parse({**request, "model": loaded.name})
        found: Any = REGISTRY["token_attribution"].run(lab, asked)
        if output is not None:
            from llm_workings.export.html import write
            from llm_workings.export.record import export_view

            output = write(output, export_view(lab, "token_attribution", asked, payload=found))
    print(_table(found))
    if output is not None:
        print(f"\nwritten: {output} ({output.stat().st_size / 1e6:.1f} MB)")


def _table(found: TokenAttribution) -> str:
    """A line a token, a column a method, and below how the methods stand to leaving out."""
    what = repr(found.answer.text)
    if found.wrong is not None:
        what += f" less {found.wrong.text!r}"
    place = f"{found.tokens[found.position].text!r} (position {found.position})"
    pieces = [repr(token.text) for token in found.tokens]
    wide = max(map(len, pieces))
    heads = [_split(row.title) for row in found.rows]
    lines = [f"{found.model.name}: {found.kind} of {what} at {place} is {found.score:+.4f}", ""]
    for part in (0, 1):
        lines.append(f"{'':4} {'':{wide}}" + "".join(f"{head[part]:>{NARROW + 2}}" for head in heads))
    for at, piece in enumerate(pieces):
        cells = "".join(f"{row.values[at]:+{NARROW + 2}.4f}" for row in found.rows)
        lines.append(f"{at:4} {piece:<{wide}}{cells}")
    titles = max(len(row.title) for row in found.rows)
    lines += ["", f"{'method':<{titles}}  names first"]
    return "\n".join([*lines, *(f"{row.title:<{titles}}  {_standing(found, row)}" for row in found.rows)])


def _split(title: str) -> tuple[str, str]:
    first, _, second = title.rpartition(" ")
    return (first, second) if first else ("", second)


def _standing(found: TokenAttribution, row: Attributed) -> str:
    said = [f"{row.top} {found.tokens[row.top].text!r}" if row.top is not None else "none: all are 0"]
    if row.same_top is not None:
        same = " (same, opposite sign)" if row.same_sign is False else " (same)"
        said[0] += same if row.same_top else " (another)"
    rank = row.spearman if row.of_answer else row.spearman_sizes
    if rank is not None:
        said.append(f"rank correlation {rank:+.2f}{'' if row.of_answer else ' of sizes'}")
    if row.expected is not None:
        said.append(f"sum {row.sum:+.4f} of {row.expected:+.4f}")
    return "; ".join([*said, *row.notes])
