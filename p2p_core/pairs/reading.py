"""Lines of captions from a file or from standard input, each with its number; what cannot be read is told apart."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import EditError
from .request import COLUMNS, Request, read_request

Lines = Iterator[tuple[int, Mapping[str, Any] | EditError]]
"""Lines by their numbers from 1; of tables with a head, by the row's number from 1."""


@dataclass(frozen=True)
class Reject:
    """A line that makes no pair, and why."""

    line: int
    input: str
    reason: str

    @classmethod
    def of(cls, line: int, error: EditError) -> Reject:
        return cls(line, error.input, " ".join(filter(None, (error.problem, error.remedy))))


def read_lines(path: str) -> Lines:
    """The lines of a .jsonl, .csv or .parquet file; `-` is JSON lines from standard input.

    Raises:
        EditError: no such file, a kind of file that is not known, or one that cannot be read at all.
    """
    if path == "-":
        return _json_lines(sys.stdin)
    readers = {".jsonl": _text_file(_json_lines), ".ndjson": _text_file(_json_lines)}
    readers |= {".csv": _text_file(_csv_lines), ".parquet": _parquet_lines}
    file = Path(path)
    if not file.is_file():
        raise EditError("input", f"there is no file {path}.")
    if file.suffix.lower() not in readers:
        raise EditError("input", f"'{file.name}' is not of a kind that is read: {', '.join(readers)}.")
    return readers[file.suffix.lower()](file)


def requests(lines: Lines, say: Callable[[str], None]) -> Iterator[tuple[int, Request | Reject]]:
    """Each line as a request or a reject. What an earlier line asked for already is rejected too."""
    first_lines: dict[str, int] = {}
    unused: set[str] = set()
    for number, line in lines:
        try:
            if isinstance(line, EditError):
                raise line
            if new := {str(name) for name in line} - set(COLUMNS) - unused:
                unused |= new
                say(f"Columns that are not used: {', '.join(sorted(new))}.")
            request = read_request(line)
            first = first_lines.setdefault(request.name, number)
            if first != number:
                raise EditError("", f"line {first} asks for the same.")
            yield number, request
        except EditError as error:
            yield number, Reject.of(number, error)


def _text_file(read: Callable[[IO[str]], Lines]) -> Callable[[Path], Lines]:
    def lines(path: Path) -> Lines:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from read(file)

    return lines


def _json_lines(file: IO[str]) -> Lines:
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            yield number, EditError("", f"it is no JSON ({error}).")
            continue
        yield number, line if isinstance(line, dict) else EditError("", "it is no JSON object with named columns.")


def _csv_lines(file: IO[str]) -> Lines:
    for number, line in enumerate(csv.DictReader(file), 1):
        if None in line:  # where DictReader puts what it has no name for
            yield number, EditError("", "it has more values than there are columns.", 'Quote commas: "a cat, sitting".')
        else:
            yield number, line


def _parquet_lines(path: Path) -> Lines:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        lines = (line for batch in file.iter_batches(1024) for line in batch.to_pylist())
        yield from enumerate(lines, 1)
    except pyarrow.ArrowInvalid as error:
        raise EditError("input", f"{path} is no Parquet file ({error}).") from error
