"""All rows of a run get the noise that the source would get alone."""

from __future__ import annotations

import pytest
import torch
import torchsde
from comfy.k_diffusion.sampling import BrownianTreeNoiseSampler, default_noise_sampler
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.noise import SharedNoise

SHAPE = (4, 3, 5)


def brownian(x, seed):
    tree = torchsde.BrownianTree(t0=0.0, w0=torch.zeros_like(x), t1=1.0, entropy=seed)
    return tree(0.2, 0.7)


def sigma_tree(x, seed):
    sampler = BrownianTreeNoiseSampler(x, torch.tensor(0.1), torch.tensor(10.0), seed=seed, cpu=True)
    return sampler(torch.tensor(8.0), torch.tensor(3.0))


def generator(seed):
    return torch.Generator().manual_seed(seed)


DRAWS = {
    "randn": lambda x, seed: torch.randn(x.shape, generator=generator(seed)),
    "randn, sizes one by one": lambda x, seed: torch.randn(*x.shape, generator=generator(seed)),
    "randn, by name": lambda x, seed: torch.randn(size=x.shape, generator=generator(seed), dtype=torch.float64),
    "randn, global": lambda x, seed: (torch.manual_seed(seed), torch.randn(x.shape))[1],
    "rand": lambda x, seed: torch.rand(x.shape, generator=generator(seed)),
    "randn_like": lambda x, seed: (torch.manual_seed(seed), torch.randn_like(x))[1],
    "randn_like, dtype": lambda x, seed: (torch.manual_seed(seed), torch.randn_like(x, dtype=torch.float64))[1],
    "rand_like": lambda x, seed: (torch.manual_seed(seed), torch.rand_like(x))[1],
    "ComfyUI's default": lambda x, seed: default_noise_sampler(x, seed=seed)(1.0, 0.5),
    "torchsde's Brownian tree": brownian,
    "ComfyUI's Brownian tree": sigma_tree,
}


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_every_row_gets_what_the_source_alone_draws(draw, batch, prompts, seed):
    rows = batch * prompts
    alone = draw(torch.ones(batch, *SHAPE), seed)
    with SharedNoise(rows, batch, SHAPE):
        stacked = draw(torch.ones(rows, *SHAPE), seed)
    assert stacked.dtype == alone.dtype
    assert torch.equal(stacked, alone.repeat(prompts, 1, 1, 1))


def test_a_generator_goes_on_as_it_would_with_the_source_alone():
    """So the noise of every later step is right too."""
    alone, shared = generator(1), generator(1)
    for _ in range(3):
        expected = torch.randn(1, *SHAPE, generator=alone)
        with SharedNoise(3, 1, SHAPE):
            assert torch.equal(torch.randn(3, *SHAPE, generator=shared), expected.repeat(3, 1, 1, 1))
    assert torch.equal(alone.get_state(), shared.get_state())


@pytest.mark.parametrize("shape", [(1, *SHAPE), (3, 4, 3, 6), (3, 4, 15), (3,), ()])
def test_other_shapes_are_drawn_as_ever(shape):
    expected = torch.randn(shape, generator=generator(5))
    with SharedNoise(3, 1, SHAPE):
        assert torch.equal(torch.randn(shape, generator=generator(5)), expected)


def test_nothing_is_shared_while_paused_or_afterwards():
    noise = SharedNoise(2, 1, SHAPE)
    with noise:
        with noise.paused():
            inside = torch.randn(2, *SHAPE)
        again = torch.randn(2, *SHAPE)
    after = torch.randn(2, *SHAPE)
    assert not torch.equal(*inside)
    assert torch.equal(*again)
    assert not torch.equal(*after)


def test_an_error_inside_of_the_pause_leaves_nothing_behind():
    noise = SharedNoise(2, 1, SHAPE)
    with pytest.raises(RuntimeError, match="interrupted"), noise, noise.paused():
        raise RuntimeError("interrupted")
    assert not torch.equal(*torch.randn(2, *SHAPE))
