"""Fixtures of the comparisons with the literature. They import when they are used: pytest reads this file too early."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def demo():
    """The demo's model and text encoder, in float64."""
    from support.literature import demo_in_float64

    return demo_in_float64()


@pytest.fixture
def ids(demo):
    """A text's token ids with start and end, as the paper's code has them from CLIP's tokenizer."""
    tokenizer = demo[1].tokenizer.clip_l.tokenizer
    return lambda text: tokenizer(text)["input_ids"]


@pytest.fixture
def edit(demo):
    """edit(mode, *edit prompts): edits of SOURCE."""
    from support.literature import edit_of

    return lambda mode, *prompts: edit_of(demo[1], mode, *prompts)


@pytest.fixture
def sampled(demo):
    """Samples by the pack: (edit, its trajectory, sampler) -> latents [source, edit 1, ...]."""
    from support.literature import sampled_by_the_pack

    return lambda edit, trajectory="dual", sampler=None: sampled_by_the_pack(demo, edit, trajectory, sampler)


@pytest.fixture
def literally(demo):
    """Samples by the paper's controllers: (controller, prompts) -> latents [source, edit 1, ...]."""
    from support.literature import sampled_by_the_paper

    return lambda controller, prompts, sampler=None: sampled_by_the_paper(demo, controller, prompts, sampler)


@pytest.fixture
def matrix(demo):
    """The pack's alignment of two texts: (source, edit, mode) -> [source tokens, edit tokens]."""
    from support.literature import alignment_of

    return lambda source, prompt, mode: alignment_of(demo[1], source, prompt, mode).matrix
