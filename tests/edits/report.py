"""The table and the plot of what the benchmark has measured."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from .cases import KINDS
from .results import read
from .tried import CURVES

COLUMNS = {"success": 100, "kept": 100, "both": 100, "psnr": 1, "structure": 1000, "seconds": 1}
HEADS = ("success %", "kept %", "both %", "PSNR dB", "structure ·10³", "seconds")


def report(folder: Path) -> None:
    """Prints the tables, writes edits.json and, of curves, edits.png into `folder`."""
    summary = {name: summed_up(read(folder, name)) for name in ("methods", "curves")}
    for name, of in summary.items():
        for kind, methods in of.items():
            print(f"\n{name}, {kind}: {next(iter(methods.values()))['edits']} edits")
            print(table(methods))
    (folder / "edits.json").write_text(json.dumps(summary, indent=1) + "\n")
    if summary["curves"]:
        plot(summary["curves"]["all"], folder / "edits.png")


def summed_up(rows: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Means of edits that every method has made, by kind, "all" for all, and by method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    of_edit = defaultdict(dict)
    for row in rows:
        of_edit[row["edit"], row["kind"]][row["method"]] = {**row, "both": row["success"] and row["kept"]}
    complete = {edit: of for edit, of in of_edit.items() if len(of) == len(methods)}
    summary = {}
    for kind in ("all", *KINDS):
        chosen = [of for (_, own), of in complete.items() if kind in ("all", own)]
        if chosen:
            summary[kind] = {m: {"edits": len(chosen), **_means(of[m] for of in chosen)} for m in methods}
    return summary


def _means(rows: Iterable[dict]) -> dict[str, float]:
    rows = list(rows)
    return {name: round(mean(row[name] for row in rows), 5) for name in COLUMNS if name in rows[0]}


def table(methods: dict[str, dict[str, float]]) -> str:
    """In Markdown."""
    lines = [f"| {'':24} | " + " | ".join(HEADS) + " |", "|---|" + "---|" * len(HEADS)]
    for method, means in methods.items():
        cells = (f"{means[name] * scale:.1f}" if name in means else "" for name, scale in COLUMNS.items())
        lines.append(f"| {method:24} | " + " | ".join(f"{c:>{len(h)}}" for c, h in zip(cells, HEADS)) + " |")
    return "\n".join(lines)


def plot(methods: dict[str, dict[str, float]], path: Path) -> None:
    """How often the new thing is seen against how much of the rest is kept, a curve a form of injection."""
    from matplotlib.figure import Figure

    figure = Figure((11, 5.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for number, (curve, settings) in enumerate(CURVES.items()):
        points = {end: methods[f"{curve} {end}".strip()] for end in settings}
        style = {"marker": "os^Dvp*"[number % 7], "color": f"C{number % 10}", "ls": "-" if number < 10 else "--"}
        for panel, axis, scale in ((panels[0], "psnr", 1), (panels[1], "kept", 100)):
            xs, ys = [p[axis] * scale for p in points.values()], [p["success"] * 100 for p in points.values()]
            panel.plot(xs, ys, ms=5, lw=1.2, label=curve, **style)
            for end, x, y in zip(points, xs, ys):
                panel.annotate(end, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6, color="0.4")
    panels[0].set(xlabel="likeness to the source outside of the edit, PSNR in dB", ylabel="the edit is seen, %")
    panels[1].set(xlabel="all else that the prompt says is kept, %")
    panels[1].legend(fontsize=7, loc="lower left")
    for panel in panels:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
