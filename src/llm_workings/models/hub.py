"""Models on the Hugging Face hub, and those of them that are already in its cache.

All of it goes through `huggingface_hub`, so the user's cache, endpoint, token and offline mode are
the ones that count (HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). A model that is in the cache is
used as it stands there, without a word to the network; `fetch` is what asks the hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_workings.core.errors import (
    BadFile,
    BadInput,
    CannotFetch,
    LabError,
    NotSupported,
    UnknownName,
    unknown,
)
from llm_workings.core.progress import SILENT, Progress

from .folder import CONFIG, INDEX, PICKLES, WEIGHTS, pickle_refused, weight_files
from .tokens import FILES as TOKENIZER_FILES

MAIN = "main"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_-])?"
NAME = re.compile(rf"(?P<repository>{PART}(?:/{PART})?)(?:@(?P<revision>[A-Za-z0-9][\w./-]{{0,127}}))?")
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
PATIENCE = 15  # seconds to wait for the hub's first answer


@dataclass(frozen=True)
class HubName:
    """`EleutherAI/pythia-70m@step1000`: a repository and a branch, tag or commit in it."""

    repository: str
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Raises `BadInput` for what cannot be the name of a repository."""
        found = NAME.fullmatch(text)
        if found is None or ".." in text or "--" in found["repository"]:
            raise BadInput(
                f"{text!r} is not the name of a Hugging Face model.",
                hint="A name is OWNER/MODEL or MODEL, with @REVISION after it if need be.",
                given={"name": text},
            )
        return cls(found["repository"], found["revision"] or MAIN)

    def __str__(self) -> str:
        return self.repository if self.revision == MAIN else f"{self.repository}@{self.revision}"


def in_cache(name: HubName) -> Path | None:
    """The folder of the cached model, if its config and all its weights are there."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name.repository, CONFIG, revision=name.revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _has_weights(folder) else None


def cached() -> dict[HubName, Path]:
    """Every model in the cache that is complete, with its folder; one entry a revision."""
    from huggingface_hub import constants

    found = {}
    for refs in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/refs")):
        repository = refs.parent.name.removeprefix("models--").replace("--", "/")
        for ref in sorted(path for path in refs.rglob("*") if path.is_file()):
            try:
                name = HubName.parse(f"{repository}@{ref.relative_to(refs).as_posix()}")
            except BadInput:
                continue
            if (folder := in_cache(name)) is not None:
                found[name] = folder
    return found


def open_in_cache(name: HubName, progress: Progress = SILENT) -> Path:
    """The folder of the model, from the cache if it is complete there and from the hub otherwise."""
    folder = in_cache(name)
    if folder is not None and any((folder / file).is_file() for file in TOKENIZER_FILES):
        return folder
    try:
        return fetch(name, progress)
    except CannotFetch:
        if folder is None:
            raise
        return folder  # without a tokenizer, which whoever needs it will say


def fetch(name: HubName, progress: Progress = SILENT) -> Path:
    """Bring the model's config, safetensors weights and tokenizer files into the cache.

    Raises `UnknownName` if the hub has no such model or revision, `CannotFetch` if it cannot be
    reached (saying what is cached) or asks for access first, and `BadFile` if the only weights are
    pickles. What was received before a failure or a cancel is kept and gone on with.
    """
    from huggingface_hub import HfApi, snapshot_download

    progress.report(f"asking the hub for {name}")
    try:
        info = HfApi(library_name="llm-workings").model_info(
            name.repository, revision=name.revision, files_metadata=True, timeout=PATIENCE
        )
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        files = _choose(name, sizes)
        total = sum(sizes[file] for file in files)
        folder = snapshot_download(
            name.repository,
            revision=name.revision,
            allow_patterns=files,
            library_name="llm-workings",
            tqdm_class=_bar(f"downloading {name}", total, progress),
        )
    except LabError:
        raise
    except Exception as error:  # httpx's, requests' or the library's own, by its version
        raise _explained(name, error) from error
    return Path(folder)


def _choose(name: HubName, files: dict[str, int]) -> list[str]:
    """Which of the repository's files are downloaded: never a pickle, never a second set of weights."""
    shards = [file for file in files if SHARD.fullmatch(file)]
    single = [file for file in files if file.endswith(".safetensors") and "/" not in file]
    if INDEX in files and shards:
        weights = [INDEX, *shards]
    elif WEIGHTS in files:
        weights = [WEIGHTS]
    elif len(single) == 1:
        weights = single
    else:
        if pickles := sorted(file for file in files if Path(file).suffix in PICKLES):
            raise pickle_refused(f"{pickles[0]}, the only kind of weights that {name} has on the hub,")
        if gguf := sorted(file for file in files if file.endswith(".gguf")):
            raise NotSupported(
                f"{name} has only GGUF files on the hub: {', '.join(gguf[:4])}.",
                hint="Download one and load it by its path.",
            )
        raise BadFile(f"{name} has no safetensors weights on the hub.", given={"name": str(name)})
    if CONFIG not in files:
        raise BadFile(f"{name} has no {CONFIG} on the hub.", given={"name": str(name)})
    return [CONFIG, *weights, *(file for file in TOKENIZER_FILES if file in files)]


def _bar(what: str, total: int, progress: Progress) -> type[Any]:
    """A progress bar class, as `huggingface_hub` wants one, that reports to `progress`.

    The library keeps one bar of bytes received and one of bytes written; the one that is further counts.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    furthest = 0

    class Bar(tqdm):
        def __init__(self, *args: Any, **settings: Any):
            self.counts_bytes = settings.get("unit") == "B"
            super().__init__(*args, **{**settings, "disable": True})  # nothing is drawn

        def update(self, n: float | None = 1) -> None:
            nonlocal furthest
            self.n += n or 0
            if self.counts_bytes:
                furthest = max(furthest, min(int(self.n), total))
            progress.report(what, furthest, total)

    return Bar


def _explained(name: HubName, error: Exception) -> LabError:
    from huggingface_hub import errors

    given = {"name": str(name)}
    if isinstance(error, errors.GatedRepoError):
        return CannotFetch(
            f"{name.repository} is gated: its owner wants an account and an agreement first.",
            hint="Agree on the model's page on the hub, then log in: `hf auth login`, or set HF_TOKEN.",
            given=given,
        )
    if isinstance(error, errors.RevisionNotFoundError):
        known = [other.revision for other in cached() if other.repository == name.repository]
        return unknown(f"revision of {name.repository}", name.revision, known)
    if isinstance(error, errors.RepositoryNotFoundError):
        return UnknownName(
            f"There is no model on the Hugging Face hub {str(name)!r}.",
            hint="Is it spelled right? A private one needs `hf auth login` or HF_TOKEN.",
            given=given,
        )
    here = ", ".join(str(other) for other in cached())
    if isinstance(error, errors.OfflineModeIsEnabled):
        why = "offline mode is on (HF_HUB_OFFLINE)"
    elif isinstance(error, errors.HfHubHTTPError):
        why = f"the hub answered: {_first_line(error)}"
    else:
        why = f"the hub cannot be reached ({_first_line(error)})"
    return CannotFetch(
        f"{name} is not in the cache, and {why}.",
        hint=f"In the cache: {here}." if here else "Nothing is in the cache yet.",
        given=given,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _has_weights(folder: Path) -> bool:
    try:
        return all(path.is_file() for path in weight_files(folder))
    except BadFile:
        return False
