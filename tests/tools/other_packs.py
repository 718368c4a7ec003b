#!/usr/bin/env python3
"""Other people's packs, to be tried beside this one: fetches them, and runs their tests.

    python3 tests/tools/other_packs.py [pytest's arguments]       what `make packs` does

They lie in `.comfyui-packs/`, which git ignores, with a Python of their own: nothing of them gets into
the pinned environment. Only the standard library may be imported here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bootstrap

FOLDER = bootstrap.CHECKOUT / ".comfyui-packs"
# Each as it was in the days of the pinned ComfyUI: later ones ask for a later ComfyUI.
PINNED = {
    "ComfyUI-Advanced-ControlNet": ("Kosinkadink", "2bde95a468ce5fd3959f646258606ae221fa1e17"),
    "ComfyUI-AnimateDiff-Evolved": ("Kosinkadink", "90fb1331201a4b29488089e4fbffc0d82cc6d0a9"),
    "ComfyUI-AutomaticCFG": ("Extraltodeus", "2e395317b65c05a97a0ef566c4a8c7969305dafa"),
    "ComfyUI-TiledDiffusion": ("shiimizu", "a155b1bac39147381aeaa52b9be42e545626a44f"),
    "ComfyUI-bleh": ("blepping", "9bb5c7d3dfe6ad825cc6fdac1a62bdcd4ad1d39f"),
    "ComfyUI-deepcache": ("styler00dollar", "14070eb50d82559336cc164c47ef47005c2c405d"),
    "ComfyUI-ppm": ("pamparamm", "3d761451aa50a9e90bd559281054fe2cd0688e1c"),
    "ComfyUI_ADV_CLIP_emb": ("BlenderNeko", "63984deefb005da1ba90a1175e21d91040da38ab"),
    "ComfyUI_Cutoff": ("BlenderNeko", "6c1b1248cbd336000ab1faf779ca603abd560904"),
    "ComfyUI_IPAdapter_plus": ("cubiq", "9d076a3df0d2763cef5510ec5ab807f6632c39f5"),
    "Comfy-WaveSpeed": ("chengzeyi", "8253745127785d820cff0a9621d1537a5aae5424"),
    "RES4LYF": ("ClownsharkBatwing", "46de917234f9fef3f2ab411c41e07aa3c633f4f7"),
    "Skimmed_CFG": ("Extraltodeus", "2712803a8b721665d43d5aeb4430e5ac0e931091"),
    "attention-couple-ComfyUI": ("laksjdjf", "87304616435c59e1724ace024280705d3ae46611"),
    "comfyui-prompt-control": ("asagi4", "66fef1ffe868fa0bf70fe86ba18d102089aed0ed"),
    "comfyui_jankhidiffusion": ("blepping", "54d60e0d187a391682633ab5b6211fd8fe4d73bb"),
    "rgthree-comfy": ("rgthree", "42e73c3c48e8268129a6a1ea6d9766913bfc5435"),
    "sd-perturbed-attention": ("pamparamm", "2be8d83fa44dc0f28baf7be8122e57ed5d7165c3"),
}
FILES = [f"host/test_other_packs{part}.py" for part in ("", "_refused", "_alone")]
NEEDED_BY_PACKS = ["colorama", "lark", "matplotlib", "opencv-python-headless", "pywavelets"]


def fetch(name: str, folder: Path) -> None:
    """Put a pack's pinned commit into `folder`; one that is there is left as it is."""
    owner, commit = PINNED[name]
    if (folder / name).exists():
        return
    coming = folder / f"{name}.coming"
    shutil.rmtree(coming, ignore_errors=True)
    print(f"  {owner}/{name}", flush=True)
    bootstrap.checkout(f"https://github.com/{owner}/{name}", commit, coming)
    coming.rename(folder / name)


def main(argv: list[str]) -> int:
    try:
        stable = bootstrap.prepare()
        python = bootstrap.layered(FOLDER / "venv", stable.python, NEEDED_BY_PACKS)
        folder = Path(os.environ.get("P2P_OTHER_PACKS") or FOLDER / "packs")
        if not os.environ.get("P2P_OTHER_PACKS"):
            print(f"Fetching other packs into {folder}:", flush=True)
            for name in PINNED:
                fetch(name, folder)
    except (bootstrap.SetupError, subprocess.CalledProcessError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    environment = {**os.environ, "COMFYUI_PATH": str(stable.comfyui), "P2P_OTHER_PACKS": str(folder)}
    command = [str(python), "-m", "pytest", *(argv or FILES)]
    return subprocess.run(command, cwd=Path(__file__).resolve().parents[1], env=environment).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
