"""Pairs of captions, and a painter of the demo model with few steps. The pack is loaded after this file is read."""

from __future__ import annotations

import pytest

LINES = [
    {"source": "a cat on a car", "edit": "a dog on a car"},
    {"source": "a cat on a car", "edit": "a cat on a red car", "reweight": {"red": 2.0}},
    {
        "source": "a fox in the snow",
        "edit": "an owl in the snow",
        "source_words": "fox",
        "edit_words": "owl",
        "self_end": 0.7,
    },
]


@pytest.fixture(scope="package")
def painter():
    from prompt_to_prompt.p2p_core.pairs.drawing import Painter, Settings

    return Painter(Settings(steps=3, cfg=4.0))


@pytest.fixture
def asked():
    """Three requests, the first two with one source; the third has windows and a local blend of its own."""
    from prompt_to_prompt.p2p_core.pairs.request import read_request

    return [read_request(line) for line in LINES]
