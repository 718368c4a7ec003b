"""What the registry asks for is there, and the check finds it where it isn't."""

from __future__ import annotations

import pytest
import tomllib

from tools import registry

pytestmark = pytest.mark.skipif(not (registry.ROOT / ".git").exists(), reason="git tells what is published")


def settings() -> dict:
    return tomllib.loads(registry.PYPROJECT.read_text(encoding="utf-8"))


def test_the_registry_would_take_it():
    assert list(registry.faults()) == []


def test_before_it_is_published_the_addresses_are_somebody_s():
    found = list(registry.faults_of_addresses(settings(), publish=True))
    assert [fault.split(":")[0] for fault in found] == ["Repository", "Documentation", "Bug Tracker", "Icon", "Banner"]


def test_the_check_says_plainly_that_the_address_is_nobody_s(capsys):
    assert registry.main(["check"]) == 0
    assert "OWNER/prompt-to-prompt is nobody's" in capsys.readouterr().out


def test_an_address_goes_into_all_of_them(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "pyproject.toml"
    copy.write_text(registry.PYPROJECT.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(registry, "PYPROJECT", copy)
    assert registry.main(["address", "https://example.org/somebody/p2p.git"]) == 0
    assert registry.main(["check"]) == 0
    assert "nobody" not in capsys.readouterr().out
    assert list(registry.faults_of_addresses(settings(), publish=True)) == []
    assert "OWNER/" not in copy.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "ComfyUI-p2p", "name"),
        ("name", "p2p--node", "name"),
        ("version", "0.1", "version"),
        ("version", "9.9.9", "CHANGELOG"),
        ("description", "", "description"),
        ("classifiers", ["Operating System :: BeOS", "Environment :: GPU :: NVIDIA CUDA"], "Operating System"),
        ("classifiers", ["Operating System :: OS Independent"], "Environment"),
    ],
)
def test_what_it_would_not_take_is_said(key, value, said):
    assert any(said in fault for fault in registry.faults_of_project({**settings()["project"], key: value}))


def test_what_users_download_is_what_the_pack_needs():
    files = {str(path) for path in registry.archived()}
    assert {"__init__.py", "pyproject.toml", "README.md", "LICENSE", "p2p_core/demo/demo_model.safetensors"} <= files
    assert {"web/prompt_to_prompt.js", "subgraphs/Prompt-to-Prompt Edit.json", "locales/zh/nodeDefs.json"} <= files
    assert not [name for name in files if name.startswith(("tests/", ".")) or "train" in name]
