"""Maps of words with other attention kernels, in every architecture: as other packs put them into the host."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError

from support.sampling import assert_same, latent, run, sampling
from support.small_joint_models import joint_edit, settings, small_joint_model
from support.small_models import edit_of, small_model

MODELS = ("sd1", "sdxl", "sd3", "flux")


def in_eight_bits(kernel, q, k, v, heads, *args, **kwargs):
    """Scales each channel of the values to its largest, over all places: of one that is all zero it makes NaN."""
    places = -2 if kwargs.get("skip_reshape") else 1
    scale = v.abs().amax(places, keepdim=True)
    out = kernel(q, k, v / scale, heads, *args, **kwargs)
    if kwargs.get("skip_reshape") and not kwargs.get("skip_output_reshape"):
        scale = scale.transpose(1, 2).flatten(2)
    return out * scale


def without_numbers(kernel, q, k, v, *args, **kwargs):
    """Right for the model's own values, and NaN for such as maps are made with: a kernel in which NaN stays unseen."""
    out = kernel(q, k, v, *args, **kwargs)
    return out * torch.nan if set(v.unique().tolist()) <= {0.0, 1.0} else out


def sampled(name: str, kernel=None):
    joint = name in ("sd3", "flux")
    edit = (joint_edit(name) if joint else edit_of()).local_blend("cat", "dog", start=0.0)
    model = (small_joint_model(name) if joint else small_model(name)).clone()
    if kernel is not None:
        model.model_options["transformer_options"]["optimized_attention_override"] = kernel
    how = {**settings(name, steps=2)} if joint else {"image": latent(1, 8, 8), "sampled": sampling(steps=2)}
    return run(edit, **{**how, "model": model}, keep_maps=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_that_scales_channels_by_their_largest_gives_the_same_maps_and_masks(name):
    (latents, finished), (plain, ordinary) = sampled(name, in_eight_bits), sampled(name)
    assert_same(latents, plain, 1e-3)
    assert torch.equal(finished.masks(), ordinary.masks())
    for block, maps in finished.maps().variants[0].blocks.items():
        assert_same(maps, ordinary.maps().variants[0].blocks[block], 1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_that_gives_no_numbers_for_maps_is_an_error_that_names_it(name):
    with pytest.raises(EditError, match=r"^model: the attention kernel without_numbers gave maps"):
        sampled(name, without_numbers)
