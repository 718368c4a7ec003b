"""The house is as its plan says: arrows go one way, each host has its folder, and nothing runs but the code."""

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


FOLDERS = {
    "hosts/comfy": COMFY,
    "hosts/diffusers": {"diffusers", "transformers", "psutil"},
    "demo": {"diffusers", "transformers", "tokenizers", "PIL", "numpy"},
    "show": {"PIL", "numpy"},
    "command": {"PIL"},
    "pairs": {"pyarrow", "ray", "tqdm", "transformers", "PIL", "numpy"},
}
"""For each folder of p2p_core what it alone may import, beside torch and Python's own modules."""


def folder(path: Path) -> str:
    """Of a file in p2p_core: "" for the engine."""
    return path.parent.relative_to(ROOT / "p2p_core").as_posix().removeprefix(".")


@pytest.mark.parametrize("path", CORE, ids=name)
def test_each_host_and_drawing_has_its_folder(path):
    allowed = {"torch", "safetensors", "__future__", *sys.stdlib_module_names, *FOLDERS.get(folder(path), ())}
    assert {module for module in imported(path) if not module.startswith(".")} <= allowed


ARROWS = {
    "": [""],
    "spelling": ["", "spelling"],
    "trials": ["", "trials"],
    "demo": ["demo"],
    "show": ["", "trials", "show"],
    "hosts": [],
    "hosts/comfy": ["", "spelling", "trials", "demo", "hosts/comfy"],
    "hosts/diffusers": ["", "spelling", "trials", "demo", "hosts/diffusers"],
    "command": ["", "trials", "show", "hosts/diffusers", "command"],
    "pairs": ["", "show", "demo", "hosts/diffusers", "pairs"],
}
"""For each folder of p2p_core those that it may import from; the engine is ""."""
ENTRANCES = {"p2p_core/__main__.py": ["command", "pairs"], "p2p_core/edit_image.py": ["command"]}
"""The documented ways in, and the folders that each opens."""
ENGINE = [
    ["errors", "words", "tokens", "layers", "rows", "noise", "blend"],
    ["alignment", "schedule", "architecture", "picture", "values"],
    ["edit", "attention", "step"],
    ["maps", "predictions", "recording", "run", "replay", "recording_file"],
]
"""The engine's files from the first to the last: each may import those of earlier lines, and of its own to its left."""


def targets(path: Path) -> set[tuple[str, str]]:
    """(folder, module) of everything in p2p_core that a file of it imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for module in names:
                target = base / module.replace(".", "/")
                found.add((folder(target / "__init__.py"), "") if target.is_dir() else (folder(target), target.name))
    return found


@pytest.mark.parametrize("path", CORE, ids=name)
def test_arrows_go_one_way_between_folders(path):
    allowed = ARROWS[folder(path)]
    if name(path) in ENTRANCES:
        allowed = ENTRANCES[name(path)]
    assert {where for where, _ in targets(path)} <= set(allowed)


@pytest.mark.parametrize("path", [path for path in CORE if folder(path) == ""], ids=name)
def test_arrows_go_one_way_in_the_engine(path):
    order = [module for line in ENGINE for module in line]
    if name(path) in ENTRANCES or path.name == "__init__.py":
        return
    earlier = order[: order.index(path.stem)]
    assert {module for where, module in targets(path) if where == ""} <= set(earlier)


@pytest.mark.parametrize("path", [path for path in PACK if ROOT / "nodes" not in path.parents], ids=name)
def test_only_the_entrance_knows_the_nodes(path):
    assert path == ROOT / "__init__.py" or not any("nodes" in module for module in imported(path))


@pytest.mark.parametrize("path", [path for path in CORE if path.name == "__init__.py"], ids=name)
def test_each_folder_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PACK, ids=name)
def test_nothing_runs_but_the_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"eval", "exec", "compile", "__import__"}
    if TRAINING not in path.parents:
        assert not imported(path) & {"pickle", "subprocess", "socket", "urllib", "requests", "httpx", "pip", "ctypes"}


def raised(path: Path) -> list[list[tuple[str, str]]]:
    """For each EditError of a file how its parts that are written there begin and end."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    named = [call for call in calls if getattr(call.func, "id", "") == "EditError"]
    return [[ends(part) for part in call.args] for call in named if not any(map(is_starred, call.args))]


def is_starred(part: ast.expr) -> bool:
    return isinstance(part, ast.Starred)


def ends(text: ast.expr) -> tuple[str, str]:
    """The first and the last letter of a text, where they are written and not made."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    first, last = (part.value if isinstance(part, ast.Constant) else "" for part in (parts[0], parts[-1]))
    return first[:1], last[-1:]


@pytest.mark.parametrize("path", PACK, ids=name)
def test_an_error_is_an_input_a_problem_and_a_remedy(path):
    for _, problem, *remedy in raised(path):
        assert not problem[0].isupper()
        assert not any(first.islower() for first, _ in remedy)
        assert {last for _, last in (problem, *remedy)} <= {".", ""}


NODES = {"ComfyUI", *(path.stem for path in (ROOT / "web" / "docs").glob("[A-Z]*.md"))}


@pytest.mark.parametrize("path", [path for path in CORE if folder(path) in ("", "trials", "show")], ids=name)
def test_what_the_engine_says_names_no_node(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    comments = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    said = [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and n not in comments
    ]
    assert [text for text in said if any(node in text for node in NODES)] == []


def test_linter():
    """Style, and the registry's security rules, as pyproject.toml sets them."""
    command = [sys.executable, "-m", "ruff", "check", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout
