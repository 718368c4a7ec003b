"""The house is as its plan says: arrows go one way, each host has one file, and nothing runs but the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest

ROOT = bootstrap.CHECKOUT
CORE = sorted((ROOT / "p2p_core").rglob("*.py"))
PACK = [ROOT / "__init__.py", *sorted((ROOT / "nodes").glob("*.py")), *CORE]
TRAINING = ROOT / "p2p_core" / "demo"
COMFY = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "latent_preview", "nodes", "server"}


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports absolutely, and the relative ones with their dots."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "") if node.level else node.module.split(".")[0])
    return names


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_only_the_host_s_file_knows_the_host(path):
    if path.name != "comfy.py":
        assert not imported(path) & COMFY
    if TRAINING not in path.parents and not (path.parent.name == "hosts" and path.name != "comfy.py"):
        assert not imported(path) & {"diffusers", "transformers"}


@pytest.mark.parametrize("path", PACK, ids=name)
def test_arrows_go_one_way(path):
    if ROOT / "p2p_core" in path.parents:
        assert not any("nodes" in module for module in imported(path) if module.startswith("."))


@pytest.mark.parametrize("path", PACK, ids=name)
def test_nothing_runs_but_the_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"eval", "exec", "compile", "__import__"}
    if TRAINING not in path.parents:
        assert not imported(path) & {"pickle", "subprocess", "socket", "urllib", "requests", "httpx", "pip", "ctypes"}


def test_linter():
    """Style, and the registry's security rules, as pyproject.toml sets them."""
    command = [sys.executable, "-m", "ruff", "check", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout
