"""Each linear map on values is the matrix that it says it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.values import Mix, Parts, Scale, Weigh, copies


def tiled(tokens: int, keys: int, seed: int) -> torch.Tensor:
    """Values [2, keys, 3] of a prompt of so many tokens, tiled."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, tokens, 3, dtype=torch.float64, generator=generator).repeat(1, keys // tokens, 1)


def assert_is_its_matrix(change, values: torch.Tensor) -> None:
    torch.testing.assert_close(change(values), change.dense(values.shape[1]) @ values, rtol=1e-12, atol=1e-12)


@given(st.floats(-3, 3), st.integers(1, 5), st.integers(0, 99))
def test_scale(factor, keys, seed):
    assert_is_its_matrix(Scale(factor), tiled(keys, keys, seed))


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_weigh(tokens, tiles, seed):
    assert_is_its_matrix(Weigh(torch.randn(tokens, dtype=torch.float64)), tiled(tokens, tiles * tokens, seed))


@given(st.sampled_from([1, 2, 3, 6]), st.sampled_from([1, 2, 3, 6]), st.integers(1, 2), st.integers(0, 99))
def test_mix(source, edit, tiles, seed):
    assert_is_its_matrix(Mix(torch.randn(source, edit, dtype=torch.float64)), tiled(edit, 6 * tiles, seed))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_parts(text, image, seed):
    change = Parts(
        ((slice(0, text), Mix(torch.randn(text, text, dtype=torch.float64))), (slice(text, None), Scale(0.5)))
    )
    assert_is_its_matrix(change, tiled(text + image, text + image, seed))


def test_keys_of_no_part_get_zero():
    change = Parts(((slice(1, 3), Scale(2.0)),))
    assert_is_its_matrix(change, tiled(5, 5, 0))
    assert not change(tiled(5, 5, 0))[:, [0, 3, 4]].any()


def test_a_length_that_does_not_divide_the_keys_is_an_error():
    assert copies(6, 3) == 2
    with pytest.raises(EditError, match="attends to 7 tokens"):
        copies(7, 3)
