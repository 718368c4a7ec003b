"""Which steps a pipeline's call makes, by its scheduler's own timesteps."""

from __future__ import annotations

import pytest
from prompt_to_prompt.p2p_core.hosts.diffusers.schedulers import executed_levels


@pytest.mark.parametrize(
    ("timesteps", "first", "executed", "order", "levels"),
    [
        ([9, 6, 3, 0], 9, None, 1, [9, 6, 3, 0]),
        ([9, 6, 3, 0], 6, 3, 1, [6, 3, 0]),  # image to image
        ([9, 6, 3, 0], 9, 2, 1, [9, 6]),  # SDXL's base before its refiner
        ([9, 6, 6, 3, 0], 9, 5, 1, [9, 6, 3, 0]),  # PNDM
        ([9, 6, 6, 3, 3, 0, 0], 9, 7, 2, [9, 6, 3, 0]),  # Heun
        ([9, 6, 6, 3, 3, 0, 0], 6, 5, 2, [6, 3, 0]),
        ([9, 7, 6, 4, 3, 1, 0], 9, 7, 2, [9, 6, 3, 0]),  # KDPM2
    ],
)
def test_the_steps_that_a_call_makes(timesteps, first, executed, order, levels):
    assert executed_levels(timesteps, first, executed, order) == levels
