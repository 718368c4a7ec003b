#!/usr/bin/env python3
"""What ComfyUI's registry asks of a pack, looked at without a network.

    python3 tests/tools/registry.py check            all that can be checked before somebody publishes
    python3 tests/tools/registry.py check --publish  and that the addresses are those of a repository
    python3 tests/tools/registry.py archive          what a user downloads: its files, and how large they are
    python3 tests/tools/registry.py address URL      puts the repository's address into pyproject.toml

The rules are those of `comfy node validate`, of the registry's documentation and of its scanner. Standard library
only, and ruff.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = ROOT / "pyproject.toml"
PLACEHOLDER = "https://github.com/OWNER/prompt-to-prompt"
SECURITY = "S102,S307,E702"  # exec, eval, and several statements in a line
LARGEST = 100 * 2**20  # bytes
SYSTEMS = ("Microsoft", "POSIX", "MacOS", "OS Independent")
ACCELERATORS = {
    "GPU :: NVIDIA CUDA",
    "GPU :: AMD ROCm",
    "GPU :: Intel Arc",
    "NPU :: Huawei Ascend",
    "GPU :: Apple Metal",
}
VERSION = r"\d+\.\d+\.\d+"


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.splitlines()


def archived() -> list[Path]:
    """The files that are published: those that git knows, without those of .comfyignore."""
    left_out = set(git("ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    return [Path(name) for name in git("ls-files") if name not in left_out and (ROOT / name).exists()]


def packed() -> int:
    """Bytes of the archive."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in archived():
            archive.write(ROOT / path, path)
    return into.getbuffer().nbytes


def faults(publish: bool = False) -> Iterator[str]:
    """What the registry would refuse, or show badly."""
    settings = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    yield from faults_of_project(settings["project"])
    yield from faults_of_comfy(settings["tool"]["comfy"])
    yield from faults_of_addresses(settings, publish)
    yield from faults_of_archive()
    yield from faults_of_nodes()


def faults_of_project(project: dict) -> Iterator[str]:
    name = project["name"]
    if not re.fullmatch(r"[a-z](?:[a-z0-9]|[-_.](?![-_.]))*", name) or len(name) >= 100 or "comfyui" in name:
        yield f"name: '{name}' has other characters than letters, digits and single - _ . between them, or 'comfyui'"
    if not re.fullmatch(VERSION, project["version"]):
        yield f"version: {project['version']} is not of the form 1.2.3"
    newest = re.search(rf"^## ({VERSION})", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if not newest or newest[1] != project["version"]:
        yield f"version: {project['version']} is not the first one in CHANGELOG.md"
    if not (ROOT / project["license"]["file"]).is_file():
        yield "license: there is no such file"
    for key in ("description", "readme", "requires-python"):
        if not project.get(key):
            yield f"{key}: is missing"
    for group, known in (("Operating System :: ", SYSTEMS), ("Environment :: ", ACCELERATORS)):
        named = [entry.removeprefix(group) for entry in project["classifiers"] if entry.startswith(group)]
        if not named or not all(entry.startswith(tuple(known)) for entry in named):
            yield f"classifiers: {group}... are missing or unknown"


def faults_of_comfy(comfy: dict) -> Iterator[str]:
    for key in ("PublisherId", "DisplayName"):
        if not comfy.get(key):
            yield f"{key}: is missing"
    if not re.fullmatch(rf"[<>=!~]+{VERSION}(,\s*[<>=!~]+{VERSION})*", comfy["requires-comfyui"]):
        yield "requires-comfyui: is not of the form >=1.2.3"


def faults_of_addresses(settings: dict, publish: bool) -> Iterator[str]:
    addresses = {**settings["project"]["urls"], **{key: settings["tool"]["comfy"][key] for key in ("Icon", "Banner")}}
    for key in ("Repository", "Documentation", "Bug Tracker", "Icon", "Banner"):
        address = addresses.get(key, "")
        if not address.startswith("https://"):
            yield f"{key}: is no address"
        if publish and address.startswith(PLACEHOLDER):
            yield f"{key}: has nobody's repository in it; run this with 'address URL'"
    for key, (widest, ratio) in {"Icon": (400, 1), "Banner": (2100, 21 / 9)}.items():
        picture = ROOT / addresses[key].split("/raw/main/")[-1]
        if not picture.is_file():
            yield f"{key}: there is no {picture.relative_to(ROOT)}"
            continue
        width, height = (int.from_bytes(picture.read_bytes()[at : at + 4], "big") for at in (16, 20))  # a PNG's
        if width > widest or abs(width / height - ratio) > 0.02:
            yield f"{key}: {width} x {height} is too wide, or of another shape than the registry's"


def faults_of_archive() -> Iterator[str]:
    files = set(archived())
    if unwanted := sorted(str(path) for path in files if path.parts[0] in ("tests", ".github", ".ci")):
        yield f"archive: {unwanted[0]} is of no use to those who install the pack"
    for path in sorted(path for path in files if path.suffix == ".py"):
        for target in imported(path):
            if not any(t in files for t in (target.with_suffix(".py"), target / "__init__.py")):
                yield f"archive: {path} imports {target}, which is left out"
    if (size := packed()) > LARGEST:
        yield f"archive: {size / 2**20:.0f} MiB are too much"
    python = [str(path) for path in sorted(files) if path.suffix == ".py"]
    command = [sys.executable, "-m", "ruff", "check", "-q", "--select", SECURITY, *python]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        yield f"security: {done.stdout or done.stderr}"


def imported(path: Path) -> Iterator[Path]:
    """The pack's own modules that a file of it imports when it is loaded or later."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1]
            if node.module:
                yield base / node.module.replace(".", "/")
            else:
                yield from (base / alias.name for alias in node.names)


def faults_of_nodes() -> Iterator[str]:
    """The scanner reads the classes of nodes without running them, and takes a class's name for its node's."""
    for path in sorted((ROOT / "nodes").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any("ComfyNode" in ast.unparse(base) for base in node.bases):
                ids = [
                    keyword.value.value
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call)
                    for keyword in call.keywords
                    if keyword.arg == "node_id"
                ]
                if ids != [node.name]:
                    yield f"nodes: the class {node.name} has the node id {', '.join(ids)}"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["check"] | ["check", "--publish"]:
            found = list(faults(publish="--publish" in arguments))
            print("\n".join(found) or "The registry would take it.")
            if "--publish" not in arguments and PLACEHOLDER in PYPROJECT.read_text(encoding="utf-8"):
                print(f"But not to be published yet: {PLACEHOLDER} is nobody's. Run this with 'address URL' before.")
            return int(bool(found))
        case ["archive"]:
            sizes = {path: (ROOT / path).stat().st_size for path in archived()}
            for path, size in sizes.items():
                print(f"{size:>10,}  {path}")
            print(f"{sum(sizes.values()):>10,}  in {len(sizes)} files; {packed():,} as an archive")
            return 0
        case ["address", url]:
            text = PYPROJECT.read_text(encoding="utf-8")
            PYPROJECT.write_text(text.replace(PLACEHOLDER, url.rstrip("/").removesuffix(".git")), encoding="utf-8")
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
