"""Each picture of a batch with its own pictures, masks and hints beside the prompts, as KSampler has them."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, sample

import nodes
from support.sampling import CFG, NOTHING, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, prompt, small_controlnet, small_model

COUNTS = [(2, 2), (2, 4), (3, 2), (2, 3), (1, 2)]
"""Pictures as conditioning, and of the batch."""
WORDS = ("a big dog on a car", "a cat on a blue bus")


def pictures(count, channels=4, size=8):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(7))


def with_options(conditioning, **options):
    return [[text, {**own, **options}] for text, own in conditioning]


def assert_rows_are_ordinary_runs(change, batch, model="sd1", change_negative=None, trajectory="dual"):
    """Without injection every row is what KSampler gives for that prompt and picture."""
    edit = edit_of("a cat on a car", *WORDS).schedule(NOTHING)
    source = change(edit.source.encoding)
    edited = change([[torch.cat([v.prompt.encoding[0][0] for v in edit.variants]), pooled(edit)]])
    negative = (change_negative or change)(NEGATIVE)
    chosen = small_model(model)
    guider = EditGuider(chosen, edit, negative, CFG, source=source, edited=edited, trajectory=trajectory)
    latents, _ = sample(guider, latent(batch, 8, 8), sampling(steps=2))
    for place, words in enumerate(("a cat on a car", *WORDS)):
        alone = plain(
            change(prompt(words).encoding),
            model,
            image=latent(batch, 8, 8),
            negative=negative,
            sampled=sampling(steps=2),
        )
        assert_same(latents[place * batch : (place + 1) * batch], alone)
    if batch > 1:
        assert (latents[0] - latents[1]).abs().max() > 1e-3


def pooled(edit):
    return {"pooled_output": torch.cat([v.prompt.encoding[0][1]["pooled_output"] for v in edit.variants])}


@pytest.mark.parametrize(("count", "batch", "trajectory"), [*((*some, "dual") for some in COUNTS), (2, 2, "shared")])
def test_an_inpaint_model_gets_each_row_s_own_picture_and_mask(count, batch, trajectory):
    image, mask = pictures(count), (pictures(count, 1, 64) > 0).float()
    assert_rows_are_ordinary_runs(
        lambda c: with_options(c, concat_latent_image=image, concat_mask=mask),
        batch,
        "sd1_inpaint",
        trajectory=trajectory,
    )


@pytest.mark.parametrize(("count", "batch"), COUNTS)
def test_instruct_pix2pix_gets_each_row_s_own_picture(count, batch):
    image = pictures(count)
    assert_rows_are_ordinary_runs(lambda c: with_options(c, concat_latent_image=image), batch, "sd1_pix2pix")


@pytest.mark.parametrize(("count", "batch"), [(2, 2), (2, 4), (3, 3), (1, 2)])
def test_masked_conditioning_has_each_row_s_own_mask(count, batch):
    masks = (pictures(count, 1, 64)[:, 0] > 0).float()
    common = prompt("a photo of the sea").encoding
    assert_rows_are_ordinary_runs(
        lambda c: nodes.ConditioningSetMask().append(c, masks, "default", 0.8)[0] + several(common, len(c[0][0])),
        batch,
        change_negative=lambda c: c,
    )


def several(conditioning, rows):
    text, own = conditioning[0]
    return [[text.repeat(rows, 1, 1), {"pooled_output": own["pooled_output"].repeat(rows, 1)}]]


@pytest.mark.parametrize(("count", "batch", "chained"), [(2, 2, False), (3, 2, False), (2, 3, True)])
def test_controlnet_gets_each_row_s_own_hint(count, batch, chained):
    hints = torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    first = nodes.ControlNetApplyAdvanced()

    def change(conditioning):
        for image in (hints, hints.flip(0)) if chained else (hints,):
            conditioning = first.apply_controlnet(conditioning, [], small_controlnet(), image, 1.0, 0.0, 1.0)[0]
        return conditioning

    assert_rows_are_ordinary_runs(change, batch)


@pytest.mark.parametrize(("count", "batch"), [(2, 2), (2, 4)])
def test_masks_areas_and_hints_of_each_picture_together(count, batch):
    masks = (pictures(count, 1, 64)[:, 0] > 0).float()
    hints = torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(5))

    def change(conditioning):
        common = several(prompt("a photo of the sea").encoding, len(conditioning[0][0]))
        controlled, _ = nodes.ControlNetApplyAdvanced().apply_controlnet(
            conditioning, [], small_controlnet(), hints, 1.0, 0.0, 1.0
        )
        masked = nodes.ConditioningSetMask().append(controlled, masks, "default", 0.8)[0]
        return masked + nodes.ConditioningSetArea().append(common, 32, 64, 32, 0, 1.0)[0] + common

    assert_rows_are_ordinary_runs(change, batch, change_negative=lambda c: c)


def test_a_mask_on_the_latents_of_each_picture_is_that_picture_s_in_every_edit():
    masks = (pictures(2, 1, 64) > 0).float()
    image = {**latent(2, 8, 8), "noise_mask": masks}
    edit = edit_of("a cat on a car", *WORDS).schedule(NOTHING)
    latents, _ = run(edit, image=image, sampled=sampling(steps=2))
    for place, prompt_of in enumerate((edit.source, *(v.prompt for v in edit.variants))):
        alone = plain(prompt_of.encoding, image=image, sampled=sampling(steps=2))
        assert_same(latents[2 * place :][:2], alone)


@pytest.mark.parametrize(("count", "batch"), [(2, 2), (2, 3), (3, 2)])
def test_negatives_of_each_picture_stay_with_it(count, batch):
    negatives = torch.cat([prompt(words).encoding[0][0] for words in ("blurry", "dark", "drawn")[:count]])
    assert_rows_are_ordinary_runs(lambda c: c, batch, change_negative=lambda c: [[negatives, c[0][1]]])


def test_an_edit_with_pictures_of_its_own_is_what_each_picture_gives_alone():
    image, mask = pictures(2), (pictures(2, 1, 64) > 0).float()
    edit = edit_of().local_blend("cat", "dog")

    def sampled(which, batch_index):
        options = {"concat_latent_image": image[which], "concat_mask": mask[which]}
        return run(
            edit,
            "sd1_inpaint",
            image=latent(len(batch_index), 8, 8, batch_index=batch_index),
            negative=with_options(NEGATIVE, **options),
            source=with_options(edit.source.encoding, **options),
            edited=with_options(edit.variants[0].prompt.encoding, **options),
        )[0]

    both, second = sampled(slice(0, 2), [0, 1]), sampled(slice(1, 2), [1])
    assert_same(both[1::2], second)
