"""The table and the curves of what has been measured of edits of pictures."""

from __future__ import annotations

import json
from pathlib import Path

from ..report import summed_up, table
from ..results import read
from .contenders import CURVES

COLUMNS = {
    "success": ("seen %", 100),
    "kept": ("kept %", 100),
    "both": ("right %", 100),
    "psnr": ("PSNR dB", 1),
    "psnr_vae": ("against its VAE", 1),
    "drawn": ("to the true edit", 1),
    "structure": ("structure ·10³", 1000),
    "off": ("source off by", 1),
    "seconds": ("seconds", 1),
}
ENDING_IN_DEFAULTS = ("fidelity", "denoise", "source_cfg", "release")
APART = ("cross, self", "source_cfg 3,", "Direct Inversion", "FlowEdit")


def report(folder: Path) -> None:
    """Prints the tables, writes real.json and, of curves, real.png into `folder`."""
    summary = {name: summed_up(read(folder, name), COLUMNS) for name in ("methods", "curves")}
    for name, of in summary.items():
        for kind, methods in of.items():
            print(f"\n{name}, {kind}: {next(iter(methods.values()))['edits']} edits")
            print(table(methods, COLUMNS))
    (folder / "real.json").write_text(json.dumps(summary, indent=1) + "\n")
    if summary["curves"]:
        plot(summary["curves"]["all"], folder / "real.png")


def plot(methods: dict[str, dict[str, float]], path: Path) -> None:
    """How often an edit is right, and how near it is to the true one, against how much of the picture is kept."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..labels import Mark, label

    figure = Figure((10, 6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharex=True)
    marks = [], []
    for number, curve in enumerate((*ENDING_IN_DEFAULTS, *APART)):
        points = {end: methods.get(f"{curve} {end}".strip()) for end in CURVES[curve]}
        points = {end: point for end, point in points.items() if point}
        lines = [*points.values(), *([methods["defaults"]] if curve in ENDING_IN_DEFAULTS else [])]
        xs = [point["psnr"] for point in lines]
        style = {"marker": "osD^v<PX"[number], "color": f"C{number}", "label": curve.strip(",")}
        for panel, marked, seen, scale in zip(panels, marks, ("both", "drawn"), (100, 1)):
            ys = [scale * point[seen] for point in lines]
            panel.plot(xs, ys, ms=5, lw=1.2, ls="-" if curve in ENDING_IN_DEFAULTS else "none", **style)
            marked += [Mark(x, y, end, style["color"]) for x, y, end in zip(xs, ys, points)]
    for panel, marked, seen, scale in zip(panels, marks, ("both", "drawn"), (100, 1)):
        at = methods["defaults"]["psnr"], scale * methods["defaults"][seen]
        marked.append(Mark(*at, "", "black"))
        panel.plot(*at, marker="*", ms=13, color="black", ls="none", label="defaults")
    panels[0].set_title("the new thing is seen, and all else is kept, %", fontsize=10, loc="left")
    panels[1].set_title("likeness to the true edit, PSNR in dB", fontsize=10, loc="left")
    for panel in panels:
        panel.set_xlabel("likeness to the picture where the true edit is the same, PSNR in dB")
        panel.margins(x=0.14)  # where labels find room
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # so that labels are where they were measured
    for panel, marked in zip(panels, marks):
        label(panel, marked)
    figure.savefig(path)
