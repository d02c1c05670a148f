"""`llm-workings probe` and `steer`: what is read off a model's vectors, and what is added to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_workings.cli_model import DeviceOption, ModelOption, PrecisionOption, read_lines, work_on
from llm_workings.core.errors import BadInput

if TYPE_CHECKING:
    from llm_workings.core.progress import Progress
    from llm_workings.core.wire import Payload
    from llm_workings.probing import Task
    from llm_workings.trace.model import LanguageModel

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the picture as an HTML file.")
]
SHORT = {  # the columns of CoNLL-U, as probing names them
    "upos": "part_of_speech",
    "deprel": "dependency_relation",
    "depth": "dependency_depth",
}


# ---- probing ---------------------------------------------------------------------------------------


def probe(
    task: Annotated[
        str,
        typer.Option(
            help="upos, number, tense, deprel, depth or feature:NAME of a treebank; without one, of made "
            "sentences: number, tense, sentiment, negation or position. Labelled texts need none."
        ),
    ] = "",
    conllu: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A CoNLL-U treebank. Repeatable.")
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="CoNLL-U to test on; by default 3 sentences in 10. Repeatable."),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own texts: lines of label, tab, text, or such a CSV."),
    ] = None,
    sites: Annotated[
        str,
        typer.Option(metavar="SITES", help="Where to probe, such as resid_post.3-6; by default all stops."),
    ] = "stream",
    limit: Annotated[
        int, typer.Option(min=2, metavar="N", help="Labelled words to draw at the most.")
    ] = 12_000,
    seed: Annotated[int, typer.Option(help="Of the sample, the split and the controls.")] = 0,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Read a property of words or texts off every layer by linear probes, beside controls."""
    made, tested = _task(task, conllu or [], test or [], labelled, seed)
    request: dict[str, Any] = {
        "prompt": str(made),
        "task": made.name,
        "sites": sites,
        "limit": limit,
        "seed": seed,
    }
    request |= {"conllu": [*map(str, conllu or [])], "test": [*map(str, test or [])]}
    request |= {"labelled": labelled and str(labelled)}
    with work_on("probe", model, device, dtype, request, seed) as (loaded, progress):
        from llm_workings.probing import probe as probe_model

        report = probe_model(
            loaded,
            made,
            [name.strip() for name in sites.split(",")] if "," in sites else sites,
            test=0.3 if tested is None else tested,
            limit=limit,
            seed=seed,
            progress=progress,
        )
        written = None
        if output is not None:
            from llm_workings.views.probe_ladder import ladder_of

            page = _Page(loaded, progress)
            stops = [str(layer.site) for layer in report.layers]
            payload = ladder_of(report, page.lab.card(loaded), stops, made.of_words)
            written = page.write(output, "probe_ladder", {"task": made.name, "seed": seed}, payload)
    print(report)
    for why, count in report.left_out.items():
        if count:
            print(f"left out: {count:,} {why}")
    _say(written)


def _task(
    name: str, conllu: list[Path], test: list[Path], labelled: Path | None, seed: int
) -> tuple[Task, Task | None]:
    """What to probe, and what to test on if that was given."""
    if bool(conllu) and labelled is not None:
        raise BadInput("Give a treebank or labelled texts, not both.")
    if test and not conllu:
        raise BadInput("--test names treebanks, and there is none to learn from.", hint="Add --conllu FILE.")
    if labelled is not None:
        from llm_workings.probing import read_labelled

        return read_labelled(labelled, name=name), None
    if not name:
        raise BadInput("There is nothing to probe for.", hint="Say what: --task upos --conllu FILE, say.")
    from llm_workings.data.conllu import read_conllu
    from llm_workings.probing import template, treebank

    wanted = SHORT.get(name, name)
    if not conllu:
        if wanted in SHORT.values() or wanted.startswith("feature:"):
            raise BadInput(f"{name!r} is read off a treebank.", hint="Give one: --conllu FILE.")
        return template(wanted, seed=seed), None
    learned = treebank([one for file in conllu for one in read_conllu(file)], wanted)
    if not test:
        return learned, None
    tested = treebank([one for file in test for one in read_conllu(file)], wanted)
    return learned, tested.without(learned)


# ---- steering --------------------------------------------------------------------------------------


def steer(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to write on from.")],
    contrast: Annotated[
        str,
        typer.Option("--set", metavar="NAME", help="The built-in contrast: sea (from money) or sentiment."),
    ] = "sea",
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead of a set: lines of text, tab, the same with its opposite."
        ),
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Where, from 0; by default the middle.")] = None,
    strength: Annotated[
        float, typer.Option(help="In typical norms of the stream; negative steers the other way.")
    ] = 0.4,
    n: Annotated[int, typer.Option("-n", "--tokens", min=1, metavar="N", help="Tokens to write.")] = 20,
    controls: Annotated[int, typer.Option(min=1, help="Random directions beside it.")] = 1,
    temperature: Annotated[float, typer.Option(help="0, the default, takes the best token; 1 draws.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the random directions and the draws.")] = 0,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Push a model's stream along a contrast of texts, and at random, and see what it writes."""
    from llm_workings.data.contrasts import contrast_set

    texts = contrast_set(contrast).pairs if pairs is None else _pairs(pairs)
    name = contrast if pairs is None else pairs.stem
    request: dict[str, Any] = {
        "prompt": prompt,
        "set": name,
        "layer": layer,
        "strength": strength,
        "tokens": n,
    }
    request |= {"controls": controls, "temperature": temperature, "seed": seed}
    with work_on("steer", model, device, dtype, request, seed) as (loaded, progress):
        from llm_workings.causal.steered import side_by_side
        from llm_workings.causal.steering import contrastive_pairs

        at = (loaded.spec.n_layers - 1) // 2 if layer is None else layer
        vector = contrastive_pairs(loaded, texts, layers=[at], name=name, progress=progress).at(at)
        found = side_by_side(
            loaded,
            vector,
            prompt,
            strength,
            n,
            controls=controls,
            temperature=temperature,
            seed=seed,
            progress=progress,
        )
        written = None
        if output is not None:
            own = {side: "\n".join(pair[i] for pair in texts) for i, side in enumerate(("firsts", "seconds"))}
            asked = {"prompt": prompt, "layer": at, "strength": strength, "n": n, "seed": seed}
            asked |= {"temperature": temperature, "contrast": contrast} | ({} if pairs is None else own)
            asked |= {} if pairs is None else {"contrast": "own"}
            written = _Page(loaded, progress).write(output, "steering", asked)
    print(f"{vector!r}\n\n{found}")
    _say(written)


class _Page:
    """Where the file of a picture comes from: the model that was loaded for the table."""

    def __init__(self, model: LanguageModel, progress: Progress):
        from llm_workings.views.lab import Lab

        self.lab, self.model = Lab(progress=progress), model
        self.lab.add(model.name, model)

    def write(self, file: Path, view: str, request: dict[str, Any], payload: Payload | None = None) -> Path:
        """The file of a view's answer, which is `payload` where it is there already."""
        from llm_workings.export.html import write
        from llm_workings.export.record import export_view

        asked = {**request, "model": self.model.name}
        state: dict[str, str] = {side: request[side] for side in ("firsts", "seconds") if side in request}
        return write(file, export_view(self.lab, view, asked, state, payload=payload))


def _say(written: Path | None) -> None:
    if written is not None:
        print(f"\nwritten: {written} ({written.stat().st_size / 1e6:.1f} MB)")


def _pairs(file: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(read_lines(file), 1):
        first, tab, second = line.partition("\t")
        if not tab or not first.strip() or not second.strip():
            raise BadInput(
                f"{file.name}, text {number}: {line[:60]!r} is no pair.", hint="Write a text, a tab, a text."
            )
        found.append((first.strip(), second.strip()))
    return found
