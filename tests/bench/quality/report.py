"""The table and the plot of what the benchmark has measured."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean

from .cases import KINDS
from .contenders import CURVES
from .results import read

COLUMNS = {  # their heads and scales
    "success": ("success %", 100),
    "kept": ("kept %", 100),
    "both": ("both %", 100),
    "psnr": ("PSNR dB", 1),
    "structure": ("structure ·10³", 1000),
    "seconds": ("seconds", 1),
}
PLOTTED = (
    "[a:b:step]",
    "cross",
    "self",
    "both, falling",
    "self and blend",
    "cross 1.0, self and blend",
    "shared",
    "no injection",
)


def report(folder: Path) -> None:
    """Prints the tables, writes edits.json and, of curves, edits.png into `folder`."""
    summary = {name: summed_up(read(folder, name)) for name in ("methods", "curves")}
    for name, of in summary.items():
        for kind, methods in of.items():
            print(f"\n{name}, {kind}: {next(iter(methods.values()))['edits']} edits")
            print(table(methods))
    (folder / "edits.json").write_text(json.dumps(summary, indent=1) + "\n")
    if summary["curves"]:
        plot(summary["curves"]["all"], folder / "edits.png", {curve: CURVES[curve] for curve in PLOTTED})


def summed_up(rows: list[dict], columns: Iterable[str] = COLUMNS) -> dict[str, dict[str, dict[str, float]]]:
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
            summary[kind] = {m: {"edits": len(chosen), **_means((of[m] for of in chosen), columns)} for m in methods}
    return summary


def _means(rows: Iterable[dict], columns: Iterable[str]) -> dict[str, float]:
    rows = list(rows)
    values = {name: [row[name] for row in rows if name in row] for name in columns}
    return {name: round(mean(of), 5) for name, of in values.items() if of}


def table(methods: dict[str, dict[str, float]], columns: Mapping[str, tuple[str, int]] = COLUMNS) -> str:
    """In Markdown."""
    heads = [head for head, _ in columns.values()]
    lines = [f"| {'':24} | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for method, means in methods.items():
        cells = (f"{means[name] * scale:.1f}" if name in means else "" for name, (_, scale) in columns.items())
        lines.append(f"| {method:24} | " + " | ".join(f"{c:>{len(h)}}" for c, h in zip(cells, heads)) + " |")
    return "\n".join(lines)


def plot(methods: dict[str, dict[str, float]], path: Path, curves: Mapping[str, Iterable[str]]) -> None:
    """How often an edit is right against how much of the rest is kept, along curves: the ends of each by its name."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for number, (curve, ends) in enumerate(curves.items()):
        ends = list(ends)
        points = [methods[f"{curve} {end}".strip()] for end in ends]
        xs = [point["psnr"] for point in points]
        for panel, seen in zip(panels, ("success", "both")):
            ys = [100 * point[seen] for point in points]
            panel.plot(xs, ys, marker="osD^v<PX"[number], color=f"C{number}", ms=5, lw=1.4, label=curve)
            for i in {0, len(ends) - 1}:
                panel.annotate(ends[i], (xs[i], ys[i]), (4, 4), textcoords="offset points", fontsize=7, color="0.35")
    panels[0].set_title("the new thing is seen, %", fontsize=10, loc="left")
    panels[1].set_title("it is seen, and all else that the prompt says is kept, %", fontsize=10, loc="left")
    for panel in panels:
        panel.set_xlabel("likeness to the source outside of the edit, PSNR in dB")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    figure.savefig(path, dpi=130)
