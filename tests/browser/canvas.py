"""Drive the front end in a page: load workflows, find views, read what would be saved and queued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from support.comfy_client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

WORKFLOWS = Path(__file__).parent.parent.parent / "example_workflows"

SETTINGS = {
    "Comfy.TutorialCompleted": True,  # or the template browser covers the canvas
    "Comfy.VueNodes.AutoScaleLayout": False,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.EnableTooltips": False,
}

READY = "() => window.app?.extensionManager?.workflow?.activeWorkflow && window.app.graph"
FIND_VIEW = "node.widgets?.map((w) => w.element).find((e) => e?.classList.contains('p2p-view'))"
EMPTY = {"version": 0.4, "last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "config": {}}


class Canvas:
    """One page with the front end in it, in one of its two renderings: `classic` or `nodes2`."""

    def __init__(self, page: Page, server: Client, rendering: str):
        self.page = page
        self.server = server
        self.rendering = rendering
        self.errors: list[str] = []
        page.on("console", lambda message: message.type == "error" and self._note(message.text, message.location))
        page.on("pageerror", lambda error: self._note(f"{error}\n{error.stack}", {}))
        # Playwright tells where a message was written, which for a warning is the front end; who was called is here.
        session = page.context.new_cdp_session(page)
        session.on("Runtime.consoleAPICalled", self._note_deprecated)
        session.send("Runtime.enable")

    def _note(self, text: str, location: dict) -> None:
        self.errors.append(f"{text} ({location.get('url', '')})")

    def _note_deprecated(self, event: dict) -> None:
        text = " ".join(str(part.get("value", part.get("description", ""))) for part in event["args"])
        if "deprecated" in text.lower():
            calls = [call["url"] for call in event.get("stackTrace", {}).get("callFrames", [])]
            self._note(text, {"url": next((url for url in calls if "prompt-to-prompt" in url), "")})

    def own_errors(self) -> list[str]:
        """Errors, and uses of what is deprecated, in this pack's files; the front end has a few of its own."""
        return [error for error in self.errors if "/prompt-to-prompt/" in error]

    def open(self) -> Canvas:
        settings = {**SETTINGS, "Comfy.VueNodes.Enabled": self.rendering == "nodes2"}
        self.server.post("/settings", settings)
        self.page.goto(self.server.url)
        self.page.wait_for_function(READY, timeout=60_000)
        self.page.evaluate("() => { window.LiteGraph.alwaysRepeatWarnings = true; }")
        self.frames(3)
        return self

    def frames(self, count: int = 2) -> None:
        """Let the page draw. Views draw once a frame."""
        self.page.evaluate(
            "async (n) => { for (let i = 0; i < n; i++) await new Promise(requestAnimationFrame); }", count
        )

    # -- workflows --

    def load(self, workflow: dict | str) -> None:
        """A workflow, or the name of one in example_workflows/."""
        if isinstance(workflow, str):
            workflow = json.loads((WORKFLOWS / f"{workflow}.json").read_text())
        self.page.evaluate("async (json) => { await window.app.loadGraphData(json); }", workflow)
        self.frames(4)

    def build(self, nodes: dict[str, tuple], links: list[tuple[str, str, str, str]] = ()) -> None:
        """A new workflow: name -> (type, {input: value}, [x, y]), and (name, output, name, input). Ids are 1, 2, ..."""
        self.page.evaluate(
            """async ([empty, nodes, links]) => {
                 await window.app.loadGraphData(empty);
                 const { graph } = window.app;
                 const made = {};
                 for (const [name, [type, values, pos]] of Object.entries(nodes)) {
                   const node = (made[name] = window.LiteGraph.createNode(type));
                   node.pos = pos;
                   graph.add(node);
                   for (const [input, value] of Object.entries(values)) {
                     const widget = node.widgets.find((w) => w.name === input || w.label === input);
                     widget.value = value;
                     widget.callback?.(value, window.app.canvas, node);
                   }
                 }
                 for (const [from, output, to, input] of links) {
                   const slot = made[from].outputs.findIndex((o) => o.name === output || o.label === output);
                   made[from].connect(slot, made[to], made[to].inputs.findIndex((i) => i.name === input));
                 }
               }""",
            [EMPTY, nodes, links],
        )
        self.record()
        self.frames(4)

    def saved(self) -> dict:
        """The workflow as it would be saved, in the form of its JSON."""
        return json.loads(self.page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))

    def prompt(self) -> dict:
        """What would be queued, in API format."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def node(self, kind: str) -> str:
        """The id of the first node of a type."""
        return str(next(node["id"] for node in self.saved()["nodes"] if node["type"] == kind))

    def value(self, node: str, name: str):
        return self.on(node, "(node, name) => node.widgets.find((w) => w.name === name).value", name)

    def set(self, node: str, name: str, value) -> None:
        """Set an input as the front end's own widgets do."""
        self.on(
            node,
            "(node, [name, value]) => { const w = node.widgets.find((w) => w.name === name);"
            " w.value = value; w.callback?.(value, window.app.canvas, node); }",
            [name, value],
        )
        self.frames()

    def on(self, node: str, function: str, argument=None):
        """Call `function(node, argument)` in the page."""
        return self.page.evaluate(
            "([id, argument]) => { const node = window.app.canvas.graph.nodes.find((node) => String(node.id) === id);"
            f" return ({function})(node, argument); }}",
            [node, argument],
        )

    def record(self) -> None:
        """Take the workflow as it is for a step of undo."""
        self.page.evaluate(
            "() => { const t = window.app.extensionManager.workflow.activeWorkflow.changeTracker;"
            " (t.captureCanvasState ?? t.checkState).call(t); }"
        )

    def undo(self) -> None:
        self.page.evaluate("() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.undo()")
        self.frames(4)

    def run(self, timeout: float = 120) -> None:
        """Queue the workflow as it is and wait until nothing runs."""
        self.page.evaluate(
            """() => { window.p2pDone = new Promise((done, fail) => {
                 const api = window.app.api;
                 api.addEventListener("execution_success", () => done(), { once: true });
                 const failed = ({ detail }) => fail(new Error(JSON.stringify(detail)));
                 api.addEventListener("execution_error", failed, { once: true });
               }); window.app.queuePrompt(0); }"""
        )
        self.page.set_default_timeout(timeout * 1000)
        self.page.evaluate("() => window.p2pDone")
        self.page.set_default_timeout(10_000)
        self.frames(3)

    def tokens_shown(self) -> None:
        """Wait for the alignment view: what the server had in its cache is asked for after the run."""
        self.page.wait_for_function("() => !document.querySelector('.p2p-preview')")

    # -- looking --

    def show(self, *nodes: str, scale: float = 1.0) -> None:
        """Put nodes into the window's upper left, at a scale of the canvas."""
        self.page.evaluate(
            """([ids, scale]) => {
                 const { canvas } = window.app;
                 const nodes = ids.map((id) => canvas.graph.getNodeById(id) ?? canvas.graph.getNodeById(Number(id)));
                 canvas.ds.scale = scale;
                 canvas.ds.offset[0] = 150 / scale - Math.min(...nodes.map((n) => n.pos[0]));
                 canvas.ds.offset[1] = 170 / scale - Math.min(...nodes.map((n) => n.pos[1]));
                 canvas.setDirty(true, true);
               }""",
            [list(nodes), scale],
        )
        self.frames(6)

    def view(self, node: str) -> Locator:
        """The view in a node, as it is on the page."""
        self.on(node, f"(node) => {{ Object.assign({FIND_VIEW}, {{ id: `view-${{node.id}}` }}); }}")
        return self.page.locator(f"#view-{node}")

    def textarea(self, node: str, number: int = 0) -> Locator:
        """A multiline input's own text field."""
        if self.rendering == "nodes2":
            return self.page.locator(f'.lg-node[data-node-id="{node}"] textarea').nth(number)
        elements = "node.widgets.map((w) => w.element).filter((e) => e?.tagName === 'TEXTAREA')"
        self.on(node, f"(node) => {elements}.forEach((e, i) => {{ e.id = `text-${{node.id}}-${{i}}`; }})")
        return self.page.locator(f"#text-{node}-{number}")

    def drag(self, handle: Locator, by: float) -> None:
        """Drag a handle sideways by pixels of the screen, in some steps, as a hand does."""
        box = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse = self.page.mouse
        mouse.move(x, y)
        mouse.down()
        for part in (0.3, 0.7, 1):
            mouse.move(x + by * part, y)
        mouse.up()
        self.frames()

    def theme(self, name: str) -> None:
        self.setting("Comfy.ColorPalette", name)

    def setting(self, name: str, value) -> None:
        self.page.evaluate("([name, value]) => window.app.extensionManager.setting.set(name, value)", [name, value])
        self.frames(3)
