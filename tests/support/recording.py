"""Recorded sources of small models, and their edits held to those that are sampled beside their source."""

from __future__ import annotations

import comfy.model_management
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import RecordedGuider, SourceRecording, edit_recorded, record
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from support.sampling import CFG, assert_same, latent, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model

SMALL = latent(1, 8, 8)
EVERYWHERE = InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")
KINDS = {
    "swap": edit_of("a cat on a car", "a dog on a car"),
    "refine": edit_of("a cat on a car", "a big cat on a red car", mode="refine").reweight("red", 2.5),
    "self all": edit_of().schedule(EVERYWHERE),
    "blend": edit_of().local_blend("cat", "dog", start=0.0),
}


def picture(batch=1) -> dict:
    return {"samples": torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(5)) * 1.5}


def recording_of(
    edit, model="sd1", *, source=None, image=None, cfg=CFG, negative=NEGATIVE, sampled=None, **kept
) -> tuple[SourceRecording, torch.Tensor]:
    model = small_model(model) if isinstance(model, str) else model
    source = edit.source.encoding if source is None else source
    return record(model, source, negative, cfg, image or SMALL, sampled or sampling(), **kept)


def edited(edit, recording, model="sd1", negative=NEGATIVE, **guider) -> tuple[torch.Tensor, Run]:
    model = small_model(model) if isinstance(model, str) else model
    return edit_recorded(RecordedGuider(model, edit, negative, recording, **guider), recording)


def assert_as_beside(edit, tolerance=1e-4, kept=None, **how) -> tuple[torch.Tensor, Run]:
    """The edit of a recorded source is the one beside it. `kept`: how it is recorded."""
    model, negative = how.get("model", "sd1"), how.get("negative", NEGATIVE)
    more = {name: how.pop(name) for name in ("edited", "keep_maps") if name in how}
    recording, source = recording_of(edit, **how, **(kept or {}))
    made, finished = edited(edit, recording, model, negative, **more)
    expected, beside = run(edit, **{"image": SMALL, **how}, **more)
    assert_same(torch.cat([source, made]), expected, tolerance)
    assert finished.edited == beside.edited
    assert_same(finished.masks() + 1, beside.masks() + 1, tolerance)
    return torch.cat([source, made]), finished


def with_lora(strength: float):
    """A model with its weights patched, as LoRA loaders do."""
    model = small_model("sd1").clone()
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.model.state_dict().items():
        if name.endswith("attn2.to_k.weight") or name.endswith("norm1.bias"):
            model.add_patches({name: (torch.randn(weight.shape, generator=generator) * 0.1,)}, strength)
    return model


def free(monkeypatch, memory: int) -> None:
    """What ComfyUI takes to be free; attention kernels, which ask for more than one number, find enough."""

    def known(device=None, torch_free_too=False):
        return (10**9, 10**9) if torch_free_too else memory

    monkeypatch.setattr(comfy.model_management, "get_free_memory", known)
