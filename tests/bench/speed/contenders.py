"""The steps that are timed side by side."""

from __future__ import annotations

import time
from collections.abc import Callable

import comfy.model_patcher
import comfy.samplers
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from prompt_to_prompt.p2p_core.tokens import Prompt
from reference import hertz

from bench.speed import joint_map_steps
from bench.speed.full_models import CHANNELS, FRAMES, JOINT_TEXT, POOLED, WIDTHS
from bench.speed.peak_memory import peak_bytes
from support.small_joint_models import long_prompt
from support.small_models import prompt

SOURCE = "a cat sitting on a car"
ALWAYS = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}


def _swap(edit: Edit) -> Edit:
    return edit.schedule(InjectSchedule(**ALWAYS))


# What each kind edits, and in how much of a plain step it should be done.
KINDS: dict[str, tuple[str, Callable[[Edit], Edit]]] = {
    "word swap": ("a dog sitting on a car", _swap),
    "self keys and values": (
        "a dog sitting on a car",
        lambda edit: edit.schedule(InjectSchedule(**ALWAYS, self_mode="key_value", self_layers="all")),
    ),
    "refine and reweight": ("a cat sitting on a red car", lambda edit: _swap(edit).reweight("red", 3.0)),
    "half strength": (
        "a cat sitting on a red car",
        lambda edit: edit.schedule(InjectSchedule(**ALWAYS, cross_strength=0.5, self_strength=0.5)),
    ),
    "word swap, local blend": ("a dog sitting on a car", lambda edit: _swap(edit).local_blend("cat", "dog", start=0.0)),
    "word swap, picture": ("a dog sitting on a car", lambda edit: _swap(edit).real_picture()),
}


def _mode(mode: str, cross: float = 1.0, **more) -> Callable[[Edit], Edit]:
    windows = {"cross_window": Window(0, cross, "cross"), "self_window": Window(0, 1, "self")}
    return lambda edit: edit.schedule(InjectSchedule(**windows, self_mode=mode, **more))


DOG = "a dog sitting on a car"
# The same for transformers, whose words and picture share one attention.
JOINT_KINDS: dict[str, tuple[str, Callable[[Edit], Edit]]] = {
    "layout": (DOG, _mode("layout")),
    "map": (DOG, _mode("map")),
    "map, half strength": (DOG, _mode("map", cross_strength=0.5, self_strength=0.5)),
    "keys and values": (DOG, _mode("key_value")),
    "layout, local blend": (DOG, lambda edit: _mode("layout")(edit).local_blend("cat", "dog", start=0.0)),
}


def kinds_of(name: str) -> dict[str, tuple[str, Callable[[Edit], Edit]]]:
    return JOINT_KINDS if name in JOINT_TEXT else KINDS


def make_prompt(name: str, words: str) -> Prompt:
    if name not in JOINT_TEXT:
        return prompt(words, width=WIDTHS[name])
    # As long as a language model's template and the words, where prompts are of their own lengths.
    lengths = JOINT_TEXT[name] or (40 + len(words.split()),)
    return long_prompt(words, lengths, WIDTHS[name], POOLED[name])


def make_edit(name: str, kind: str, edits: int) -> Edit:
    words, change = kinds_of(name)[kind]
    if not JOINT_TEXT.get(name, True):
        words = words.replace("dog", "very big dog")
    edit = Edit(make_prompt(name, SOURCE))
    for i in range(edits):
        edit = edit.add(make_prompt(name, words if i == 0 else words.replace("dog", f"dog{i}")))
    return change(edit)


@torch.inference_mode()  # as ComfyUI runs its nodes; without it every map of every layer is kept for a gradient
def measure(model, name: str, size: int, kind: str, edits: int, repeats: int, with_maps: bool) -> dict:
    """Seconds of each contender's steps, and the peak of what each allocates.

    Contenders: plain, the host without any patch; edit, ours; maps, the edit on materialised maps.
    """
    edit = make_edit(name, kind, edits)
    guider = EditGuider(model, edit, make_prompt(name, "").encoding, 7.5)
    timing = _Timing(model, edit if with_maps else None, repeats)
    latent = torch.full(
        (1, CHANNELS[name], *FRAMES.get(name, ()), size // 8, size // 8), float(edit.picture is not None)
    )  # 0 is no picture
    scheduler = "simple" if name in JOINT_TEXT else "karras"
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, 30)
    guider.sample(torch.randn_like(latent), latent, timing, sigmas, disable_pbar=True)
    return {"seconds": timing.seconds, "peak_bytes": timing.peaks}


class _Timing:
    """In a sampler's place: makes one step again and again, each contender in turn."""

    def __init__(self, model, edit: Edit | None, repeats: int):
        self.model = model
        self.edit = edit
        self.repeats = repeats
        self.seconds: dict[str, list[float]] = {}
        self.peaks: dict[str, int] = {}

    def sample(
        self, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        x = noise * sigmas[0]
        sigma = sigmas[0].expand(len(x))
        plain = comfy.model_patcher.create_model_options_clone(self.model.model_options)
        contenders = {
            "plain": lambda: self._host(guider, x, sigma, sigmas, plain),
            "edit": lambda: guider(x, sigma, model_options=extra_args["model_options"]),
        }
        if self.edit is not None:
            taken = self.edit.variants[0].alignment.matrix.to(x)
            if x.shape[1] == 4:
                weights = torch.ones(2, 1, 77).to(x)
                controller = hertz.Controller(1, hertz.replace(taken[None]), weights, (0.0, 1.0), 10**6)
                maps = controller.patched(self.model).model_options
            else:
                maps = joint_map_steps.options(self.model, taken)
            contenders["maps"] = lambda: self._host(guider, x, sigma, sigmas[[0, -1]], maps)
        self.peaks = {name: peak_bytes(call, x.device) for name, call in contenders.items()}
        for _ in range(self.repeats):
            for name, call in contenders.items():
                self.seconds.setdefault(name, []).append(_seconds(call, x.device))
        return x

    def _host(self, guider, x, sigma, sigmas, model_options):
        options = {
            **model_options,
            "transformer_options": {**model_options["transformer_options"], "sample_sigmas": sigmas},
        }
        conds = guider.conds
        return comfy.samplers.sampling_function(
            guider.inner_model, x, sigma, conds["negative"], conds["positive"], guider.cfg, model_options=options
        )


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time on an accelerator; on the CPU the process's own time, which other programs don't lengthen."""
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start
