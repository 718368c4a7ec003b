"""What is told at the end: a table, the data set's card and its pictures."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from PIL import Image

from .card import card
from .rows import Row
from .shards import FORMS, whole
from .sheet import chosen, contact_sheet, histograms
from .tally import Tally
from .task import Order


def finish(folder: Path, order: Order, tally: Tally, rejected: int, form: str, scores: tuple[str, ...]) -> None:
    """Write README.md, report.json, contact_sheet.png and scores.png beside the shards, and print the table."""
    rows: list[Row] = chosen(sorted((folder / "data").glob(f"*{FORMS[form]}")))
    title = f"{tally.kept.total():,} pairs, of {tally.drawn.total():,} samples"
    pictures = {"contact_sheet.png": contact_sheet(rows, title) if rows else None, "scores.png": histograms(tally)}
    made = {name: picture for name, picture in pictures.items() if picture is not None}
    for name, picture in made.items():
        whole(folder / name, partial(_save, picture))
    text = card(order, tally, rejected, form, scores, list(made))
    whole(folder / "README.md", lambda file: file.write(text.encode()))
    counts = json.dumps(tally.as_json() | {"rejected": rejected}, indent=1)
    whole(folder / "report.json", lambda file: file.write(counts.encode()))
    print(table(tally))
    print(f"{tally.kept.total()} of {tally.drawn.total()} samples are in {folder / 'data'}; {rejected} lines rejected.")


def table(tally: Tally) -> str:
    """Acceptance by kind of edit, a line each."""
    counts = (tally.pairs, tally.drawn, tally.passed, tally.kept)
    kinds = sorted(tally.drawn, key=lambda kind: (-tally.passed[kind] / tally.drawn[kind], kind))
    width = max(map(len, [*kinds, "everything"]))
    lines = [f"{'kind':<{width}}  pairs  samples  accepted  share  kept"]
    lines += [_line(kind, width, *(of[kind] for of in counts)) for kind in kinds]
    return "\n".join([*lines, _line("everything", width, *(of.total() for of in counts))])


def _line(name: str, width: int, pairs: int, drawn: int, passed: int, kept: int) -> str:
    return f"{name:<{width}}  {pairs:>5}  {drawn:>7}  {passed:>8}  {passed / max(drawn, 1):>5.0%}  {kept:>4}"


def _save(picture: Image.Image, file) -> None:
    picture.save(file, "PNG")
