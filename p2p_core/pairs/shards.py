"""Rows in files that are whole or not there, Parquet or WebDataset tars. Those that are there are a run's state."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import EditError
from .plan import PAIRS_A_TASK, Task
from .rows import AGAIN, PICTURES, TEXTS, WHOLE, Row, numbers
from .tally import Tally
from .task import Done

FORMS = {"parquet": ".parquet", "webdataset": ".tar"}


class Shards:
    """The shards of a data set in a folder.

    A shard's rows are in data/, what became of all its samples in tallies/. The rows are renamed into place last: a
    shard whose rows are there is done.

    Args:
        pairs: of captions in a shard, rounded up to whole tasks.
        scores: names of the filters' scores, which are columns.
    """

    def __init__(self, folder: Path, form: str, pairs: int, scores: Sequence[str]):
        if form == "parquet":
            check_parquet()
        self.folder, self.form, self.scores = folder, form, scores
        self.tasks = max(-(-pairs // PAIRS_A_TASK), 1)
        for name in ("data", "tallies"):
            with said_where_full(folder):
                (folder / name).mkdir(parents=True, exist_ok=True)
            for left in (folder / name).glob("*.part"):
                left.unlink()
        self._waiting: dict[int, list[Done]] = {}
        self._names: dict[int, list[str]] = {}

    def rows_file(self, shard: int) -> Path:
        return self.folder / "data" / f"train-{shard:05d}{FORMS[self.form]}"

    def tally_file(self, shard: int) -> Path:
        return self.folder / "tallies" / f"{shard:05d}.json"

    def is_done(self, task: Task) -> bool:
        """Whether a task's shard was written before.

        Raises:
            EditError: it was made of other lines.
        """
        shard, place = divmod(task.number, self.tasks)
        if shard in self._waiting or not self.rows_file(shard).exists():
            return False
        if shard not in self._names:
            self._names[shard] = self._read(shard)["tasks"]
        if self._names[shard][place : place + 1] != [task.name]:
            raise EditError(
                "output",
                f"{self.rows_file(shard).name} was made of other lines than the input has now.",
                "Give the input that it was begun with, or another folder.",
            )
        return True

    def done(self) -> Iterator[Tally]:
        """What became of the samples of all shards there are, in order."""
        for file in sorted((self.folder / "data").glob(f"*{FORMS[self.form]}")):
            yield Tally.from_json(self._read(int(file.stem.rpartition("-")[2])))

    def add(self, done: Done) -> bool:
        """Take a task's rows, in any order of tasks; whether a shard was written."""
        shard = done.number // self.tasks
        self._waiting.setdefault(shard, []).append(done)
        if len(self._waiting[shard]) == self.tasks:
            self._write(shard)
            return True
        return False

    def finish(self) -> None:
        """Write what is left: after the last task, a shard of fewer tasks."""
        for shard in sorted(self._waiting):
            self._write(shard)

    def _read(self, shard: int) -> dict:
        return json.loads(self.tally_file(shard).read_text(encoding="utf-8"))

    def _write(self, shard: int) -> None:
        tasks = sorted(self._waiting.pop(shard), key=lambda done: done.number)
        tally = Tally()
        for done in tasks:
            tally.add(done.tally)
        told = {"tasks": [done.name for done in tasks], **tally.as_json()}
        rows = [row for done in tasks for row in done.rows]
        write = {"parquet": _write_parquet, "webdataset": _write_tar}[self.form]
        with said_where_full(self.folder):
            whole(self.tally_file(shard), lambda file: file.write(json.dumps(told).encode()))
            whole(self.rows_file(shard), lambda file: write(file, rows, self.scores))


def check_parquet() -> None:
    """Raises EditError where Parquet cannot be written, before anything is drawn."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise EditError(
            "format",
            "pyarrow is missing, which writes Parquet.",
            "Run pip install pyarrow, or use --format webdataset.",
        ) from error


def whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """A file that is there with all that was written to it, or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def said_where_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        safe = len(list((folder / "data").glob("train-*"))) if folder.exists() else 0
        raise EditError(
            "output",
            f"nothing more can be written to {folder}: {error.strerror}. The {safe} shards there are whole.",
            "Make room and run the same command again; it goes on after them.",
        ) from error


def _write_parquet(file: IO[bytes], rows: Sequence[Row], scores: Sequence[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = dict.fromkeys(PICTURES, picture) | dict.fromkeys((*TEXTS, *AGAIN), pyarrow.string())
    kinds |= dict.fromkeys(WHOLE, pyarrow.int64()) | dict.fromkeys(numbers(scores), pyarrow.float64())
    # What Hugging Face's datasets reads columns as: without it pictures would be bytes.
    named = {"string": "string", "int64": "int64", "double": "float64"}
    features = {
        name: {"_type": "Image"} if name in PICTURES else {"dtype": named[str(kind)], "_type": "Value"}
        for name, kind in kinds.items()
    }
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {
        name: [{"bytes": row[name], "path": None} if name in PICTURES else row.get(name) for row in rows]
        for name in kinds
    }
    table = pyarrow.table(columns, pyarrow.schema(list(kinds.items()), told))
    pyarrow.parquet.write_table(table, file, row_group_size=100)  # few rows, so that pictures are read a few at a time


def _write_tar(file: IO[bytes], rows: Iterable[Row], scores: Sequence[str]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for row in rows:
            name = f"{row['line']:08d}-{row['sample']:03d}"
            rest = {key: value for key, value in row.items() if key not in PICTURES}
            parts = {f"{picture}.png": row[picture] for picture in PICTURES}
            parts["edit_prompt.txt"] = row["edit_prompt"].encode()
            parts["json"] = json.dumps(rest, ensure_ascii=False).encode()
            for kind, content in parts.items():
                entry = tarfile.TarInfo(f"{name}.{kind}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a shard, as they were written.

    Raises:
        EditError: it is no shard.
    """
    if not path.is_file() or path.suffix not in FORMS.values():
        raise EditError("again", f"{path} is no shard.", "Name a file of a data set's data folder.")
    if path.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(64):
            for row in batch.to_pylist():
                yield row | {name: row[name]["bytes"] for name in PICTURES}
        return
    with tarfile.open(path) as tar:
        row: Row = {}
        for entry in tar:
            kind, content = entry.name.partition(".")[2], tar.extractfile(entry).read()
            row |= json.loads(content) if kind == "json" else {kind.removesuffix(".png"): content}
            if kind == "json":  # written last
                yield {name: value for name, value in row.items() if name != "edit_prompt.txt"}
                row = {}
