"""Every node as ComfyUI lists it: ids, inputs in order, types, defaults, outputs. Saved workflows rely on it.

A deliberate change is recorded with: CONTRACT=write python -m pytest host/test_nodes.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from bootstrap import CHECKOUT

DOCS = CHECKOUT / "web" / "docs"
CONTRACT = Path(__file__).with_name("node_contract.json")
NODES = list(json.loads(CONTRACT.read_text(encoding="utf-8"))) if CONTRACT.exists() else []
# ComfyUI's own lists, which grow with it.
GROWING = ("sampler_name", "scheduler")


def as_recorded(definition: dict) -> dict:
    """What workflows depend on, and nothing that may be worded differently tomorrow."""
    inputs = {}
    for kind in ("required", "optional"):
        for name, spec in definition["input"].get(kind, {}).items():
            given = spec[1] if len(spec) > 1 else {}
            settings = {key: given[key] for key in ("default", "min", "max", "options", "multiline") if key in given}
            if name in GROWING:
                settings.pop("options", None)
            inputs[name] = {
                "type": spec[0] if name not in GROWING else "COMBO",
                "required": kind == "required",
                **settings,
            }
    outputs = list(zip(definition["output_name"], definition["output"], strict=True))
    order = [*definition["input_order"].get("required", []), *definition["input_order"].get("optional", [])]
    assert order == list(inputs)
    return {
        "category": definition["category"],
        "output_node": definition["output_node"],
        "inputs": inputs,
        "outputs": [list(output) for output in outputs],
    }


@pytest.fixture(scope="module")
def listed(server):
    return {
        name: definition
        for name, definition in sorted(server.object_info().items())
        if definition["python_module"] == "custom_nodes.prompt-to-prompt"
    }


def test_the_nodes_are_the_recorded_ones(listed):
    current = {name: as_recorded(definition) for name, definition in listed.items()}
    if os.environ.get("CONTRACT") == "write":
        CONTRACT.write_text(json.dumps(current, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    recorded = json.loads(CONTRACT.read_text(encoding="utf-8"))
    assert list(current) == list(recorded)
    for name, node in current.items():
        assert node == recorded[name], name
        # Order counts: a workflow stores the values of a node's widgets as a list.
        assert list(node["inputs"]) == list(recorded[name]["inputs"]), name


@pytest.mark.parametrize("node", NODES)
def test_everything_is_explained(listed, node):
    definition = listed[node]
    inputs = {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}
    assert definition["description"]
    assert [name for name, spec in inputs.items() if not spec[1].get("tooltip")] == []
    assert all(definition["output_tooltips"])


def help_page(node: str, language: str) -> str:
    """ComfyUI shows `<node>/<language>.md` where it is, and `<node>.md` to everybody else."""
    page = DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("node", NODES)
def test_no_text_is_drawn_anew_by_the_page(listed, node):
    """{red|blue} in two texts of one edit would be drawn twice."""
    inputs = {**listed[node]["input"].get("required", {}), **listed[node]["input"].get("optional", {})}
    assert [name for name, spec in inputs.items() if len(spec) > 1 and spec[1].get("dynamicPrompts")] == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("node", NODES)
def test_every_node_has_a_help_page(node, language):
    text = help_page(node, language)
    assert text.startswith("# ")
    for part in text.split("](")[1:]:
        target = part.split(")")[0]
        if not target.startswith("http"):
            assert (DOCS / target).exists(), target  # whatever the language, addresses are read from there


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("node", NODES)
def test_every_input_is_on_the_help_page(listed, node, language):
    text = help_page(node, language)
    inputs = {**listed[node]["input"].get("required", {}), **listed[node]["input"].get("optional", {})}
    assert [name for name in inputs if f"`{name}`" not in text] == []


@pytest.mark.parametrize("node", NODES)
def test_both_languages_name_the_same_things(node):
    """Inputs, choices, examples of what to type: what stands between backticks is the same in both, as are pictures."""
    pages = [help_page(node, language) for language in ("en", "zh")]
    quoted, pictures = ([set(re.findall(found, page)) for page in pages] for found in (r"`([^`]+)`", r"\]\(([^)]+)\)"))
    # The Chinese page may say a batch's parts, or an example, in its own words.
    assert {text for text in quoted[0] ^ quoted[1] if text.isascii() and not text.startswith("[")} == set()
    assert pictures[0] == pictures[1]
    assert pages[0].count("\n## ") == pages[1].count("\n## ")
    assert pages[0].count("\n|") == pages[1].count("\n|")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_translations_are_complete(listed, language):
    """In ComfyUI's form: node -> display_name, description, inputs and outputs with name and tooltip."""
    texts = json.loads((CHECKOUT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert sorted(texts) == sorted(listed)
    for node, definition in listed.items():
        inputs = {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}
        translated = texts[node]
        assert translated["display_name"], node
        assert translated["description"], node
        assert list(translated.get("inputs", {})) == list(inputs), node
        assert list(translated["outputs"]) == [str(i) for i in range(len(definition["output"]))], node
        for entry in (*translated.get("inputs", {}).values(), *translated["outputs"].values()):
            assert entry["name"], node
            assert entry["tooltip"], node


def test_the_english_is_the_nodes_own(listed):
    """So that nothing is explained in two ways."""
    texts = json.loads((CHECKOUT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    for node, definition in listed.items():
        inputs = {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}
        assert texts[node]["display_name"] == definition["display_name"]
        assert texts[node]["description"] == definition["description"]
        for name, spec in inputs.items():
            assert texts[node]["inputs"][name]["tooltip"] == spec[1]["tooltip"], f"{node}.{name}"
        for number, tooltip in enumerate(definition["output_tooltips"]):
            assert texts[node]["outputs"][str(number)]["tooltip"] == tooltip, f"{node}, output {number}"


def test_what_few_people_touch_is_folded_away(listed):
    """In Nodes 2.0, and nowhere else: a workflow's JSON has every input as before."""
    folded = {
        node: {
            name
            for group in ("required", "optional")
            for name, spec in definition["input"].get(group, {}).items()
            if spec[1].get("advanced")
        }
        for node, definition in listed.items()
    }
    assert folded["AttentionInjectSchedule"] >= {"cross_start", "self_start", "ramp", "self_layers", "blocks"}
    assert not folded["AttentionInjectSchedule"] & {"cross_end", "self_end", "word_windows"}
    assert folded["P2PSampler"] == {"trajectory"}
    assert not folded["PromptPairAlign"]
