#!/usr/bin/env python3
"""The host tests on one ComfyUI after another, from the oldest that the pack works with to the newest it has met.

    python3 tests/tools/matrix.py                         all of them
    python3 tests/tools/matrix.py 0.3.60 0.33.0           these
    python3 tests/tools/matrix.py 0.33.0 -- host -k nodes with arguments for pytest

Each lies in `.comfyui-<version>/`, which git ignores: ComfyUI at the commit of its release, and a Python with the
packages that it asks for, which finds torch and all else in the pinned environment. COMFYUI_GIT=/a/clone fetches
from there; a ComfyUI that is in place already is used as it is. Only the standard library may be imported here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bootstrap

REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
TESTS = Path(__file__).resolve().parents[1]
RELEASES = {
    "0.3.59": "72212fef660bcd7d9702fa52011d089c027a64d8",
    "0.3.60": "b8730510db30c8858e1e5d8e126ef19eac395560",
    "0.3.76": "30c259cac8c08ff8d015f9aff3151cb525c9b702",
    "0.8.2": "2e9d51680a90bca9cc375ba7767f7bf3ed27d563",
    "0.18.1": "ebf6b52e322664af91fcdc8b8848d31d5fb98f66",
    "0.26.0": "f6c162ddcfbd7eefb39c06fe5b8d4c46e8d09f40",
    "0.33.0": "2f35f4a08176d993cded35dac3332be4f7287f41",
}
OLDEST = "0.3.60"  # on the ones before it only says that it needs a newer one


def environment(version: str) -> bootstrap.Environment:
    """ComfyUI `version` and a Python for it, made if need be."""
    folder = bootstrap.CHECKOUT / f".comfyui-{version}"
    comfyui = folder / "ComfyUI"
    if not (comfyui / "main.py").is_file():
        print(f"Fetching ComfyUI {version} into {folder}", flush=True)
        bootstrap.checkout(os.environ.get("COMFYUI_GIT", REPOSITORY), RELEASES[version], comfyui)
    below = bootstrap.prepare().python
    python = bootstrap.layered(folder / "venv", below, ["-r", str(comfyui / "requirements.txt")])
    return bootstrap.Environment(comfyui, python)


def run(version: str, arguments: list[str]) -> str:
    """pytest's last line on ComfyUI `version`; all that it said is in a log beside it."""
    env = environment(version)
    log = env.comfyui.parent / "tests.log"
    began = time.monotonic()
    with log.open("w") as output:
        subprocess.run(  # noqa: S603
            [str(env.python), "-m", "pytest", *arguments],
            cwd=TESTS,
            env={**os.environ, "COMFYUI_PATH": str(env.comfyui)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return f"{counts(log.read_text())}   {time.monotonic() - began:4.0f} s   {log}"


def counts(log: str) -> str:
    """What pytest counted: "1 failed, 611 passed"."""
    lines = [line.strip("= \n") for line in log.splitlines() if re.search(r"\d+ (passed|failed|error|skipped)", line)]
    return re.sub(r"(, \d+ warnings?)? in .*", "", lines[-1]) if lines else "did not run"


def main(argv: list[str]) -> int:
    split = argv.index("--") if "--" in argv else len(argv)
    versions, arguments = argv[:split] or list(RELEASES), argv[split + 1 :]
    unknown = [version for version in versions if version not in RELEASES]
    if unknown:
        print(f"Not among the releases of {__file__}: {', '.join(unknown)}.", file=sys.stderr)
        return 2
    good = True
    for version in versions:
        try:
            old = list(RELEASES).index(version) < list(RELEASES).index(OLDEST)
            said = run(version, arguments or (["host/test_old_comfyui.py"] if old else ["host"]))
        except (bootstrap.SetupError, subprocess.CalledProcessError) as error:
            said = f"could not be set up: {error}"
        good &= bool(re.match(r"\d+ passed", said))
        print(f"ComfyUI {version:8}  {said}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
