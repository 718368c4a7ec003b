"""The views of web/ in a real browser, against the real server and two of its real front ends.

    make test ARGS=browser

Chromium is looked for, and installed with apt-get where this is root (see browsers.py). Pictures of every
view, in both renderings and both themes, are left in .comfyui/screenshots/ for somebody to look at.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bootstrap
import pytest
from comfy_server import Server

sys.path.insert(0, str(Path(__file__).parent))

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in tests/requirements.txt")

import browsers  # noqa: E402
from canvas import Canvas  # noqa: E402

SCREENSHOTS = bootstrap.CHECKOUT / ".comfyui" / "screenshots"


@pytest.fixture(scope="session")
def browser():
    path = browsers.chromium()
    with playwright.sync_playwright() as p:
        running = p.chromium.launch(executable_path=path, headless=True, args=browsers.FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session", params=["stock", browsers.NEWEST])
def front_end(request, browser):
    """A server with one of the front ends; one at a time."""
    folder = browsers.front_end(request.param)
    arguments = ["--front-end-root", str(folder)] if folder else []
    with Server("--preview-method", "none", *arguments) as server:
        server.front_end = request.param
        yield server


@pytest.fixture(scope="session", params=["classic", "nodes2"])
def page(request, browser, front_end):
    """A page in one of the renderings, kept from test to test: loading it takes longer than most tests."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000}, device_scale_factor=1)
    opened = Canvas(context.new_page(), front_end, request.param)
    opened.page.set_default_timeout(10_000)
    opened.front_end = front_end.front_end
    yield opened.open()
    context.close()


@pytest.fixture
def canvas(page):
    """The page with an empty workflow; no error may come from the pack's files while a test has it."""
    page.errors.clear()
    yield page
    assert page.own_errors() == []
