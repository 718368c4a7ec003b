"""Pairs drawn together are those that each of them is by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers import prompt_to_prompt
from prompt_to_prompt.p2p_core.pairs import drawing
from prompt_to_prompt.p2p_core.pairs.again import again
from prompt_to_prompt.p2p_core.pairs.drawing import Painter, Settings, compile_parts
from prompt_to_prompt.p2p_core.pairs.plan import Draws, batches, filled, samples
from prompt_to_prompt.p2p_core.pairs.request import read_request

from support.small_joint_pipelines import small_joint_pipeline
from support.small_pipelines import small_pipeline


def planned(requests, rows=16, number=2):
    return list(batches([sample for one in requests for sample in samples(one, Draws(samples=number))], rows))


def of_the_host(painter, group):
    """A source and its edits by the host's own context, bytes."""
    settings, seed = painter.settings, torch.Generator().manual_seed(group[0].seed)
    with prompt_to_prompt(painter.pipe, painter.sampled(group)) as run:
        pictures = painter.pipe(
            run.prompts,
            negative_prompt=[settings.negative] * len(run.prompts),
            width=settings.width,
            height=settings.height,
            num_inference_steps=settings.steps,
            guidance_scale=settings.cfg,
            generator=seed,
            output_type="np",
        ).images
    return (pictures * 255).round()


def test_pairs_drawn_together_are_the_hosts_own(painter, asked):
    """Blends, windows and weights among them. To rounding: a batch of other rows is added up in another order."""
    (batch,) = planned(asked, number=1)
    for group, pictures in zip(batch, painter.draw(batch)):
        assert pictures.shape == (1 + len(group), 128, 128, 3)
        assert np.abs(of_the_host(painter, group) - pictures).max() <= 1
        assert all(np.abs(pictures[0].astype(int) - edit).mean() > 1 for edit in pictures[1:])


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde"])
def test_every_source_has_its_own_noise_at_every_step(sampler, asked):
    painter = Painter(Settings(steps=3, cfg=4.0, sampler_name=sampler))
    (batch,) = planned(asked[:1], number=2)
    for group, pictures in zip(batch, painter.draw(batch)):
        assert np.abs(of_the_host(painter, group) - pictures).max() <= 1


def test_a_row_is_drawn_again_to_the_bit_whatever_it_was_drawn_with(painter, asked):
    for batch in planned(asked, rows=5, number=1):
        for group, pictures in zip(batch, painter.draw(batch)):
            for sample, picture in zip(group, pictures[1:]):
                source, edited = again(painter, sample, filled(batch))
                assert np.array_equal(source, pictures[0]) and np.array_equal(edited, picture)


def test_a_share_of_injected_steps_is_what_makes_edits_differ(painter, asked):
    few, many = (
        again(painter, sample, 2)
        for sample in (samples(asked[0], Draws(1, (p, p)))[0] for p in (0.1, 0.9))
    )  # fmt: skip
    assert np.array_equal(few[0], many[0])
    nearer, further = (np.abs(pair[0].astype(int) - pair[1]).mean() for pair in (many, few))
    assert nearer < further


@pytest.mark.parametrize("kind", ["text", "xl", "sd3", "flux"])
def test_any_model_that_the_host_loads_draws(kind, monkeypatch, asked):
    small = small_pipeline if kind in ("text", "xl") else small_joint_pipeline
    monkeypatch.setattr(drawing, "_load", lambda settings: small(kind, torch.float32))
    painter = Painter(Settings(model="small", steps=2, negative="blurry", width=64, height=64))
    (batch,) = planned(asked[:1], number=1)
    (pictures,) = painter.draw(batch)
    assert pictures.shape == (2, 64, 64, 3)
    assert np.abs(of_the_host(painter, batch[0]) - pictures).max() <= 1


def test_words_that_the_demo_does_not_know_are_refused(painter):
    zebra = read_request({"source": "a cat on a car", "edit": "a zebra on a car"})
    with pytest.raises(EditError, match="edit: the demo model does not know zebra"):
        painter.edit(zebra)


def test_what_does_not_fit_into_memory_is_told_with_what_would(painter, asked, monkeypatch):
    def too_large(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(painter.pipe), "__call__", too_large)
    with pytest.raises(EditError, match=r"rows: 12 pictures of 128 x 128 .* Try --rows 6, --dtype float16"):
        painter.draw(planned(asked, number=2)[0] + planned(asked[2:], number=1)[0])


def test_a_model_of_another_kind_is_refused(monkeypatch):
    pipe = small_pipeline("text")
    pipe.unet = torch.nn.Linear(1, 1)
    monkeypatch.setattr(drawing, "_load", lambda settings: pipe)
    with pytest.raises(EditError, match="no UNet cross-attention"):
        Painter(Settings(model="other"))


def test_what_is_compiled_is_not_the_attention(painter):
    unet = small_pipeline("text").unet
    compile_parts(unet)
    compiled = {type(module).__name__ for module in unet.modules() if module._compiled_call_impl is not None}
    assert compiled == {"ResnetBlock2D", "FeedForward"}


def test_no_block_is_left_uncompiled():
    unet = Painter(Settings()).pipe.unet
    # The limits, which compile_parts raises, are put back.
    limits = {"recompile_limit": 8, "accumulated_recompile_limit": 256}
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, **limits), torch.inference_mode():
        compile_parts(unet, backend="eager")
        for rows in (2, 3):
            unet(torch.zeros(rows, 4, 16, 16), 500, torch.zeros(rows, 77, unet.config.cross_attention_dim))
    torch._dynamo.reset()
