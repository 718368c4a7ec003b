"""Local blend: the edit's prediction inside of the mask, the source's outside."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.blend import LocalBlend, fit_mask, limit, word_mask
from prompt_to_prompt.p2p_core.edit import Edit, Variant
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer
from prompt_to_prompt.p2p_core.run import Run
from reference.prompts import tokenised

sides = st.integers(1, 9)
seeds = st.integers(0, 2**32)


@given(sides, sides, seeds)
def test_limit_is_the_edits_inside_and_the_sources_outside_to_the_bit(height, width, seed):
    random = torch.Generator().manual_seed(seed)
    edit, source = torch.randn(2, 1, 4, height, width, generator=random)
    mask = torch.rand(1, 1, height, width, generator=random).round()
    assert torch.equal(limit(edit, source, mask), torch.where(mask.bool(), edit, source))
    half = limit(edit, source, torch.full_like(mask, 0.5))
    torch.testing.assert_close(half, (edit + source) / 2)


@given(sides, sides, seeds, st.floats(0, 0.99), st.booleans(), st.floats(1e-3, 1e3))
def test_word_mask(height, width, seed, threshold, pool, scale):
    """0 or 1, never empty, whatever the map's scale; a higher threshold never adds to it, pooling never takes away."""
    words = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) + 1e-3
    size = (2 * height, 3 * width)
    mask = word_mask(words, size, threshold, pool)
    assert mask.shape == (2, 1, *size)
    assert torch.equal(mask, mask.round().clamp(0, 1))
    assert mask.amax((1, 2, 3)).all()
    assert (mask >= word_mask(words, size, (1 + threshold) / 2, pool)).all()
    assert (word_mask(words, size, threshold, True) >= word_mask(words, size, threshold, False)).all()
    power_of_two = 2.0 ** round(torch.tensor(scale).log2().item())  # which rounds nothing
    assert torch.equal(word_mask(words * power_of_two, size, threshold, pool), mask)


def test_word_mask_of_each_image_is_relative_to_its_own_top():
    words = torch.zeros(2, 4, 4)
    words[0, 0, 0], words[1, 3, 3] = 1, 0.01
    mask = word_mask(words, (4, 4), 0.3)
    assert mask.sum((1, 2, 3)).tolist() == [4, 4]  # the place and its neighbours, in a corner
    assert mask[0, 0, 1, 1] == mask[1, 0, 2, 2] == 1
    assert word_mask(torch.zeros(1, 4, 4), (4, 4), 0.3).sum() == 0


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5), (2, 3, 5), (1, 1, 3, 5)])
def test_a_users_mask_fits_any_batch_and_size(shape):
    fitted = fit_mask(torch.full(shape, 2.0), 3, (16, 24))
    assert torch.equal(fitted, torch.ones(3, 1, 16, 24))


def test_a_users_masks_are_taken_in_turn():
    masks = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    assert fit_mask(masks, 3, (4, 4)).mean((1, 2, 3)).tolist() == [0, 1, 0]


# --- in a run ---

LAYERS = [Layer("middle", 0, 0, ("text",), 0, 2, 4)]
SIZE = (8, 8)
LEFT = (torch.arange(8) < 3).float().expand(8, 8)


def run(*blends: LocalBlend | None, batch: int = 1, trajectory: str = "dual") -> Run:
    prompt = tokenised("a cat", chunk=6)
    variants = tuple(Variant(prompt, align(prompt, prompt), blend=blend) for blend in blends)
    return Run(Edit(prompt, variants), Architecture("", tuple(LAYERS), 8, 6), batch, SIZE, trajectory)


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
@pytest.mark.parametrize("batch", [1, 2])
def test_each_edit_is_held_to_its_own_mask(batch, trajectory):
    made = run(LocalBlend(mask=LEFT, start=0.0), None, batch=batch, trajectory=trajectory)
    latent = torch.randn(len(made.rows), 4, *SIZE)
    before = latent.clone()
    [out] = made.predictions(latent)
    rows = made.rows
    source, first, second = (out[rows.of(place)] for place in (0, rows.place_of(0), rows.place_of(1)))
    assert torch.equal(latent, before)
    assert torch.equal(source, latent[rows.of(0)])
    assert torch.equal(first, torch.where(LEFT.bool(), latent[rows.of(rows.place_of(0))], source))
    assert torch.equal(second, latent[rows.of(rows.place_of(1))])
    assert torch.equal(made.masks(), torch.cat([LEFT.expand(batch, 8, 8), torch.ones(batch, 8, 8)]))


def test_a_companion_follows_its_edit():
    """On a shared trajectory the source's maps come from the edit's own latent, blended or not."""
    made = run(LocalBlend(mask=LEFT, start=0.0), None, batch=2, trajectory="shared")
    [out] = made.predictions(torch.randn(len(made.rows), 4, *SIZE))
    rows = made.rows
    for i in range(rows.edits):
        assert torch.equal(out[rows.of(rows.partner_of(i))], out[rows.of(rows.place_of(i))])


@pytest.mark.parametrize(("step", "held"), [(0, False), (1, False), (2, True), (9, True)])
def test_the_blend_starts_at_its_step(step, held):
    made = run(LocalBlend(mask=LEFT, start=0.2))
    made.begin_step(step, 10)
    latent = torch.randn(2, 4, *SIZE)
    [out] = made.predictions(latent)
    assert torch.equal(out, latent) != held


def test_predictions_that_are_not_there_stay_away():
    latent = torch.randn(2, 4, *SIZE)
    out = run(LocalBlend(mask=LEFT, start=0.0)).predictions(latent, None)
    assert out[1] is None


def test_words_without_maps_are_an_error_that_offers_a_mask():
    made = run(LocalBlend(edit_positions=(2,), start=0.0))
    with pytest.raises(EditError, match=r"no attention map.*Connect a mask"):
        made.predictions(torch.randn(2, 4, *SIZE))


@pytest.mark.parametrize(
    ("shape", "batch", "said"),
    [
        ((8, 16), 1, "16 x 8, and the picture 64 x 64. It was stretched"),
        ((3, 64, 64), 2, "for 3 pictures, and there are 2"),
        ((2, 64, 64), 1, "for 2 pictures, and there is 1"),
        ((8, 8), 3, None),
        ((512, 520), 1, None),
        ((2, 64, 64), 4, None),
    ],
)
def test_a_mask_that_was_made_for_other_pictures_is_named(shape, batch, said):
    note = run(LocalBlend(mask=torch.ones(shape), start=0.0), batch=batch).note()
    assert ("mask" in note) == bool(said)
    if said:
        assert said in note and "disconnect mask" in note


def test_a_mask_that_lets_nothing_change_is_an_error():
    edit = Edit(tokenised("a cat", chunk=6)).add(tokenised("a dog", chunk=6))
    with pytest.raises(EditError, match=r"^mask: it is 0 everywhere.*disconnect"):
        edit.local_blend("", "", mask=torch.zeros(1, 64, 64))
    edit.local_blend("", "", mask=torch.stack([torch.zeros(8, 8), torch.ones(8, 8)]))
