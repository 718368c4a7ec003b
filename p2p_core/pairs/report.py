"""What is told at the end."""

from __future__ import annotations

from pathlib import Path

from .tally import Tally
from .task import Order


def finish(folder: Path, order: Order, tally: Tally, rejected: int, form: str) -> None:
    print(table(tally))
    print(f"{tally.kept.total()} of {tally.drawn.total()} samples are in {folder / 'data'}; {rejected} lines rejected.")


def table(tally: Tally) -> str:
    """Acceptance by kind of edit, and why samples were dropped, a line each."""
    kinds = sorted(tally.drawn, key=lambda kind: (-tally.kept[kind] / tally.drawn[kind], kind))
    width = max((len(kind) for kind in [*kinds, "everything"]), default=0)
    lines = [f"{'kind':<{width}}  pairs  samples  kept  share"]
    for kind in [*kinds, "everything"]:
        of = [counts.total() if kind == "everything" else counts[kind] for counts in (tally.pairs, tally.drawn, tally.kept)]
        lines.append(f"{kind:<{width}}  {of[0]:>5}  {of[1]:>7}  {of[2]:>4}  {of[2] / max(of[1], 1):>5.0%}")
    return "\n".join(lines)
