"""Other nodes' patches on the model: what they do stays done, and what can't work together says so."""

from __future__ import annotations

import copy

import comfy.ldm.modules.attention as attention
import pytest
import torch
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tomesd import TomePatchModel
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, attention_layers, sample
from prompt_to_prompt.p2p_core.schedule import InjectSchedule

from support.sampling import NOTHING, applied, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model


def latents_of(model, edit=None, size=16) -> torch.Tensor:
    return run(edit, model, image=latent(1, size, size))[0]


class Adding:
    """A patch in the manner of IPAdapter: an object that other nodes `add` to, moved along with the model."""

    def __init__(self):
        self.amounts = [0.1]
        self.devices = []

    def add(self, amount):
        self.amounts.append(amount)

    def to(self, device, *_):
        self.devices.append(device)
        return self

    def __call__(self, q, k, v, extra_options):
        out = attention.optimized_attention(q, k, v, extra_options["n_heads"])
        return out + sum(self.amounts) * q.mean(1, keepdim=True)


def as_function(q, k, v, extra_options):
    return Adding()(q, k, v, extra_options)


def patched(patch, name="attn2", *block):
    model = small_model("sd1").clone()
    setter = model.set_model_attn2_replace if name == "attn2" else model.set_model_attn1_replace
    setter(patch, *(block or ("middle", 0)))
    return model


@pytest.mark.parametrize("name", ["attn1", "attn2"])
@pytest.mark.parametrize("block", [("middle", 0), ("input", 1, 0)])
@pytest.mark.parametrize("patch", [as_function, Adding()], ids=["function", "object"])
def test_a_patch_on_a_block_still_does_its_part(patch, name, block):
    model = patched(patch, name, *block)
    edit = edit_of()
    latents = latents_of(model, edit)
    assert_same(latents[:1], plain(edit.source.encoding, model))
    bare = latents_of(small_model("sd1"), edit)
    unedited = latents_of(model, edit.schedule(NOTHING))
    assert_same(unedited[1:], plain(edit.variants[0].prompt.encoding, model))
    assert (latents[1:] - bare[1:]).abs().max() > 1e-3
    assert (latents[1:] - unedited[1:]).abs().max() > 1e-3


def test_the_edit_is_added_to_a_patch_as_the_difference_it_makes():
    """So beside a patch that only does what the host does, it is the edit that it is alone."""

    def ordinary(q, k, v, extra_options):
        return attention.optimized_attention(q, k, v, extra_options["n_heads"])

    model = small_model("sd1").clone()
    for layer in attention_layers(model):
        setter = model.set_model_attn1_replace if layer.kind == "self" else model.set_model_attn2_replace
        setter(ordinary, layer.block, layer.number)
    edit = edit_of().reweight("dog", 3.0)
    assert_same(latents_of(model, edit), latents_of(small_model("sd1"), edit))


def test_a_patch_object_is_moved_with_the_model_and_kept_by_copies():
    patch = Adding()
    guider = EditGuider(patched(patch), edit_of(), NEGATIVE, 5.0)
    seen = []
    original = guider.predict_noise

    def predict(*args, **kwargs):
        seen.append(
            guider.model_patcher.model_options["transformer_options"]["patches_replace"]["attn2"][("middle", 0)]
        )
        return original(*args, **kwargs)

    guider.predict_noise = predict
    sample(guider, latent(), sampling())
    assert seen[0].previous.devices
    assert copy.deepcopy(seen[0]) is seen[0], "a copy of the model, as for a second device, belongs to the same run"


NODES = {
    "PerturbedAttentionGuidance": (PerturbedAttentionGuidance, 3.0),
    "SelfAttentionGuidance": (SelfAttentionGuidance, 0.5, 2.0),
    "FreeU_V2": (FreeU_V2, 1.3, 1.4, 0.9, 0.2),
    "RescaleCFG": (RescaleCFG, 0.7),
}


@pytest.mark.parametrize("node", NODES)
def test_nodes_of_the_core(node):
    node, *settings = NODES[node]
    model = applied(node, small_model("sd1"), *settings)
    edit = edit_of()
    unedited = latents_of(model, edit.schedule(NOTHING))
    assert_same(unedited[:1], plain(edit.source.encoding, model))
    assert_same(unedited[1:], plain(edit.variants[0].prompt.encoding, model))
    assert (unedited[:1] - plain(edit.source.encoding, small_model("sd1"))).abs().max() > 1e-3
    edited = latents_of(model, edit)
    assert_same(edited[:1], unedited[:1])
    assert (edited[1:] - unedited[1:]).abs().max() > 1e-3


def test_hypertile_is_refused_by_name():
    model = applied(HyperTile, small_model("sd1"), 256, 2, 0, False)
    with pytest.raises(EditError, match="HyperTile"):
        latents_of(model, edit_of().schedule(InjectSchedule(self_layers="all")), size=64)


def test_merged_tokens_are_refused_where_they_would_be_edited():
    """Each picture's are merged in its own way, so one's attention doesn't fit the other's places."""
    model = applied(TomePatchModel, small_model("sd1"), 0.5)
    with pytest.raises(EditError, match=r"TomePatchModel.*self_layers"):
        latents_of(model, edit_of().schedule(InjectSchedule(self_layers="all")))
    edit = edit_of()  # by default no layer of full resolution, and the others aren't merged
    edited = latents_of(model, edit)
    assert_same(edited[:1], plain(edit.source.encoding, model))
    assert (edited[1:] - latents_of(model, edit.schedule(NOTHING))[1:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["attn2", "attn1"])
def test_a_patch_with_prompts_of_its_own_is_refused(name):
    """The edit would be added to a picture of something else."""

    def of_its_own(q, k, v, extra_options):
        return q

    model = patched(of_its_own, name)
    if name == "attn1":  # no prompts there: perturbed attention does that
        assert torch.isfinite(latents_of(model)).all()
        return
    with pytest.raises(EditError, match=r"block middle:0.*prompts of its own"):
        latents_of(model)


class Wrapper(torch.nn.Module):
    """In the place of a transformer, as token perturbation guidance puts it."""

    def __init__(self, transformer):
        super().__init__()
        self.wrapped = transformer

    def forward(self, x, *args, **kwargs):
        return self.wrapped(x, *args, **kwargs)


PLACE = "diffusion_model.middle_block.1.transformer_blocks.0"


@pytest.fixture
def wrapped():
    """A model whose transformer is wrapped while it is loaded; the host leaves it so until another is."""
    model = small_model("sd1").clone()
    model.add_object_patch(PLACE, Wrapper(model.get_model_object(PLACE)))
    model.patch_model()
    yield model
    model.unpatch_model()


@pytest.mark.parametrize("which", ["the wrapped", "another"])
def test_a_wrapper_around_a_transformer_is_seen_through(wrapped, which):
    assert isinstance(small_model("sd1").model.diffusion_model.middle_block[1].transformer_blocks[0], Wrapper)
    layers = attention_layers(wrapped if which == "the wrapped" else small_model("sd1"))
    wrapped.unpatch_model()
    assert layers == attention_layers(small_model("sd1"))


def test_something_else_in_a_transformer_s_place_is_refused_by_name():
    model = small_model("sd1").clone()
    model.add_object_patch(PLACE, torch.nn.Identity())
    with pytest.raises(EditError, match=f"Identity in the place of {PLACE}"):
        attention_layers(model)


@pytest.mark.parametrize("regions", [2, 3])
def test_attention_couple_is_refused_by_name(regions):
    """Its patches give the conditional rows as many times as there are regions."""

    def couple(q, k, v, extra_options):
        chunks = q.chunk(len(extra_options["cond_or_uncond"]))
        keys = k.chunk(len(extra_options["cond_or_uncond"]))
        grown = [
            (torch.cat([a] * regions), torch.cat([b] * regions)) if which == 0 else (a, b)
            for a, b, which in zip(chunks, keys, extra_options["cond_or_uncond"])
        ]
        q, k = (torch.cat(side) for side in zip(*grown))
        return q, k, k

    model = small_model("sd1").clone()
    model.set_model_attn2_patch(couple)
    with pytest.raises(EditError, match="regional-prompt"):
        latents_of(model)
