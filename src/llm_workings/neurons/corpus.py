"""The texts that neurons are read over: the built-in sentences, or a text of the user's, kept by its hash.

A text of the user's is kept in the data folder, so that a page and a saved run can name it (`text-3fa9...`)
and nothing that a page can ask for names a file. What is long is cut into passages of `CONTEXT` tokens,
evenly spread over the text where it has more than are to be read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_workings.core.errors import BadInput, unknown
from llm_workings.core.files import write_whole
from llm_workings.core.paths import data_folder
from llm_workings.data.contrasts import CONTRASTS

if TYPE_CHECKING:
    from llm_workings.trace.model import LanguageModel

BUILT_IN = "built-in"
CONTEXT = 128  # tokens of a passage
TOKENS = 8_192  # that are read by default
LONGEST = 4_000_000  # characters of a text
TITLE = 80  # characters of a title
FILE = Path(__file__).with_name("built_in.txt")


@dataclass(frozen=True)
class Corpus:
    """Texts to read neurons over.

    Attributes:
        name: `built-in`, or `text-` and the beginning of the text's hash.
        title: what to call it.
        passages: the texts; none reaches into another.
    """

    name: str
    title: str
    passages: tuple[str, ...]

    @property
    def characters(self) -> int:
        return sum(map(len, self.passages))

    @staticmethod
    def of_text(text: str, title: str = "your text") -> Corpus:
        """A corpus of one text. Raises `BadInput` for an empty one or one past `LONGEST` characters."""
        if not text.strip():
            raise BadInput("The text is empty: there is nothing to read.", given={"characters": len(text)})
        if len(text) > LONGEST:
            raise BadInput(
                f"The text has {len(text):,} characters; at most {LONGEST:,} are taken.",
                hint="Give a part of it.",
                given={"characters": len(text)},
            )
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Corpus(f"text-{digest[:16]}", " ".join(title.split())[:TITLE] or "your text", (text,))

    @staticmethod
    def of_file(path: Path | str) -> Corpus:
        """A corpus of a text file (UTF-8). Raises `BadInput` for one that is not there or no such text."""
        path = Path(path)
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}.", given={"path": str(path)}) from error
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{path} is no UTF-8 text: byte {error.start} cannot be read.",
                hint="Save it as UTF-8.",
                given={"path": str(path)},
            ) from error
        return Corpus.of_text(text, path.name)

    def keep(self) -> Corpus:
        """Keep it in the data folder, where `corpus(name)` finds it; returns itself."""
        if self.name != BUILT_IN:
            folder = _folder()
            folder.mkdir(parents=True, exist_ok=True)
            whole = f"{self.title}\n{self.passages[0]}".encode("utf-8", "surrogatepass")
            write_whole(folder / f"{self.name}.txt", whole, example=f"{self.name}.txt")
        return self

    def rows(self, model: LanguageModel, tokens: int = TOKENS) -> Rows:
        """The passages as token ids, as the model expects a text, with about `tokens` tokens in all.

        Raises `BadInput` for a corpus without a passage of two tokens, or `tokens` below 1.
        """
        if tokens < 1:
            raise BadInput(f"tokens={tokens} reads nothing.", given={"tokens": tokens})
        before, after = model.tokenizer.around(_beginning(self.passages[0]))
        room = min(CONTEXT, model.spec.n_ctx) - len(before) - len(after)
        pieces = [
            ids[at : at + room]
            for ids in model.tokenizer.encode_batch(self.passages, special=False)
            for at in range(0, len(ids), room)
        ]
        whole = sum(map(len, pieces))
        pieces = [piece for piece in pieces if len(piece) >= 2]
        if not pieces:
            raise BadInput(f"The corpus {self.title!r} has no passage of two tokens.")
        wanted = max(1, round(len(pieces) * min(1.0, tokens / whole)))
        chosen = np.unique(np.linspace(0, len(pieces) - 1, wanted).round().astype(int))
        first = len(before) if before or not model.spec.causal else 1
        return Rows([[*before, *pieces[i], *after] for i in chosen], first, len(after), whole)


@dataclass(frozen=True)
class Rows:
    """Passages as token ids.

    Attributes:
        ids: the passages.
        first: from which token of a passage on they count. What the tokenizer sets before a text does not
            count, and of a causal model without such neither does the first token: attention rests on it.
        after: how many tokens at a passage's end do not count.
        whole: how many tokens the whole corpus has.
    """

    ids: list[list[int]]
    first: int
    after: int
    whole: int


def corpus(name: str = BUILT_IN) -> Corpus:
    """The corpus called `name`: the built-in one, or a kept one. Raises `UnknownName`, with what there is."""
    if name == BUILT_IN:
        return built_in()
    path = _folder() / f"{name}.txt"
    if not re.fullmatch(r"text-[0-9a-f]{16}", name) or not path.is_file():
        raise unknown("corpus", name, [BUILT_IN, *(each.name for each in kept())])
    title, _, text = path.read_bytes().decode("utf-8", "surrogatepass").partition("\n")
    return Corpus(name, title, (text,))


def kept() -> list[Corpus]:
    """The kept corpora, the newest first."""
    files = [path for path in _folder().glob("text-*.txt") if re.fullmatch(r"text-[0-9a-f]{16}", path.stem)]
    return [corpus(path.stem) for path in sorted(files, key=lambda path: -path.stat().st_mtime)]


@cache
def built_in() -> Corpus:
    """Short passages that came with the program: prose, dialogue, code, lists, a few languages."""
    return Corpus(BUILT_IN, "built-in sentences", tuple(_sentences()))


def _sentences() -> Iterator[str]:
    yield from FILE.read_text("utf-8").splitlines()
    for contrast in CONTRASTS.values():
        for first, second in contrast.pairs:
            yield first
            yield second


def _beginning(text: str) -> str:
    """A few words of a text: enough to see what a tokenizer sets around it."""
    return text if len(text) <= 200 else text[:200].rsplit(None, 1)[0]


def _folder() -> Path:
    return data_folder() / "corpora"
