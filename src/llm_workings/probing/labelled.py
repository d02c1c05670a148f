"""A user's own labelled texts: lines of label, tab, text, or a CSV; refused where it cannot be meant."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from llm_workings.core.errors import BadFile, BadInput, nearest

from .tasks import Task, labelled_texts


def read_labelled(
    path_or_text: Path | str, *, label: str = "label", text: str = "text", name: str = ""
) -> Task:
    """A task of a user's texts.

    With a tab in its first line it is lines of `label<TAB>text`; else it is a CSV whose first line
    names the columns.

    Args:
        path_or_text: a file, or the text itself (anything with a line break in it).
        label, text: the CSV's columns.
        name: what to call the task; by default the file's name.

    Raises:
        BadFile: no such file, or one that is not UTF-8.
        BadInput: empty; a line without a tab, without a label or without a text; an unknown column
            (the nearest is suggested) or two of the same; a row of another length; quotes left open; a
            text with two labels; one class only; a class of too few texts.
    """
    content, source = _read(path_or_text)
    rows = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not rows:
        raise BadInput(f"{source} is empty.", hint="A line is a label, a tab and a text.")
    if "\t" in rows[0][1]:
        pairs = [_pair(source, number, line) for number, line in rows]
    else:
        pairs = _csv(source, content, label, text)
    return labelled_texts(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], name or Path(source).stem.lower()
    )


def _read(path_or_text: Path | str) -> tuple[str, str]:
    if isinstance(path_or_text, str) and ("\n" in path_or_text or not path_or_text.strip()):
        return path_or_text.removeprefix("\ufeff"), "The text"
    path = Path(path_or_text)
    if not path.is_file():
        raise BadFile(f"There is no file {str(path)!r}.", given={"path": str(path)})
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig"), path.name
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadFile(
            f"{path.name}, line {line}: not UTF-8, byte {raw[error.start]:#04x} cannot stand there.",
            hint="Save the file as UTF-8.",
            given={"line": line},
        ) from None


def _pair(source: str, number: int, line: str) -> tuple[str, str]:
    name, tab, text = line.partition("\t")
    if not tab:
        raise _wrong(
            source, number, f"there is no tab in {_cut(line)!r}.", "A line is a label, a tab, a text."
        )
    return _both(source, number, name, text)


def _csv(source: str, content: str, label: str, text: str) -> list[tuple[str, str]]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
        at = [_column(source, header, name) for name in (label, text)]
        pairs = []
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise _wrong(
                    source,
                    reader.line_num,
                    f"{len(row)} cells where the first line names {len(header)} columns.",
                    "Put a text that has a comma in it between quotes.",
                )
            pairs.append(_both(source, reader.line_num, row[at[0]], row[at[1]]))
    except csv.Error as error:
        raise _wrong(source, reader.line_num, f"{error}.", "Are quotes left open?") from None
    if not pairs:
        raise BadInput(f"{source} has only a first line: {', '.join(header)}.", hint="Add texts below it.")
    return pairs


def _column(source: str, header: list[str], name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise BadInput(f"{source} has the column {name!r} {header.count(name)} times.")
    close = nearest(name, header)
    raise BadInput(
        f"{source} has no column {name!r}, and no tab in its first line.",
        hint=f"Did you mean {close[0]!r}?"
        if close
        else f"Its columns are {', '.join(map(repr, header[:8]))}; name yours: label=..., text=...",
        given={"columns": header[:20]},
    )


def _both(source: str, number: int, name: str, text: str) -> tuple[str, str]:
    name, text = name.strip(), text.strip()
    if not name or not text:
        raise _wrong(source, number, f"the {'text' if name else 'label'} is empty.", "Leave the line out.")
    return name, text


def _wrong(source: str, number: int, message: str, hint: str) -> BadInput:
    return BadInput(f"{source}, line {number}: {message}", hint=hint, given={"line": number})


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
