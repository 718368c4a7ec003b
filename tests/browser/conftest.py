"""The views of web/ in a real browser, against the real server and two of its real front ends.

    make test ARGS=browser

Chromium is looked for, and installed with apt-get where this is root (see browsers.py). Pictures of every
view, in both renderings and both themes, are left in .comfyui/screenshots/ for somebody to look at.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from support.comfy_server import Server

sys.path.insert(0, str(Path(__file__).parent))

import browsers
from canvas import Canvas


@pytest.fixture(scope="session")
def browser():
    with browsers.launched() as running:
        yield running


@pytest.fixture(scope="session")
def server_with():
    """A server with one of the front ends, by its version; one at a time."""
    with contextlib.ExitStack() as stack:
        running = {}

        def start(version: str) -> Server:
            if version not in running:
                stack.close()
                running.clear()
                folder = browsers.front_end(version)
                arguments = ["--front-end-root", str(folder)] if folder else []
                running[version] = stack.enter_context(Server("--preview-method", "none", *arguments))
            return running[version]

        yield start


# One parameter of pairs, so that each front end is started once.
@pytest.fixture(
    scope="session",
    params=[(version, rendering) for version in ("stock", browsers.NEWEST) for rendering in ("classic", "nodes2")],
    ids="-".join,
)
def page(request, browser, server_with):
    """A page in one of the renderings, kept from test to test: loading it takes longer than most tests."""
    version, rendering = request.param
    context = browser.new_context(viewport={"width": 1500, "height": 1000}, device_scale_factor=1)
    opened = Canvas(context.new_page(), server_with(version), rendering)
    opened.page.set_default_timeout(10_000)
    opened.front_end = version
    yield opened.open()
    context.close()


@pytest.fixture
def canvas(page):
    """The page with an empty workflow; no error may come from the pack's files while a test has it."""
    page.errors.clear()
    yield page
    assert page.own_errors() == []
