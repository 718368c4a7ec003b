"""The rows of a run: which are whose, for any number of edits and images."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.rows import Rows

rows = st.builds(Rows, st.integers(1, 5), st.integers(1, 4), st.sampled_from(["dual", "shared"]))


@given(rows, st.integers(0, 10))
def test_prompts_divide_the_rows_among_them(rows, base):
    whose = [i for prompt in range(rows.prompts) for i in range(base + len(rows))[rows.of(prompt, base)]]
    assert whose == list(range(base, base + len(rows)))


@given(rows)
def test_no_edit_is_anothers_source(rows):
    """What edited_attention asks for: sources' queries and keys are read while edits' are replaced."""
    assert not set(rows.sources) & set(rows.edited)
    assert len(rows.sources) == len(rows.edited) == rows.edits
    assert 0 not in rows.edited


@given(st.integers(1, 5), st.integers(1, 4))
def test_dual_edits_share_the_source_and_shared_ones_have_a_companion_each(edits, batch):
    dual, shared = Rows(edits, batch), Rows(edits, batch, "shared")
    assert (len(dual), set(dual.sources)) == ((1 + edits) * batch, {0})
    assert len(shared) == (1 + 2 * edits) * batch
    assert len({0, *shared.sources}) == 1 + edits


@given(rows)
def test_spread_gives_every_image_its_prompts_conditioning(rows):
    source, edited = torch.zeros(1, 2), torch.arange(1.0, 1 + rows.edits)[:, None].expand(-1, 2)
    spread = rows.spread(source, edited)
    assert len(spread) == len(rows)
    assert all((spread[rows.of(prompt)] == i + 1).all() for i, prompt in enumerate(rows.edited))
    assert all((spread[rows.of(prompt)] == 0).all() for prompt in {0, *rows.sources})


@given(rows)
def test_visible_are_the_source_and_the_edits_in_order(rows):
    images = torch.arange(float(rows.batch))[:, None]
    visible = rows.visible(rows.tile(images))
    assert torch.equal(visible, images.repeat(1 + rows.edits, 1))
    source, edited = torch.zeros(1, 1), torch.arange(1.0, 1 + rows.edits)[:, None]
    assert rows.visible(rows.spread(source, edited)).flatten().tolist() == [
        prompt for prompt in range(1 + rows.edits) for _ in range(rows.batch)
    ]
