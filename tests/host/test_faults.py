"""Whatever goes wrong in a run, nothing half-done stays behind: the next ordinary run is the same to the bit."""

from __future__ import annotations

import random
import threading

import comfy.model_management
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core import run as core_run
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, attention_layers, sample
from prompt_to_prompt.p2p_core.schedule import InjectSchedule

from support.sampling import assert_same, latent, plain, sampling
from support.small_models import NEGATIVE, edit_of, small_model

HOW = sampling(steps=3)
EDIT = edit_of().schedule(InjectSchedule(self_layers="all")).local_blend("cat", "dog")  # in every layer


def ordinary() -> torch.Tensor:
    return plain(edit_of().source.encoding, sampled=HOW)


@pytest.fixture(scope="module")
def fresh() -> torch.Tensor:
    return ordinary()


@pytest.fixture(autouse=True)
def nothing_stays_behind(fresh):
    before = repr(small_model("sd1").model_options)
    yield
    assert repr(small_model("sd1").model_options) == before
    assert not torch.overrides._get_current_function_mode_stack()
    assert torch.equal(ordinary(), fresh)


def run(model=None):
    guider = EditGuider(model or small_model("sd1"), EDIT, NEGATIVE, 5.0)
    mine = set(vars(guider))
    try:
        return sample(guider, latent(), HOW)[0]
    finally:
        assert set(vars(guider)) == mine


def after(calls: int, function, error: BaseException):
    """`function`, which raises `error` at its call of that number."""
    count = 0

    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        if count == calls:
            raise error
        return function(*args, **kwargs)

    return counted


@pytest.mark.parametrize("turn", range(50))
def test_interrupted_at_any_moment(turn, monkeypatch):
    """At any layer of any step, as a press on the button would be."""
    moment = random.Random(turn).randrange(1, HOW.steps * len(attention_layers(small_model("sd1"))))
    interrupt = comfy.model_management.InterruptProcessingException()
    attention = after(moment, core_run.Run.attention, interrupt)
    monkeypatch.setattr(core_run.Run, "attention", attention)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run()


@pytest.mark.parametrize(
    "place", ["Run.predictions", "Run.begin_step", "Run.final", "MapRecorder.record", "edited_attention"]
)
@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), torch.cuda.OutOfMemoryError("simulated")], ids=["error", "memory"]
)
def test_an_error_in_our_own_code(place, error, monkeypatch):
    *of, name = place.split(".")
    owner = getattr(core_run, of[0]) if of else core_run
    monkeypatch.setattr(owner, name, after(1 if name == "final" else 3, getattr(owner, name), error))
    with pytest.raises(type(error)):
        run()


def test_an_error_in_another_pack_s_patch():
    model = small_model("sd1").clone()

    def broken(q, k, v, extra_options):
        raise RuntimeError("another pack's")

    model.set_model_attn2_replace(broken, "output", 3)
    with pytest.raises(RuntimeError, match="another pack's"):
        run(model)


def test_an_error_in_the_sampler(monkeypatch):
    step = after(2, comfy.samplers.k_diffusion_sampling.to_d, RuntimeError("the sampler's"))
    monkeypatch.setattr(comfy.samplers.k_diffusion_sampling, "to_d", step)
    with pytest.raises(RuntimeError, match="the sampler's"):
        run()


def test_an_error_on_the_way_in(monkeypatch):
    """Before the first step: where models are loaded, memory is short first."""
    load = after(1, comfy.model_management.load_models_gpu, torch.cuda.OutOfMemoryError("simulated"))
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run()


def test_chunks_evaluated_in_threads(monkeypatch):
    """As on several devices: the conditional and the unconditional rows at the same time, each on its own."""
    together = run()
    original = comfy.samplers.calc_cond_batch

    def in_threads(model, conds, x, timestep, model_options):
        results: list = [None] * len(conds)

        def evaluate(i):
            only = [cond if j == i else None for j, cond in enumerate(conds)]
            with torch.no_grad():
                results[i] = original(model, only, x, timestep, model_options)[i]

        threads = [threading.Thread(target=evaluate, args=(i,)) for i in range(len(conds))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    monkeypatch.setattr(comfy.samplers, "calc_cond_batch", in_threads)
    apart = run()
    assert_same(apart, together)
