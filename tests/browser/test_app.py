"""The template that is an app: opened from the template browser, run, and its two pictures shown."""

from __future__ import annotations

import browsers
import pytest
from canvas import EMPTY


@pytest.fixture
def opened(canvas):
    """The template, as a person opens it."""
    canvas.load(EMPTY)
    page = canvas.page
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("prompt-to-prompt", exact=True).first.click()
    page.get_by_text("edit_app", exact=True).first.click()
    page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'P2PSampler')")
    canvas.frames(6)
    yield canvas
    if canvas.front_end == browsers.NEWEST:
        page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ToggleLinear')")


def test_it_shows_two_prompts_a_seed_and_two_pictures(opened):
    canvas = opened
    if canvas.front_end != browsers.NEWEST:
        # It has no apps: the graph is opened, and runs.
        canvas.set(canvas.node("P2PSampler"), "steps", 2)
        canvas.run()
        return
    page = canvas.page
    page.locator("button:has-text('Build an app')").first.wait_for()
    canvas.frames(6)
    if (welcome := page.get_by_role("button", name="Skip", exact=True)).count():
        welcome.first.click()
    for name in ("source_prompt", "edit_prompt", "seed"):
        page.locator(f"text=/^{name}$/ >> visible=true").first.wait_for()
    assert page.locator("text=steps >> visible=true").count() == 0
    canvas.set(canvas.node("P2PSampler"), "steps", 2)
    canvas.run()
    page.wait_for_function(PICTURES)


PICTURES = """() => {
  const files = [...document.querySelectorAll("img")].map((img) => new URL(img.src).searchParams.get("filename"));
  return new Set(files.filter((name) => name?.startsWith("edit_app"))).size === 2;
}"""
