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
    partners = [rows.partner_of(i) for i in range(rows.edits)]
    places = [rows.place_of(i) for i in range(rows.edits)]
    assert not set(partners) & set(places)
    assert len(set(places)) == rows.edits
    assert rows.source == 0 and 0 not in places


@given(st.integers(1, 5), st.integers(1, 4))
def test_dual_edits_share_the_source_and_shared_ones_have_a_companion_each(edits, batch):
    dual, shared = Rows(edits, batch), Rows(edits, batch, "shared")
    assert (len(dual), {dual.partner_of(i) for i in range(edits)}) == ((1 + edits) * batch, {0})
    assert len(shared) == (1 + 2 * edits) * batch
    assert len({0, *(shared.partner_of(i) for i in range(edits))}) == 1 + edits


@given(rows)
def test_spread_gives_every_image_its_prompts_conditioning(rows):
    source, edited = torch.zeros(1, 2), torch.arange(1.0, 1 + rows.edits)[:, None].expand(-1, 2)
    spread = rows.spread(source, edited)
    assert len(spread) == len(rows)
    assert all((spread[rows.of(rows.place_of(i))] == i + 1).all() for i in range(rows.edits))
    assert all((spread[rows.of(place)] == 0).all() for place in range(rows.first))


@given(rows)
def test_visible_are_the_source_and_the_edits_in_order(rows):
    images = torch.arange(float(rows.batch))[:, None]
    visible = rows.visible(rows.tile(images))
    assert torch.equal(visible, images.repeat(1 + rows.edits, 1))
    source, edited = torch.zeros(1, 1), torch.arange(1.0, 1 + rows.edits)[:, None]
    assert rows.visible(rows.spread(source, edited)).flatten().tolist() == [
        prompt for prompt in range(1 + rows.edits) for _ in range(rows.batch)
    ]


@given(st.integers(1, 5), st.integers(1, 4))
def test_a_recorded_source_has_no_rows(edits, batch):
    rows = Rows(edits, batch, recorded=True)
    assert len(rows) == edits * batch
    assert rows.source is None and rows.partner_of(0) is None
    assert rows.spread(torch.zeros(1, 1), torch.ones(edits, 1)).all()
