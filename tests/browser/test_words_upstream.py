"""The word picker finds the prompts, however they reach it."""

from __future__ import annotations

import pytest
from picker import PAIR, PROMPTS, REWEIGHT, words
from workflows import EVERYTHING, EVERYTHING_LINKS, ID


def test_through_reroutes_and_bypassed_nodes(canvas):
    nodes = {
        "align": PAIR,
        "reroute": ("Reroute", {}, [400, 300]),
        "bypassed": ("AttentionInjectSchedule", {}, [400, 400]),
        "reweight": REWEIGHT,
    }
    canvas.build(nodes, [("bypassed", "edit", "reweight", "edit")])
    canvas.page.evaluate(
        """() => { const { graph } = window.app; const n = (id) => graph.nodes.find((node) => String(node.id) === id);
             n("1").connect(0, n("2"), 0); n("2").connect(0, n("3"), 0); n("3").mode = 4;
             const link = graph.getLink(n("4").inputs[0].link);
             graph.createReroute?.([450, 200], link); }"""
    )
    canvas.record()
    canvas.frames(4)
    assert "dog" in words(canvas.view("4"))
    canvas.on("3", "(node) => { node.mode = 2; }")
    canvas.record()
    canvas.frames(4)
    assert words(canvas.view("4")) == {}


# A Set and a Get node as several packs have them: no link goes between them, and the front end asks the Get node.
SET_AND_GET = """() => {
  const { LiteGraph } = window;
  class Virtual extends LiteGraph.LGraphNode {
    isVirtualNode = true;
  }
  class SetNode extends Virtual {
    constructor(title) { super(title); this.addInput("value", "*"); }
  }
  class GetNode extends Virtual {
    constructor(title) { super(title); this.addOutput("value", "*"); }
    findSetter(graph) { return graph.nodes.find((node) => node instanceof SetNode); }
    getInputLink(slot) { return SetNode.prototype.getInputLink.call(this.findSetter(this.graph), slot); }
  }
  class Unknown extends Virtual {
    constructor(title) { super(title); this.addOutput("value", "*"); }
  }
  LiteGraph.registerNodeType("TestSet", SetNode);
  LiteGraph.registerNodeType("TestGet", GetNode);
  LiteGraph.registerNodeType("TestUnknown", Unknown);
}"""


def test_through_set_and_get_nodes(canvas):
    canvas.page.evaluate(SET_AND_GET)
    nodes = {"align": PAIR, "get": ("TestGet", {}, [400, 400]), "reweight": REWEIGHT}
    canvas.build(nodes, [("get", "value", "reweight", "edit")])
    assert words(canvas.view("3")) == {}
    canvas.page.evaluate(
        """() => { const { graph } = window.app;
             const node = window.LiteGraph.createNode("TestSet");
             graph.add(node);
             graph.nodes.find(({ type }) => type === "PromptPairAlign").connect(0, node, 0); }"""
    )
    canvas.record()
    canvas.frames(4)
    assert "dog" in words(canvas.view("3"))


def test_prompts_that_only_a_run_knows(canvas):
    text = ("StringConcatenate", {"string_a": "a dog", "string_b": "on a car", "delimiter": " "}, [-100, 500])
    links = [*EVERYTHING_LINKS, ("text", "STRING", "align", "edit_prompt")]
    canvas.build({**EVERYTHING, "text": text}, links)
    picker, blend = canvas.view(ID["reweight"]), canvas.view(ID["blend"])
    windows = canvas.view(ID["schedule"]).locator(".p2p-word-choice")
    assert "queue once to see its words" in picker.inner_text()
    assert windows.inner_text() == "no words yet: queue once"
    assert words(blend, '[data-input="source_words"]')["cat"]
    assert "queue once" in canvas.view(ID["align"]).inner_text()
    canvas.run()
    canvas.tokens_shown()
    assert words(picker) == {"a#1": False, "dog": True, "on": False, "a#2": False, "car": False}
    assert "car" in windows.inner_text()
    # They are those of this source, not of another.
    canvas.set(ID["align"], "source_prompt", "an owl")
    assert "queue once to see its words" in picker.inner_text()
    assert "owl" in words(blend, '[data-input="source_words"]')


def test_an_edit_that_cannot_be_followed_is_one_that_was_run(canvas):
    canvas.page.evaluate(SET_AND_GET)
    apart = {"apart": ("AttentionReweight", {}, [2000, 0]), "unknown": ("TestUnknown", {}, [1900, 300])}
    canvas.build({**EVERYTHING, **apart}, [*EVERYTHING_LINKS, ("unknown", "value", "apart", "edit")])
    picker = canvas.view("12")
    assert "queue once to see its words" in picker.inner_text()
    canvas.run()
    canvas.tokens_shown()
    assert list(words(picker)) == ["a#1", "dog", "sitting", "on", "a#2", "blue", "car"]


# As packs do that connect free inputs by themselves: nothing is on the canvas, and the prompt has the links.
CONNECT = """([edit, clip]) => {
  const { app } = window;
  const before = app.graphToPrompt;
  app.graphToPrompt = async function (...args) {
    const made = await before.apply(this, args);
    for (const [id, { class_type, inputs }] of Object.entries(made.output)) {
      if (class_type === "AttentionReweight") inputs.edit ??= [edit, 0];
      if (class_type === "PromptPairAlign") inputs.clip ??= [clip, 1];
    }
    return made;
  };
  window.p2pRestore = () => { app.graphToPrompt = before; };
}"""


def test_an_edit_that_another_pack_connects_while_queueing_is_known_after_a_run(canvas):
    """Of two edits it is the one that the run had."""
    other = {"other": ("PromptPairAlign", {**PROMPTS, "edit_prompt": "an owl"}, [0, 900])}
    links = [link for link in EVERYTHING_LINKS if link[2:] != ("reweight", "edit") and link[2:] != ("align", "clip")]
    canvas.build({**EVERYTHING, **other}, links)
    canvas.page.evaluate(CONNECT, [ID["align"], ID["demo"]])
    try:
        picker = canvas.view(ID["reweight"])
        assert "queue once" in picker.inner_text()
        canvas.run()
        canvas.page.wait_for_function("(view) => view.querySelector('.p2p-toggle')", arg=picker.element_handle())
        assert list(words(picker)) == ["a#1", "dog", "sitting", "on", "a#2", "blue", "car"]
        canvas.set(ID["reweight"], "words", "")
        canvas.set(ID["align"], "edit_prompt", "an owl")
        assert list(words(picker)) == ["an", "owl"]
    finally:
        canvas.page.evaluate("() => window.p2pRestore()")


def test_a_chain_of_set_and_get_nodes_reroutes_and_constants_is_followed(canvas):
    canvas.page.evaluate(SET_AND_GET)
    second = {"get": ("TestGet", {}, [400, 400]), "reroute": ("Reroute", {}, [600, 400])}
    text = {"text": ("PrimitiveStringMultiline", {"value": "an owl"}, [-300, 400])}
    links = [("text", "STRING", "align", "edit_prompt"), ("reroute", "", "reweight", "edit")]
    canvas.build({"align": PAIR, "reweight": REWEIGHT, **second, **text}, links)
    canvas.page.evaluate(
        """() => { const { graph } = window.app;
             const of = (wanted) => graph.nodes.find(({ type }) => type === wanted);
             const set = window.LiteGraph.createNode("TestSet");
             graph.add(set);
             of("PromptPairAlign").connect(0, set, 0);
             of("TestGet").connect(0, of("Reroute"), 0);
             of("Reroute").connect(0, of("AttentionReweight"), 0); }"""
    )
    canvas.record()
    canvas.frames(4)
    assert list(words(canvas.view("2"))) == ["an", "owl"]


def test_choices_in_braces_are_queued_as_they_are_written(canvas):
    """Drawn for each text by itself, source and edit would differ in what nobody meant to change."""
    canvas.build({"align": ("PromptPairAlign", {"source_prompt": "a {red|blue} car", "edit_prompt": ""}, [0, 0])})
    assert canvas.prompt()["1"]["inputs"]["source_prompt"] == "a {red|blue} car"


def test_words_are_those_that_the_encoder_saw(canvas):
    """An embedding that there is none of is left out by ComfyUI, which the page can't know."""
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.set(ID["align"], "edit_prompt", f"a dog, embedding:nosuch{canvas.rendering}")
    picker = canvas.view(ID["reweight"])
    assert list(words(picker)) == ["a", "dog", f"nosuch{canvas.rendering}"]
    canvas.run()
    canvas.tokens_shown()
    assert list(words(picker)) == ["a", "dog"]


@pytest.mark.parametrize("kind", ["PrimitiveString", "PrimitiveNode"])
def test_constants_upstream_arrive(canvas, kind):
    canvas.build({"align": PAIR, "reweight": REWEIGHT}, [("align", "edit", "reweight", "edit")])
    canvas.page.evaluate(
        """(kind) => { const { graph } = window.app;
             const [align] = graph.nodes;
             const node = window.LiteGraph.createNode(kind);
             graph.add(node);
             node.connect(0, align, align.inputs.findIndex((input) => input.name === "edit_prompt"));
             node.widgets[0].value = "an owl"; }""",
        kind,
    )
    canvas.record()
    canvas.frames(4)
    assert list(words(canvas.view("2"))) == ["an", "owl"]


@pytest.mark.parametrize("inside", [["1"], ["2"], ["1", "2"]], ids=["prompts", "picker", "both"])
def test_through_the_walls_of_a_subgraph(canvas, inside):
    canvas.build({"align": PAIR, "reweight": REWEIGHT, "next": ("AttentionReweight", {}, [900, 0])},
                 [("align", "edit", "reweight", "edit"), ("reweight", "edit", "next", "edit")])  # fmt: skip
    canvas.page.evaluate(
        """(ids) => { const { graph } = window.app;
             graph.convertToSubgraph(new Set(graph.nodes.filter((node) => ids.includes(String(node.id))))); }""",
        inside,
    )
    canvas.record()
    canvas.frames(6)
    assert "dog" in words(canvas.view("3"))
    if "2" not in inside:
        return
    seen = canvas.page.evaluate(
        """async () => { const host = window.app.graph.nodes.find((node) => node.subgraph);
             window.app.canvas.setGraph(host.subgraph);
             for (let i = 0; i < 8; i++) await new Promise(requestAnimationFrame);
             const picker = host.subgraph.nodes.find((node) => node.comfyClass === "AttentionReweight");
             const view = picker.widgets.find((w) => w.element?.classList.contains("p2p-view")).element;
             const seen = [view.isConnected, view.innerText];
             window.app.canvas.setGraph(window.app.rootGraph ?? window.app.graph.rootGraph);
             return seen; }"""
    )
    assert seen[0]
    assert "dog" in seen[1]
    canvas.load(canvas.saved())
    assert "dog" in words(canvas.view("3"))
