"""Edits held to a real picture: the rule, the noise that the model is asked at, and what is said of a run."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.noise import FreshNoise, moved_to
from prompt_to_prompt.p2p_core.picture import RealPicture
from prompt_to_prompt.p2p_core.predictions import Pin, ending_at, with_guided_source
from prompt_to_prompt.p2p_core.rows import Rows

SHAPES = [(4, 5, 6), (4, 3, 5, 6)]
"""Of pictures, and with frames."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_the_source_is_the_picture_and_each_edit_shares_the_error_of_its_own(shape, trajectory):
    rows = Rows(2, batch=3, trajectory=trajectory)
    predictions, picture = torch.randn(len(rows), *shape), torch.randn(3, *shape)
    pinned = Pin(rows, picture, 0.25)(predictions)
    assert torch.equal(pinned[:3], picture)
    error = picture - predictions[:3]
    for place in range(1, rows.prompts):
        torch.testing.assert_close(pinned[rows.of(place)], predictions[rows.of(place)] + 0.25 * error)


def test_a_source_without_a_row():
    rows = Rows(2, batch=3, recorded=True)
    predictions, picture, source = torch.randn(6, 4, 5, 6), torch.randn(3, 4, 5, 6), torch.randn(3, 4, 5, 6)
    pinned = Pin(rows, picture, 1.0, source)(predictions)
    torch.testing.assert_close(pinned, predictions + (picture - source).repeat(2, 1, 1, 1))


def test_pinned_parts_of_guidance_are_guidance_pinned():
    rows = Rows(1)
    conditional, unconditional, picture = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6), torch.randn(1, 4, 5, 6)
    pin = Pin(rows, picture, 0.7)
    guided = torch.lerp(pin(unconditional), pin(conditional), 5.0)
    torch.testing.assert_close(guided, pin(torch.lerp(unconditional, conditional, 5.0)), atol=1e-5, rtol=1e-5)


def test_guidance_of_the_sources_own():
    rows = Rows(2, batch=2)
    conditional, unconditional = torch.randn(2, 6, 4, 5, 6)
    edits, source = (torch.lerp(unconditional, conditional, scale) for scale in (5.0, 3.0))
    guided = with_guided_source(edits, conditional, unconditional, rows, 3.0 - 5.0)
    torch.testing.assert_close(guided[:2], source[:2])
    assert torch.equal(guided[2:], edits[2:])


@pytest.mark.parametrize("shape", SHAPES)
def test_all_rows_of_a_picture_move_alike(shape):
    rows = Rows(2, batch=2)
    latents, source = torch.randn(6, *shape), torch.randn(2, *shape)
    moved = moved_to(source, latents, rows)
    torch.testing.assert_close(moved[:2], source)
    for place in (1, 2):
        torch.testing.assert_close(moved[rows.of(place)] - moved[:2], latents[rows.of(place)] - latents[:2])
    ended = ending_at(source, latents, rows)
    assert torch.equal(ended[:2], source)
    assert torch.equal(ended[2:], moved[2:])


def test_fresh_noise_is_each_picture_s_own_and_new_every_time():
    first = torch.randn(3, 4, 5, 6)
    noise, again, alone = FreshNoise(first, 7), FreshNoise(first, 7), FreshNoise(first[1:2], 7)
    one, two = noise.draw(), noise.draw()
    assert one.shape == first.shape and not torch.equal(one, two)
    assert torch.equal(again.draw(), one)
    assert torch.equal(alone.draw(), one[1:2])
    assert not torch.isclose(one[0], one[1]).any()
    assert not torch.equal(FreshNoise(first, 8).draw(), one)
    assert not torch.equal(FreshNoise(first + 1, 7).draw(), one)


def test_fresh_noise_is_none_of_the_generator_s_that_others_draw_from():
    torch.manual_seed(7)
    first = torch.randn(1, 4, 5, 6)
    state = torch.get_rng_state()
    drawn = FreshNoise(first, 7).draw()
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.isclose(drawn, first).any()
    assert not torch.isclose(drawn, torch.randn(1, 4, 5, 6)).any()


def test_noise_that_is_none_makes_runs_of_other_seeds_differ():
    nothing = torch.zeros(1, 4, 5, 6)
    assert not torch.equal(FreshNoise(nothing, 1).draw(), FreshNoise(nothing, 2).draw())


@pytest.mark.parametrize(("release", "held"), [(0.0, 10), (0.25, 8), (0.2, 8), (1.0, 0)])
def test_released_steps_are_the_last(release, held):
    settings = RealPicture(fidelity=0.5, release=release)
    assert [settings.fidelity_at(step, 10) for step in range(10)] == [0.5] * held + [0.0] * (10 - held)


@pytest.mark.parametrize(
    "wrong", [{"fidelity": 1.1}, {"fidelity": -0.1}, {"source_cfg": 101}, {"release": float("nan")}, {"noise": "none"}]
)
def test_what_is_out_of_range_is_named(wrong):
    with pytest.raises(EditError, match=f"^{next(iter(wrong))}: "):
        RealPicture(**wrong)


def test_a_copy_goes_on_from_where_the_noise_is_and_moves_nothing():
    noise = FreshNoise(torch.randn(2, 4, 3, 3), 7)
    noise.draw()
    copies = [noise.copy() for _ in range(2)]
    expected = noise.draw()
    assert all(torch.equal(twin.draw(), expected) for twin in copies)
