"""The table and the curves of what has been measured of edits of pictures."""

from __future__ import annotations

import json
from pathlib import Path

from ..report import summed_up, table
from ..results import read

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


def report(folder: Path) -> None:
    """Prints the tables, writes real.json and, of curves, real.png into `folder`."""
    summary = {name: summed_up(read(folder, name), COLUMNS) for name in ("methods", "curves")}
    for name, of in summary.items():
        for kind, methods in of.items():
            print(f"\n{name}, {kind}: {next(iter(methods.values()))['edits']} edits")
            print(table(methods, COLUMNS))
    (folder / "real.json").write_text(json.dumps(summary, indent=1) + "\n")
