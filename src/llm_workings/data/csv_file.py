"""A user's CSV, read strictly: what cannot be meant is refused with its line and what it says."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_workings.core.dataset import Array
from llm_workings.core.errors import BadInput, nearest

from .spec import MOST_SAMPLES

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}  # a comma may also stand in a number
MOST_COLUMNS = 256  # that are read: as many as a layer has units
MOST_CLASSES = 10
LARGEST_VALUE = 1e100  # its square is still finite
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
MISSING = {"", "?", "na", "n/a", "null"}
BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Table:
    """What a CSV says.

    Attributes:
        points: `[row, column]` float64, the columns that are read, as they are in the file.
        coordinates: their names.
        targets: `[row]` int64, the class of each; or `[row, 1]` float64, the value.
        classes: names of the classes; empty for values.
        target: the name of the column they are from.
    """

    points: Array
    coordinates: tuple[str, ...]
    targets: Array
    classes: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Row:
    """The cells of one line, and which line (from 1) of the text it begins on."""

    line: int
    cells: list[str]


def csv_text(raw: bytes) -> str:
    """The text of a CSV file: UTF-8, or UTF-16 with its mark.

    Raises:
        BadInput: the bytes are neither.
    """
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if BINARY.search(raw.decode("latin-1")):
            raise _binary(raw.decode("latin-1")) from None
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput(
            f"Line {line} of the CSV is not {'UTF-16' if utf16 else 'UTF-8'} text: "
            f"byte {raw[error.start]:#04x} cannot stand there.",
            hint="Save the file as UTF-8.",
            given={"line": line, "byte": error.start},
        ) from None


def read_csv(text: str, target: str = "") -> Table:
    """The table in `text`, its columns separated by commas, semicolons or tabs.

    The first line is a header if no number stands in it. All columns but the target have to be
    numbers. A target of text, or of at most 10 whole numbers each of which comes twice on average
    (or only two), is classes; other numbers are values.

    Args:
        target: the name of the column that is to be learned; empty: the last one.

    Raises:
        BadInput: for each way in which it can be wrong, with the line and what stands there: empty;
            not text; quotes left open; a single column; lines of different length; only a header; a
            column without a name or two of the same; too many rows or columns; an unknown target; a
            missing value; a word where a number should be; a first line that is half a header; nan,
            infinity or a number beyond 1e100; a target with a single class or value, or with too many
            classes.
    """
    text = text.removeprefix("\ufeff")
    _check_text(text)
    rows = _rows(text)
    header = not any(NUMBER.fullmatch(cell) for cell in rows[0].cells)
    names = rows[0].cells if header else [f"column {at}" for at in range(1, len(rows[0].cells) + 1)]
    if header:
        _check_names(names, rows[0].line)
        rows = rows[1:]
    else:
        _check_first(rows)
    if not rows:
        raise BadInput(
            f"The CSV has only a header: {_cut(', '.join(names))}.",
            hint="Add the rows below it.",
            given={"columns": names[:20]},
        )
    if len(rows) > MOST_SAMPLES:
        raise BadInput(
            f"The CSV has {len(rows):,} rows; the limit is {MOST_SAMPLES:,}.",
            hint=f"Draw {MOST_SAMPLES:,} of them at random.",
            given={"rows": len(rows), "limit": MOST_SAMPLES},
        )
    if len(names) - 1 > MOST_COLUMNS:
        raise BadInput(
            f"The CSV has {len(names) - 1:,} columns besides the target; the limit is {MOST_COLUMNS}.",
            hint="Leave out those that matter least.",
            given={"columns": len(names) - 1, "limit": MOST_COLUMNS},
        )
    learned = _column_of(target.strip(), names, header)
    read = [at for at in range(len(names)) if at != learned]
    points = np.array([[_number(row, at, names) for at in read] for row in rows])
    targets, classes = _targets(rows, learned, names)
    return Table(points, tuple(names[at] for at in read), targets, classes, names[learned])


# ---- the text ------------------------------------------------------------------------------------


def _check_text(text: str) -> None:
    if not text.strip():
        raise _empty()
    if BINARY.search(text):
        raise _binary(text)
    lost = text.find("\ufffd")
    if lost >= 0:
        line = text.count("\n", 0, lost) + 1
        raise BadInput(
            f"Line {line} of the CSV has characters that could not be read: "
            f"{_cut(text.split(chr(10))[line - 1].strip())!r}.",
            hint="Save the file as UTF-8.",
            given={"line": line},
        )


def _empty() -> BadInput:
    return BadInput(
        "The CSV is empty.",
        hint="Give its text: a line a sample, for example 'x,y,class' and below it '0.5,1,red'.",
    )


def _binary(text: str) -> BadInput:
    workbook = text.startswith("PK\x03\x04")
    return BadInput(
        f"This is not the text of a CSV but binary data, beginning with {text[:8]!r}.",
        hint="It looks like an Excel workbook or a zip file: save the table as CSV."
        if workbook
        else "Save the table as CSV, in UTF-8.",
        given={"begins": text[:8]},
    )


def _rows(text: str) -> list[Row]:
    """The lines that are not blank, divided by the separator that divides most of them alike."""
    parsed = {separator: _divide(text, separator) for separator in SEPARATORS}
    if not any(parsed.values()):
        raise _empty()
    scores = {}
    for separator, rows in parsed.items():
        if isinstance(rows, BadInput):
            continue
        length, alike = Counter(len(row.cells) for row in rows).most_common(1)[0]
        scores[separator] = (length > 1 and alike == len(rows), alike if length > 1 else 0)
    best = max(scores, key=lambda separator: scores[separator], default="")
    if not best or not scores[best][0]:
        for separator in sorted(SEPARATORS, key=text.count, reverse=True):
            found = parsed[separator]
            if isinstance(found, BadInput):
                raise found
    rows = parsed[best]
    assert not isinstance(rows, BadInput)
    first = rows[0]
    for row in rows:
        if len(row.cells) != len(first.cells):
            raise BadInput(
                f"Line {row.line} of the CSV has {_count(len(row.cells), 'cell')}, line {first.line} has "
                f"{len(first.cells)} (divided at {SEPARATORS[best]}): {_cut(best.join(row.cells))!r}.",
                hint="Leave out what stands above the table."
                if len(first.cells) == 1
                else "Give every line as many cells; put quotes around one that contains the separator.",
                given={"line": row.line, "cells": len(row.cells), "expected": len(first.cells)},
            )
    if len(first.cells) == 1:
        raise BadInput(
            f"The CSV has a single column; line {first.line} says {_cut(first.cells[0])!r}.",
            hint="Give at least one column to read and one to learn, divided by commas, semicolons or tabs.",
            given={"line": first.line},
        )
    return rows


def _divide(text: str, separator: str) -> list[Row] | BadInput:
    """The lines that are not blank, with their cells; or what is wrong with their quotes."""
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    rows: list[Row] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return rows
        except csv.Error as error:
            said = _cut(list(io.StringIO(text, newline=""))[line - 1].strip())
            if "limit" in str(error) and '"' not in text:
                limit = csv.field_size_limit()
                return BadInput(
                    f"Line {line} of the CSV has a cell of more than {limit:,} characters: {said!r}.",
                    hint="Is this a table, with a line a sample?",
                    given={"line": line, "limit": limit},
                )
            inside = "expected after" in str(error)
            what = "are closed in the middle of a cell" if inside else "are not closed"
            return BadInput(
                f"The quotes on line {line} of the CSV {what}: {said!r}.",
                hint='Put quotes around the whole cell, and write one inside it twice: "a ""b"" c".',
                given={"line": line},
            )
        if any(cell.strip() for cell in cells) or len(cells) > 1:
            rows.append(Row(line, [" ".join(cell.split()) for cell in cells]))


# ---- the columns ---------------------------------------------------------------------------------


def _check_names(names: list[str], line: int) -> None:
    for at, name in enumerate(names):
        if not name:
            raise BadInput(
                f"Column {at + 1} of the CSV has no name in the header on line {line}: "
                f"{_cut(', '.join(names))!r}.",
                hint="Name it, or leave it out (pandas writes no index column with index=False).",
                given={"line": line, "column": at + 1},
            )
        if name in names[:at]:
            raise BadInput(
                f"Columns {names.index(name) + 1} and {at + 1} of the CSV are both called {_cut(name)!r}.",
                hint="Give every column its own name.",
                given={"line": line, "name": _cut(name)},
            )


def _check_first(rows: list[Row]) -> None:
    """A line that is a header by one column and a row by another must not be taken for either."""
    first, rest = rows[0], rows[1:]
    for at, cell in enumerate(first.cells):
        word = not NUMBER.fullmatch(cell) and not NOT_FINITE.fullmatch(cell) and cell.lower() not in MISSING
        if word and rest and all(NUMBER.fullmatch(row.cells[at]) for row in rest):
            raise BadInput(
                f"Line {first.line} of the CSV may be a header or a row: "
                f"{_cut(', '.join(first.cells))!r} has numbers, and {_cut(cell)!r} where numbers follow.",
                hint="A header gives every column a name that is not a number; in a row, correct the word.",
                given={"line": first.line, "column": at + 1, "cell": _cut(cell)},
            )


def _column_of(target: str, names: list[str], header: bool) -> int:
    if not target:
        return len(names) - 1
    if target in names:
        return names.index(target)
    close = nearest(target, names)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    without = "" if header else " It has no header, so columns are called by their number."
    raise BadInput(
        f"The CSV has no column {target!r} to learn.{without}",
        hint="Did you mean " + " or ".join(map(repr, close)) + "?" if close else f"Its columns: {listed}.",
        given={"target": target, "columns": names[:20]},
    )


def _number(row: Row, at: int, names: list[str]) -> float:
    cell = row.cells[at]
    if NUMBER.fullmatch(cell):
        value = float(cell)
        if abs(value) <= LARGEST_VALUE:
            return value
        raise _bad_cell(row, at, names, "is too large", f"The limit is {LARGEST_VALUE:g}.")
    if cell.lower() in MISSING:
        raise _missing(row, at, names)
    if NOT_FINITE.fullmatch(cell):
        raise _bad_cell(row, at, names, "is not a finite number", "Leave the row out.")
    if re.fullmatch(r"[+-]?\d+,\d+", cell, re.ASCII):
        raise _bad_cell(row, at, names, "is not a number", "Write a decimal point instead of the comma.")
    raise _bad_cell(
        row,
        at,
        names,
        "is not a number",
        "What the network reads has to be numbers: correct it, leave the column out, or make it the target.",
    )


def _missing(row: Row, at: int, names: list[str]) -> BadInput:
    said = f"is {row.cells[at]!r}, which" if row.cells[at] else "is empty: it"
    return BadInput(
        f"Line {row.line} of the CSV, column {_cut(names[at])!r}, {said} leaves a value missing: "
        f"{_cut(', '.join(row.cells))!r}.",
        hint="Fill it in, or leave the row out.",
        given={"line": row.line, "column": _cut(names[at]), "cell": row.cells[at]},
    )


def _bad_cell(row: Row, at: int, names: list[str], what: str, hint: str) -> BadInput:
    cell = _cut(row.cells[at])
    return BadInput(
        f"Line {row.line} of the CSV, column {_cut(names[at])!r}: {cell!r} {what}.",
        hint=hint,
        given={"line": row.line, "column": _cut(names[at]), "cell": cell},
    )


# ---- the target ----------------------------------------------------------------------------------


def _targets(rows: list[Row], at: int, names: list[str]) -> tuple[Array, tuple[str, ...]]:
    """Classes `[row]` with their names, or values `[row, 1]`."""
    cells = [row.cells[at] for row in rows]
    for row in rows:
        if row.cells[at].lower() in MISSING:
            raise _missing(row, at, names)
        if NOT_FINITE.fullmatch(row.cells[at]):
            raise _bad_cell(row, at, names, "is not a finite number", "Leave the row out.")
    numbers = [NUMBER.fullmatch(cell) is not None for cell in cells]
    said: dict[Any, str] = {}
    kinds: list[Any] = cells
    # A few words among many numbers are slips, not classes.
    slips = 2 * sum(numbers) > len(cells) and len(set(cells)) > MOST_CLASSES
    if all(numbers) or slips:
        values = [_number(row, at, names) for row in rows]
        kinds = values
        if len(set(values)) > 1 and not _few_whole(values):
            return np.array(values)[:, None], ()
        said = {value: f"{value:.0f}" if value.is_integer() else f"{value:g}" for value in values}
    classes = sorted(set(kinds))
    if len(classes) == 1:
        raise BadInput(
            f"The target {_cut(names[at])!r} is {_cut(cells[0])!r} in every row: there is nothing to learn.",
            hint="Take another column as the target, or add rows of another kind.",
            given={"target": _cut(names[at]), "rows": len(rows)},
        )
    if len(classes) > MOST_CLASSES:
        raise BadInput(
            f"The target {_cut(names[at])!r} has {len(classes)} different classes (line {rows[0].line}: "
            f"{_cut(cells[0])!r}); the limit is {MOST_CLASSES}.",
            hint="Take a column with fewer, join some of them, or give numbers to learn values.",
            given={"target": _cut(names[at]), "classes": len(classes), "limit": MOST_CLASSES},
        )
    index = {kind: label for label, kind in enumerate(classes)}
    return np.array([index[kind] for kind in kinds]), tuple(said.get(kind, str(kind)) for kind in classes)


def _few_whole(values: list[float]) -> bool:
    different = len(set(values))
    if not all(value.is_integer() for value in values):
        return False
    return different <= 2 or (different <= MOST_CLASSES and 2 * different <= len(values))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
