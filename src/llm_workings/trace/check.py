"""How far a loaded model's numbers are from where they should be: `llm-workings check NAME`.

Where `transformers` is installed the same weights are run there too, over a page of text, and the
distances are laid out: output, stream after each layer, best guess at each position, token ids. The
models that are pinned by a hash have recorded numbers (`fingerprints.json`) besides, so that they are
checked where `transformers` is not installed. `python -m llm_workings.trace.check NAME ...` records
them anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm_workings.core.devices import choose_device
from llm_workings.core.errors import BadInput, NotSupported
from llm_workings.core.progress import SILENT, Progress
from llm_workings.models.load import Loaded, load_model
from llm_workings.models.save import save
from llm_workings.models.sites import Site, site, stream_of
from llm_workings.models.spec import NoHead

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
PAGE_FILE = Path(__file__).with_name("page.txt")
PLACES = 8  # positions whose output is recorded in a fingerprint


@dataclass(frozen=True)
class Tolerance:
    """What a distance may be in one precision.

    Args:
        output: of a logit (or, without a head, of a coordinate of the last stream), absolute.
        stream: of the stream at any position, as a part of its length there.
        agreement: the part of the positions at which both have the same best guess.
    """

    output: float
    stream: float
    agreement: float


# transformers computes some norms and softmaxes in float32 even in a float64 model.
TOLERANCES = {
    torch.float64: Tolerance(1e-4, 1e-5, 1.0),
    torch.float32: Tolerance(2e-3, 1e-4, 1.0),
    torch.float16: Tolerance(0.2, 0.02, 0.95),
    torch.bfloat16: Tolerance(1.0, 0.1, 0.9),
}


@dataclass(frozen=True)
class Line:
    """One thing that was compared. `found` is a distance, unless `at_least` makes it a share."""

    what: str
    found: float
    allowed: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        return self.found >= self.allowed if self.at_least else self.found <= self.allowed


@dataclass(frozen=True)
class CheckReport:
    """What `check` found.

    Args:
        name: the model, as it was asked for.
        against: what it was compared with, in words.
        positions: how many tokens the page had.
        lines: what was compared.
        notes: what could not be compared, and why.
    """

    name: str
    against: tuple[str, ...]
    positions: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(line.passed for line in self.lines)

    def __str__(self) -> str:
        width = max(len(line.what) for line in self.lines)
        rows = [
            f"  {line.what:<{width}}  {line.found:>9.3g}"
            f"  {'≥' if line.at_least else '≤'} {line.allowed:<7.3g}"
            f"  {'ok' if line.passed else 'TOO FAR'}"
            for line in self.lines
        ]
        verdict = "agrees" if self.passed else "DOES NOT AGREE"
        heads = [f"{self.name}, {self.positions} tokens, against {' and '.join(self.against)}"]
        return "\n".join([*heads, *rows, *(f"  {note}" for note in self.notes), f"{self.name} {verdict}."])


def check(
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Measure the model called `name` against the reference implementation and its recorded numbers.

    Raises:
        NotSupported: there is nothing to compare it with here.
        LabError: it cannot be loaded, as `load_model` says.
    """
    loaded = load_model(name, device=device or "auto", dtype=dtype or "float32", progress=progress)
    why_not = "" if loaded.family is None else why_no_transformers()  # which knows nothing of toys
    comparable = why_not is None
    recorded = read_fingerprints().get(name)
    if not comparable and recorded is None:
        raise NotSupported(
            f"There is nothing here to compare {name} with." + (f" {why_not}" if why_not else ""),
            hint="Install the reference implementation: pip install transformers",
            given={"model": name},
        )
    report = check_loaded(loaded, recorded, reference=comparable, progress=progress)
    return replace(report, notes=(*report.notes, why_not)) if why_not else report


def check_loaded(
    loaded: Loaded, recorded: dict[str, Any] | None, *, reference: bool, progress: Progress = SILENT
) -> CheckReport:
    """The same, of a model that is loaded: against `recorded` numbers, `transformers`, or both."""
    ours = measure(loaded, progress)
    lines: list[Line] = []
    against: list[str] = []
    notes: list[str] = []
    if reference:
        against.append(f"transformers {metadata.version('transformers')}")
        found, said = _against_transformers(loaded, ours, progress)
        lines += found
        notes += said
    if recorded is not None:
        against.append("the numbers recorded for it")
        lines += _against_recorded(ours, recorded)
    return CheckReport(loaded.name, tuple(against), len(ours.ids), tuple(lines), tuple(notes))


# --- what is measured ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Measured:
    """One run over the page: token ids; the stream before each layer, and the final one after its norm
    if it has one, `[stop, position, d_model]`; the output `[position, vocabulary or d_model]`."""

    ids: list[int]
    stream: Tensor
    output: Tensor
    headed: bool

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.stream.dtype]


def measure(loaded: Loaded, progress: Progress = SILENT) -> Measured:
    """Run `loaded` over the page."""
    ids, final = (tokens_of_page(loaded) or scattered_tokens(loaded))[: loaded.spec.n_ctx], last_stop(loaded)
    stops: list[Site] = [*stream_of(loaded.spec)[:-1], final]
    tap = _Stops(stops, loaded.name, progress)
    with torch.no_grad():
        output = loaded.transformer(
            torch.tensor([ids], device=loaded.transformer.embed.weight.device), tap=tap
        )
    stream = torch.stack([tap.kept[stop][0] for stop in stops])
    return Measured(ids, stream, output[0], headed=not isinstance(loaded.spec.head, NoHead))


class _Stops:
    """A tap that keeps the stream. A `LanguageModel` would want a tokenizer, which not every model has."""

    def __init__(self, stops: list[Site], name: str, progress: Progress):
        self._stops, self._name, self._progress = stops, name, progress
        self.kept: dict[Site, Tensor] = {}

    def __call__(self, where: Site, value: Tensor) -> Tensor:
        if where in self._stops:
            self._progress.report(f"running {self._name}", len(self.kept), len(self._stops))
            self.kept[where] = value
        return value

    def wants(self, where: Site) -> bool:
        return False


def last_stop(loaded: Loaded) -> Site:
    """Where transformers' last hidden state stands: after the final norm, if there is one."""
    return site("ln_final") if loaded.spec.final_norm else stream_of(loaded.spec)[-1]


def tokens_of_page(loaded: Loaded) -> list[int] | None:
    """The page's tokens; None where there is no tokenizer, or one of another alphabet (a toy's)."""
    try:
        return None if loaded.tokenizer is None else loaded.tokenizer.encode(page())
    except BadInput:
        return None


def scattered_tokens(loaded: Loaded) -> list[int]:
    """Numbers of the vocabulary in a scattered order, always the same."""
    return [(place * place * 31 + place * 7) % loaded.spec.vocab_size for place in range(512)]


def page() -> str:
    """The text that models are checked on."""
    return PAGE_FILE.read_text("utf-8")


# --- the reference implementation ----------------------------------------------------------------
def why_no_transformers() -> str | None:
    """Why the reference implementation cannot be asked, nothing where it is not installed; None if it can."""
    if find_spec("transformers") is None:
        return ""
    try:
        with _quiet_transformers():
            return None
    except Exception as error:  # its own dependencies are missing, or too old for it
        return f"transformers is installed and cannot be imported ({error})."


def _against_transformers(loaded: Loaded, ours: Measured, progress: Progress) -> tuple[list[Line], list[str]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = loaded.folder or save(loaded, Path(scratch) / "model", progress=progress)
        progress.report("loading the same weights into transformers")
        with _quiet_transformers() as transformers:
            peer = _open_peer(transformers, loaded, folder)
            progress.report("running transformers")
            theirs = _measure_peer(peer, ours)
            lines = _lines(ours, theirs)
            notes = [] if loaded.folder else ["The weights were given to transformers as unpacked here."]
            mine = tokens_of_page(loaded)
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            except (OSError, ValueError, ImportError) as error:
                tokenizer, mine = None, None
                notes.append(f"transformers opens no tokenizer: {str(error).splitlines()[0]}")
            if mine is None:
                notes.append("No token ids were compared.")
            else:
                ids = tokenizer(page(), verbose=False)["input_ids"]
                same = sum(a == b for a, b in zip(mine, ids, strict=False)) / max(len(mine), len(ids))
                lines.append(Line("same token ids", same, 1.0, at_least=True))
    return lines, notes


def _open_peer(transformers: Any, loaded: Loaded, folder: Path) -> Any:
    named = loaded.config.get("architectures") or []
    assert loaded.family is not None
    known = [name for name in (*named, *loaded.family.architectures) if name in loaded.family.architectures]
    dtype, device = loaded.transformer.embed.weight.dtype, loaded.transformer.embed.weight.device
    peer_class = getattr(transformers, known[0])
    peer = peer_class.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", local_files_only=True, use_safetensors=True
    )
    return peer.to(device).eval()


def _measure_peer(peer: Any, ours: Measured) -> Measured:
    with torch.no_grad():
        tokens = torch.tensor([ours.ids], device=ours.stream.device)
        out = peer(tokens, output_hidden_states=True)
    stream = torch.stack([hidden[0] for hidden in out.hidden_states])
    named = (getattr(out, name, None) for name in ("logits", "prediction_logits"))
    logits = next((value[0] for value in named if value is not None), stream[-1])
    return Measured(ours.ids, stream, logits, ours.headed)


def _lines(ours: Measured, theirs: Measured) -> list[Line]:
    allowed = ours.tolerance
    apart = (ours.output.double() - theirs.output.double()).abs().max().item()
    what = "largest difference of a logit" if ours.headed else "largest difference of the output"
    lines = [Line(what, apart, allowed.output)]
    if ours.headed:
        same = (ours.output.argmax(-1) == theirs.output.argmax(-1)).double().mean().item()
        lines.append(Line("same best guess, of all positions", same, allowed.agreement, at_least=True))
    for layer, (mine, their) in enumerate(zip(ours.stream.double(), theirs.stream.double(), strict=True)):
        # by position, for a few positions of a stream can be a thousand times longer than the rest
        distance = ((mine - their).norm(dim=-1) / their.norm(dim=-1)).max().item()
        last = layer == len(ours.stream) - 1
        lines.append(
            Line("last stream" if last else f"stream before layer {layer}", distance, allowed.stream)
        )
    return lines


@contextmanager
def _quiet_transformers() -> Iterator[Any]:
    """transformers without its progress bars and warnings, which it prints into whatever is running."""
    import transformers
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


# --- recorded numbers ----------------------------------------------------------------------------
def fingerprint(ours: Measured) -> dict[str, Any]:
    """A few numbers that say whether a run came out as it did when they were recorded.

    `places` are positions; at each, `best` is the largest coordinate of the output and `value` its
    size, `rms` the root mean square of all. `stream` is that of the stream at each stop.
    """
    places = [round(step * (len(ours.ids) - 1) / (PLACES - 1)) for step in range(PLACES)]
    output = ours.output[places].double()
    return {
        "tokens": len(ours.ids),
        "ids": sum(place * token for place, token in enumerate(ours.ids, 1)) % 1_000_003,
        "places": places,
        "best": output.argmax(-1).tolist(),
        "value": [round(value, 5) for value in output.max(-1).values.tolist()],
        "rms": [round(value, 5) for value in output.pow(2).mean(-1).sqrt().tolist()],
        "stream": [round(rms, 5) for rms in ours.stream.double().pow(2).mean((-2, -1)).sqrt().tolist()],
    }


def _against_recorded(ours: Measured, recorded: dict[str, Any]) -> list[Line]:
    mine, allowed = fingerprint(ours), ours.tolerance
    same_ids = float(mine["tokens"] == recorded["tokens"] and mine["ids"] == recorded["ids"])
    lines = [Line("token ids as recorded", same_ids, 1.0, at_least=True)]
    if not same_ids:
        return lines  # the rest would be of another text
    same = sum(a == b for a, b in zip(mine["best"], recorded["best"], strict=True)) / PLACES
    apart = max(abs(a - b) for key in ("value", "rms") for a, b in zip(mine[key], recorded[key], strict=True))
    stream = max(abs(a - b) / b for a, b in zip(mine["stream"], recorded["stream"], strict=True))
    return [
        *lines,
        Line("best guesses as recorded", same, allowed.agreement, at_least=True),
        Line("output from what was recorded", apart, allowed.output),
        Line("stream from what was recorded", stream, allowed.stream),
    ]


def read_fingerprints() -> dict[str, dict[str, Any]]:
    return json.loads(FINGERPRINTS.read_text("utf-8"))


def record(names: list[str]) -> None:
    """Write what the models called `names` come out as, in float32 on the CPU, into the package."""
    found = read_fingerprints() if FINGERPRINTS.is_file() else {}
    for name in names:
        found[name] = fingerprint(measure(load_model(name, device=choose_device("cpu"))))
        print(f"recorded {name}")
    lines = [f" {json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    FINGERPRINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Record the numbers that `llm-workings check` compares with."
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    record(parser.parse_args().names)
