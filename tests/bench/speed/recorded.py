"""Whole runs: a source alone, recorded, with an edit beside it, and the edit of the recorded source."""

from __future__ import annotations

import time
from collections.abc import Callable

import comfy.sample
import comfy.utils
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import (
    EditGuider,
    RecordedGuider,
    Sampling,
    architecture_of,
    edit_recorded,
    record,
    sample,
)
from prompt_to_prompt.p2p_core.hosts.comfy.recording_size import expected_bytes
from prompt_to_prompt.p2p_core.recording import Kept

from bench.speed.contenders import DOG, SOURCE, make_prompt
from bench.speed.full_models import CHANNELS, JOINT_TEXT
from support.small_models import Edit

CFG = 7.5


@torch.inference_mode()
def measure(model, name: str, size: int, steps: int, repeats: int, keep: str) -> dict:
    """Seconds of each kind of run, and the bytes of a recording, as computed and as they are.

    The edit is a word swap with the default windows. plain: KSampler's run of the source alone; record: the same,
    recorded; both: source and edit side by side; edit: from the recording.
    """
    comfy.utils.set_progress_bar_enabled(False)
    edit, negative = Edit(make_prompt(name, SOURCE)).add(make_prompt(name, DOG)), make_prompt(name, "").encoding
    latent = {"samples": torch.zeros(1, CHANNELS[name], size // 8, size // 8)}
    sampling = Sampling(1, steps, "euler", "simple" if name in JOINT_TEXT else "karras")
    source, made = edit.source.encoding, {}

    def plain():
        noise = comfy.sample.prepare_noise(latent["samples"], sampling.seed)
        settings = (sampling.steps, CFG, sampling.sampler_name, sampling.scheduler)
        comfy.sample.sample(model, noise, *settings, source, negative, latent["samples"], disable_pbar=True)

    def recorded():
        made["recording"], _ = record(model, source, negative, CFG, latent, sampling, keep=keep)

    def both():
        made["both"] = sample(EditGuider(model, edit, negative, CFG), latent, sampling)[0][1:]

    def alone():
        recording = made["recording"]
        made["edit"] = edit_recorded(RecordedGuider(model, edit, negative, recording), recording)[0]

    contenders = {"plain": plain, "record": recorded, "both": both, "edit": alone}
    seconds: dict[str, list[float]] = {}
    for number in range(repeats):
        # Each in turn comes first after what warms the memory up.
        for which in list(contenders)[number % 2 :] + list(contenders)[: number % 2]:
            seconds.setdefault(which, []).append(_seconds(contenders[which]))
    apart = (made["edit"] - made["both"]).abs().max() / made["both"].abs().max()
    kept = Kept.of(architecture_of(model).layers, keep)
    expected = expected_bytes(model, kept, source, latent, sampling)
    return {
        "seconds": seconds,
        "bytes": made["recording"].recording.nbytes,
        "expected_bytes": expected,
        "apart": float(apart),
    }


def _seconds(call: Callable[[], None]) -> float:
    """Wall time on an accelerator; on the CPU the process's own time, which other programs don't lengthen."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start
