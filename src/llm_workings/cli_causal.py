"""`llm-workings patch`, `ablate` and `attribute`: what decides an answer, in the terminal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from llm_workings.cli_model import DeviceOption, ModelOption, PrecisionOption, read_lines, work_on
from llm_workings.cli_page import OutputOption, write_page
from llm_workings.core.errors import BadInput, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from llm_workings.causal.base import Base
    from llm_workings.causal.direct_attribution import DirectAttribution, Terms
    from llm_workings.causal.metrics import Metric
    from llm_workings.causal.patching import Patching
    from llm_workings.core.progress import Progress
    from llm_workings.trace.model import LanguageModel

METRICS = ("logit_difference", "logit", "probability", "log_probability")
PARTS = ("head", "mlp", "attention", "layer")
LEVELS = ("part", "head", "source", "neuron")
WIDEST, CELL = 160, 7  # characters of a grid, and of one of its cells
UNMOVED = 0.005  # normalized, below which a cell is a dot
BAR = 30

AnswerOption = Annotated[
    str, typer.Option("--answer", "-a", metavar="TOKEN", help="The right answer, with its space: ' Mary'.")
]
WrongOption = Annotated[
    str | None,
    typer.Option("--wrong", "-w", metavar="TOKEN", help="The wrong one, to measure the difference from."),
]
PositionOption = Annotated[
    int | None,
    typer.Option(help="Token after which the answer is read, from 0; by default the last, or the mask."),
]
TopOption = Annotated[int, typer.Option(min=1, metavar="N", help="How many of the strongest to list.")]


# ---- patching --------------------------------------------------------------------------------------


def patch(
    clean: Annotated[str, typer.Argument(metavar="CLEAN", help="The text with the right answer.")],
    corrupted: Annotated[
        str, typer.Argument(metavar="CORRUPTED", help="One of as many tokens, with another answer.")
    ],
    answer: AnswerOption,
    wrong: WrongOption = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="SITE", help="What to patch: resid_pre, attn_out, mlp_out, z, q, k, v, mlp_post …"
        ),
    ] = "resid_pre",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="AXES",
            help="What to tell apart: layer with position, head or neuron (layer,head). By default as usual.",
        ),
    ] = None,
    direction: Annotated[
        str, typer.Option(help="denoising patches clean into corrupted, noising the other way.")
    ] = "denoising",
    metric: Annotated[
        str | None,
        typer.Option(
            help="logit_difference (by default, with --wrong), logit, probability or log_probability."
        ),
    ] = None,
    position: PositionOption = None,
    top: TopOption = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the picture, with the strongest cells' answers, as HTML.",
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Patch one text's activations into another, place by place, and see what moves the answer."""
    measured = _metric_name(metric, wrong)
    request: dict[str, Any] = {
        "prompt": clean,
        "corrupted": corrupted,
        "answer": answer,
        "wrong": wrong,
        "kind": kind,
    }
    request |= {"by": by, "direction": direction, "metric": measured, "position": position}
    with work_on("patch", model, device, dtype, request) as (loaded, progress):
        from llm_workings.causal.patching import Pair
        from llm_workings.causal.patching import patch as patch_pair

        page = None if output is None else _Page(loaded, request, progress)
        pair = Pair(loaded, clean, corrupted, progress)
        chosen = _metric(pair.clean, measured, answer, wrong, position)
        axes: Any = None if by is None else [axis.strip() for axis in by.split(",")]
        found = patch_pair(pair, kind, chosen, by=axes, direction=cast(Any, direction), progress=progress)
        grid = _grid(found)
        written = None if page is None else page.write(cast(Path, output), found)
    places = ", ".join(map(str, pair.differs))
    print(f"{loaded.name}, {pair.clean.n} tokens each, which differ at {places} (in brackets):")
    for name, base in (("clean", pair.clean), ("corrupted", pair.corrupted)):
        print(f"  {name:<10}{_marked(base.run.pieces(), pair.differs)}")
    print(f"\n{chosen.name} of {_asked(answer, wrong)}:")
    for name, value, base in (
        ("clean", found.clean, pair.clean),
        ("corrupted", found.corrupted, pair.corrupted),
    ):
        print(f"  {value:9.4f}  {name:<10}{_standing(base, answer, wrong, chosen)}")
    print(f"\n{grid}\n\nstrongest (normalized, and the metric itself):")
    for place, value in found.strongest(top):
        normal = (value - found.corrupted) / (found.clean - found.corrupted)
        print(f"  {normal:7.3f}  {value:9.4f}  {_where(found, place)}")
    if written is not None:
        print(f"\nwritten: {written} ({written.stat().st_size / 1e6:.1f} MB)")


class _Page:
    """The file of a sweep that is about to be made; what the page cannot show is said before it is."""

    def __init__(self, model: LanguageModel, request: dict[str, Any], progress: Progress):
        from llm_workings.views import REGISTRY
        from llm_workings.views.bundle import script
        from llm_workings.views.lab import Lab

        self.lab = Lab(progress=progress)
        self.lab.add(model.name, model)
        given = {("at" if name == "position" else name): value for name, value in request.items()}
        self.asked = REGISTRY["patching"].parse({**given, "model": model.name})
        script("standalone.js")  # says so if the front end is not built

    def write(self, file: Path, found: Patching) -> Path:
        from llm_workings.export.html import write
        from llm_workings.export.record import export_view
        from llm_workings.views.patching import picture_of

        picture = picture_of(self.lab, self.asked.model_dump(), found)
        return write(file, export_view(self.lab, "patching", self.asked, payload=picture))


def _marked(pieces: list[str], differs: list[int]) -> str:
    """A text's tokens, those in brackets that the other text does not have there."""
    return " ".join(f"[{piece!r}]" if at in differs else repr(piece) for at, piece in enumerate(pieces))


def _grid(found: Patching) -> str:
    """The normalized values, layers down and positions, heads or neurons across, as wide as the terminal."""
    values, still = found.normalized, 0.0 if found.direction == "denoising" else 1.0
    across = next((axis for axis in reversed(found.axes) if axis == "position"), (*found.axes, "all")[1])
    said = f"{found.direction} {found.kind}, by {', '.join(found.axes)}: 0 as corrupted, 1 as clean"
    table = _two_axes(values, found.axes.index(across) if across in found.axes else None, still)
    if values.ndim > 2:
        others = [axis for axis in found.axes[1:] if axis != across]
        said += f"; in each cell the {' and '.join(others)} that moves most"
    columns = list(range(table.shape[1]))
    room = max(1, (min(shutil.get_terminal_size((100, 24)).columns, WIDEST) - CELL) // CELL)
    if len(columns) > room:
        said += f"; the {room} of {len(columns)} {across}s that move most"
        moved = (table - still).abs().max(0).values
        columns = sorted(moved.argsort(descending=True, stable=True)[:room].tolist())
    lines = [f"{said}; a dot moves by less than {UNMOVED}", f"{across:>{CELL}}"]
    lines[1] += "".join(f"{'' if across == 'all' else column:>{CELL}}" for column in columns)
    if across == "position":
        names = (repr(found.pieces[column])[1:-1].strip()[: CELL - 1] for column in columns)
        lines.append(f"{'':{CELL}}" + "".join(f"{name:>{CELL}}" for name in names))
    for row, layer in enumerate(found.layers):
        cells = (_cell(float(table[row, column]), still) for column in columns)
        lines.append(f"{layer:>{CELL}}" + "".join(f"{cell:>{CELL}}" for cell in cells))
    return "\n".join(lines)


def _two_axes(values: Tensor, across: int | None, still: float) -> Tensor:
    """Values as `[layer, across]`; along further axes the one furthest from where nothing moves."""
    if across is None:
        return values[:, None]
    rest = values.movedim(across, 1).flatten(2) if values.ndim > 2 else values[..., None]
    return rest.gather(2, (rest - still).abs().argmax(2, keepdim=True))[..., 0]


def _cell(value: float, still: float) -> str:
    if abs(value - still) < UNMOVED:
        return "."
    fitting = (said for form in ("{:.2f}", "{:.0f}") if len(said := form.format(value)) < CELL)
    return next(fitting, f"{value:.0e}")


def _where(found: Patching, place: tuple[int, ...]) -> str:
    said = [f"{axis} {at}" for axis, at in zip(found.axes, place, strict=True)]
    if "position" in found.axes:
        said[-1] += f" {found.pieces[place[-1]]!r}"
    return ", ".join(said)


# ---- ablation --------------------------------------------------------------------------------------


def ablate(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to run.")],
    answer: Annotated[
        str | None,
        typer.Option(
            "--answer", "-a", metavar="TOKEN", help="The right answer; without one, the text's loss counts."
        ),
    ] = None,
    wrong: WrongOption = None,
    heads: Annotated[
        str, typer.Option(metavar="HEADS", help="all, or some, such as 3.1,5.2: each alone and all together.")
    ] = "all",
    parts: Annotated[str, typer.Option(help="What to take out: head, mlp, attention or layer.")] = "head",
    how: Annotated[str, typer.Option(help="What stands in the place: zero or mean.")] = "zero",
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts for --how mean, one a line; by default the text itself."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="logit_difference (by default, with --wrong), logit, probability or log_probability."
        ),
    ] = None,
    position: PositionOption = None,
    top: TopOption = 10,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Take heads, MLPs or layers out of a model, one at a time, and see which are missed most."""
    if answer is None and (wrong or metric or position is not None):
        raise BadInput("Without --answer the loss on the text counts, of which there is nothing to choose.")
    measured = "loss" if answer is None else _metric_name(metric, wrong)
    for what, name, known in (("kind of part", parts, PARTS), ("way to ablate", how, ("zero", "mean"))):
        if name not in known:
            raise unknown(what, name, known)
    if heads != "all" and parts != "head":
        raise BadInput(f"--heads {heads} names heads, and --parts {parts} takes out none.")
    if texts is not None and how != "mean":
        raise BadInput("--texts has no effect on zero ablation.", hint="Add --how mean.")
    rows = [text] if texts is None else read_lines(texts)
    request: dict[str, Any] = {
        "prompt": text,
        "answer": answer,
        "wrong": wrong,
        "heads": heads,
        "parts": parts,
        "how": how,
    }
    request |= {"texts": texts and str(texts), "metric": measured, "position": position}
    with work_on("ablate", model, device, dtype, request) as (loaded, progress):
        from llm_workings.causal import metrics
        from llm_workings.causal.ablation import ZERO, MeanOf, every
        from llm_workings.causal.ablation import ablate as ablate_each
        from llm_workings.causal.base import Base
        from llm_workings.causal.replacements import aligned

        base = Base(loaded, text, progress)
        chosen = metrics.loss(base) if answer is None else _metric(base, measured, answer, wrong, position)
        entries: list[Any] = list(every(loaded.spec, cast(Any, parts)))
        if heads != "all":
            entries = [f"head.{name.strip().removeprefix('head.')}" for name in heads.split(",")]
            entries += [entries[:]] if len(entries) > 1 else []
        replacement = (
            ZERO if how == "zero" else MeanOf(loaded, rows, by_position=aligned(loaded, rows, base.n))
        )
        found = ablate_each(base, entries, chosen, replacement, progress=progress)
        written = ""
        if output is not None:
            asked: dict[str, Any] = {
                "prompt": text,
                "answer": answer,
                "wrong": wrong,
                "position": position,
                "parts": parts,
            }
            asked |= {"instead": how, "metric": measured, "source": "own", "texts": rows}
            chips = {"out": ",".join(map(str, entries[:-1] or entries))} if heads != "all" else {}
            written = write_page(output, loaded, progress, "ablation", asked, chips)
    print(f"{loaded.name}, {base.n} tokens: {_marked(base.run.pieces(), [])}")
    if answer is None:
        print(f"\nloss on the text: {found.base:.4f} nats a token")
    else:
        print(f"\n{chosen.name} of {_asked(answer, wrong)}: {found.base:.4f}")
        print(f"  {_standing(base, answer, wrong, chosen)}")
    of = "" if how == "zero" else f" over {'its own tokens' if texts is None else f'{len(rows)} texts'}"
    print(f"\n{found.replacement} ablation{of}, {len(found.entries)} in turn; the largest changes:")
    print("   change     left  without")
    left = dict(zip(found.entries, found.values.tolist(), strict=True))
    for entry, change in found.strongest(top):
        print(f"  {change:+7.4f}  {left[entry]:7.4f}  {' + '.join(map(str, entry))}")
    if written:
        print(written)


# ---- attribution -----------------------------------------------------------------------------------


def attribute(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to run.")],
    answer: AnswerOption,
    wrong: WrongOption = None,
    by: Annotated[
        str,
        typer.Option(help="How far to take it apart: part (attention and MLPs), head, source or neuron."),
    ] = "head",
    position: PositionOption = None,
    top: TopOption = 12,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Take a logit, or the difference of two, apart into what each part of the model adds to it directly."""
    if by not in LEVELS:
        raise unknown("level", by, LEVELS)
    request: dict[str, Any] = {
        "prompt": text,
        "answer": answer,
        "wrong": wrong,
        "by": by,
        "position": position,
    }
    with work_on("attribute", model, device, dtype, request) as (loaded, progress):
        from llm_workings.causal.direct_attribution import attribute as attribute_to

        given = {} if position is None else {"position": position}
        wrongs: Any = () if wrong is None else wrong
        found = attribute_to(loaded, text, right=answer, wrong=wrongs, progress=progress, **given)
        terms = found.terms(cast(Any, by))
        written = ""
        if output is not None:
            asked = {**request, "position": found.position}
            written = write_page(output, loaded, progress, "direct_attribution", asked)
    print(f"{loaded.name}: {found.name} after {found.pieces[found.position]!r} (position {found.position})")
    print(f"{found.norm}\n")
    print(_waterfall(found, terms, top))
    print(f"\n{terms.total:+.6f}  sum of {len(terms):,} terms")
    print(f"{terms.logit:+.6f}  the model's own; error {terms.error:.1e}")
    if written:
        print(written)


def _waterfall(found: DirectAttribution, terms: Terms, top: int) -> str:
    """The largest terms with their running sum, and the others at once."""
    rows = [(_term(name, found.pieces), value) for name, value in terms.strongest(top)]
    if (others := len(terms) - len(rows)) > 0:
        rows.append((f"{others:,} others", terms.total - sum(value for _, value in rows)))
    sums = [0.0]
    for _, value in rows:
        sums.append(sums[-1] + value)
    low, high = min(sums), max(sums)
    step = (high - low) / BAR or 1.0
    width = max(len(name) for name, _ in rows)
    lines = [f"    share       sum  {'term':<{width}}"]
    for (name, value), before, after in zip(rows, sums, sums[1:], strict=False):
        begin, end = (round((one - low) / step) for one in sorted((before, after)))
        bar = " " * begin + ("+" if value > 0 else "-") * max(1, end - begin)
        lines.append(f"{value:+9.4f} {after:+9.4f}  {name:<{width}}  {bar}")
    return "\n".join(lines)


def _term(name: str, pieces: list[str]) -> str:
    kind, *numbers = name.split(".")
    return f"{name} {pieces[int(numbers[2])]!r}" if kind == "source" else name


# ---- shared ----------------------------------------------------------------------------------------


def _metric_name(name: str | None, wrong: str | None) -> str:
    name = name or ("logit" if wrong is None else "logit_difference")
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    if name == "logit_difference" and wrong is None:
        raise BadInput(
            "A logit difference is that of two answers.", hint="Give the other one: --wrong ' John'."
        )
    if name != "logit_difference" and wrong is not None:
        raise BadInput(f"--wrong has no effect on the metric {name}.", hint="Leave one of the two out.")
    return name


def _metric(base: Base, name: str, answer: str, wrong: str | None, position: int | None) -> Metric:
    """The metric at the answer's place: by default the last token, or the one mask."""
    from llm_workings.causal import metrics

    if position is None:
        position = -1
        if not base.spec.causal:
            base.run.guess(answer)  # says so where there is not one mask
            position = base.tokens.index(cast(int, base.model.tokenizer.mask_id))
    words = (answer,) if wrong is None else (answer, wrong)
    made: Metric = getattr(metrics, name)(base.model, *words, position=position)
    made.positions(base.n)
    return made


def _asked(answer: str, wrong: str | None) -> str:
    return repr(answer) if wrong is None else f"{answer!r} less {wrong!r}"


def _standing(base: Base, answer: str, wrong: str | None, metric: Metric) -> str:
    """How likely the answers are in a run: that a word was given without its space shows here."""
    guesses = [base.run.guess(word, metric.position) for word in (answer, wrong) if word is not None]
    return ", ".join(f"{g.piece!r} has probability {g.probability:.4f} (rank {g.rank})" for g in guesses)
