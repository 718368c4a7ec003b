"""Edits of real pictures by stock pipelines around small random networks: the source is the picture."""

from __future__ import annotations

import diffusers
import pytest
import torch
from PIL import Image
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers import align, prompt_to_prompt

from support.sampling import NOTHING
from support.small_pipelines import SCHEDULERS, SIZE, inputs, small_pipeline

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a red car"
# What is no step of theirs: DEIS goes to the last level above 0, here 0.03, and pipelines decode that.
LEAVES = {"DEISMultistepScheduler": 0.1}
MASK = torch.eye(2).repeat_interleave(4, 0).repeat_interleave(4, 1)


@pytest.fixture(scope="module")
def pipes():
    made = {}

    def pipe(kind: str = "text", scheduler: str = "EulerDiscreteScheduler", **settings):
        if kind not in made:
            made[kind] = small_pipeline(kind, torch.float64)
            made[kind].stock = made[kind].scheduler
        settings = {**SCHEDULERS.get(scheduler, {}), "final_sigmas_type": "zero", **settings}
        if scheduler == "PNDMScheduler":  # of any other spacing it asks at levels that are not those of its steps
            settings["timestep_spacing"] = "leading"
        made[kind].scheduler = getattr(diffusers, scheduler).from_config(made[kind].stock.config, **settings)
        return made[kind]

    return pipe


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def picture(number: int = 1) -> torch.Tensor:
    """Latents of noise with the spread of real ones."""
    return torch.randn(number, 4, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def edited(pipe, edit, kind="text", trajectory="dual", of=None, **more):
    with prompt_to_prompt(pipe, edit, trajectory, picture=picture() if of is None else of) as run:
        given = inputs(kind, torch.Generator().manual_seed(3)) | more
        images = pipe(run.prompts, **given).images
    return images, run


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_source_is_the_picture_and_outside_of_a_mask_the_edit_is_too(pipes, scheduler):
    pipe = pipes("text", scheduler)
    images, run = edited(pipe, align(pipe, SOURCE, EDIT).local_blend("", "", mask=MASK, start=0.0))
    assert off(images[0], picture()[0]) < LEAVES.get(scheduler, 1e-5)
    outside = run.masks()[0] == 0
    assert torch.equal(images[1][:, outside], images[0][:, outside])
    assert off(images[1], images[0]) > 0.05


@pytest.mark.parametrize("noise", ["fresh", "fixed"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_words_give_the_picture_back(pipes, scheduler, noise):
    pipe = pipes("text", scheduler)
    images, _ = edited(pipe, align(pipe, SOURCE, "").real_picture(noise=noise))
    assert off(images[1], images[0]) < 1e-6


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
@pytest.mark.parametrize("kind", ["text", "image", "inpaint", "inpaint9", "xl", "xl-image"])
def test_pipelines_and_trajectories(pipes, kind, trajectory):
    pipe = pipes(kind)
    for edit, low, high in ((EDIT, 1e-2, 100), ("", 0, 1e-6)):
        images, _ = edited(pipe, align(pipe, SOURCE, edit), kind, trajectory)
        if not kind.startswith("inpaint"):  # that one pastes its own image in
            assert off(images[0], picture()[0]) < 1e-5
        assert low <= off(images[1], images[0]) < high


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_kinds_of_prediction(pipes, prediction_type):
    pipe = pipes("text", prediction_type=prediction_type)
    images, _ = edited(pipe, align(pipe, SOURCE, EDIT))
    assert off(images[0], picture()[0]) < 1e-5
    assert off(images[1], images[0]) > 1e-2


def test_without_fidelity_and_injection_the_edit_is_the_pipelines_own(pipes):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT).schedule(NOTHING)
    alone = pipe([EDIT], **inputs("text", torch.Generator().manual_seed(3))).images
    for free in ({"fidelity": 0.0}, {"release": 1.0}):
        images, _ = edited(pipe, edit.real_picture(**free))
        assert off(images[1], alone[0]) < 1e-6


def test_guidance_of_the_sources_own(pipes):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT)
    equal, plain, own = (edited(pipe, edit.real_picture(source_cfg=g))[0] for g in (3.0, 0.0, 1.0))
    assert off(equal, plain) < 1e-9
    assert off(own[0], picture()[0]) < 1e-5
    assert off(own[1], plain[1]) > 1e-2
    with pytest.raises(EditError, match="guidance_scale above 1"):
        edited(pipe, edit.real_picture(source_cfg=2.0), guidance_scale=1.0)


def test_several_edits_and_pictures_are_what_each_gives_alone(pipes):
    """The pipeline's noise is of both, so it is given to the one alone."""
    pipe = pipes()
    words, noise = [EDIT, "a fox on a car"], picture(3)[1:]
    several = {"num_images_per_prompt": 2, "latents": noise.repeat(3, 1, 1, 1)}
    together, _ = edited(pipe, align(pipe, SOURCE, words), of=picture(2), **several)
    for i, word in enumerate(words):
        for j in (0, 1):
            own = {"latents": noise[j].repeat(2, 1, 1, 1)}
            alone, _ = edited(pipe, align(pipe, SOURCE, word), of=picture(2)[j : j + 1], **own)
            assert off(together[j], alone[0]) < 1e-9
            assert off(together[2 + 2 * i + j], alone[1]) < 1e-9


def test_images_are_encoded(pipes):
    pipe = pipes()
    pixels = torch.linspace(0, 1, SIZE).expand(1, 3, SIZE, SIZE).double()
    expected = pipe.vae.encode(2 * pixels - 1).latents * pipe.vae.config.scaling_factor
    image = Image.fromarray((pixels[0].movedim(0, -1) * 255).round().byte().numpy())
    for given, tolerance in ((pixels, 1e-5), (image, 0.05), ([image], 0.05)):
        images, _ = edited(pipe, align(pipe, SOURCE, EDIT), of=given)
        assert off(images[:1], expected) < tolerance


def test_half_precision_holds_the_picture():
    pipe = small_pipeline("text", torch.bfloat16)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config, final_sigmas_type="zero")
    images, _ = edited(pipe, align(pipe, SOURCE, EDIT))
    assert off(images[0].double(), picture()[0]) < 0.1


def test_what_does_not_fit_is_said(pipes):
    pipe, control = pipes(), pipes("control")
    edit = align(pipe, SOURCE, EDIT)
    with pytest.raises(EditError, match="picture="), prompt_to_prompt(pipe, edit.real_picture()):
        pass
    with pytest.raises(EditError, match=r"picture: .*4 x 4 x 4.*4 x 8 x 8.*height and width"):
        edited(pipe, edit, of=picture()[..., :4, :4])
    with pytest.raises(EditError, match="num_images_per_prompt=2"):
        edited(pipe, edit, of=picture(2))
    with pytest.raises(EditError, match="guidance_rescale"):
        edited(pipe, edit, guidance_rescale=0.7)
    with pytest.raises(EditError, match="noise='fixed'"):
        edited(control, edit, "control")
    images, _ = edited(control, edit.real_picture(noise="fixed"), "control")
    assert off(images[0], picture()[0]) < 1e-5
