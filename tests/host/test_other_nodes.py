"""Other nodes that look at a whole batch: helped to see each prompt's pictures alone, or refused by name."""

from __future__ import annotations

from types import SimpleNamespace

import comfy.hooks
import comfy.ldm.modules.attention as attention
import pytest
import torch
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_perpneg import PerpNeg
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, attention_layers

from support.sampling import CFG, NOTHING, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model

FEW = {"image": latent(1, 8, 8), "sampled": sampling(steps=2)}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_mahiro_sees_each_prompt_s_pictures_alone(batch, trajectory):
    model = Mahiro.execute(small_model("sd1")).result[0]
    few = {"image": latent(batch, 8, 8), "sampled": sampling(steps=2)}
    edit = edit_of("a cat on a car", "a big dog on a car", "a cat on a blue bus").schedule(NOTHING)
    latents, _ = run(edit, model, trajectory=trajectory, **few)
    for place, prompt in enumerate((edit.source, *(variant.prompt for variant in edit.variants))):
        assert_same(latents[place * batch :][:batch], plain(prompt.encoding, model, **few))
    assert (latents[:batch] - plain(edit.source.encoding, **few)).abs().max() > 1e-3, "Mahiro does something"


def mean_of_all(args):
    return args["denoised"] - args["denoised"].mean()


def most_of_all(args):
    return args["denoised"] / args["denoised"].abs().amax()


def by_its_number(args):
    """As SVD's guidance, which takes the rows for frames."""
    scale = torch.linspace(1.0, 2.0, len(args["cond"])).reshape(-1, 1, 1, 1)
    return args["uncond"] + scale * (args["cond"] - args["uncond"])


def one_scale_for_all(args):
    cond, uncond = args["conds_out"]
    return [cond * (uncond.std(unbiased=False) / cond.std(unbiased=False)), uncond]


def with_a_mean_that_it_remembers():
    remembered = 0

    def post_cfg(args):
        nonlocal remembered
        remembered = 0.5 * remembered + args["denoised"]
        return args["denoised"] - 0.1 * remembered.mean()

    return post_cfg


class Remembering:
    """A rule that is an object with a memory, and begins to take a mean at the second evaluation."""

    def __init__(self):
        self.seen = []

    def __call__(self, args):
        self.seen.append(args["denoised"])
        return args["denoised"] if len(self.seen) < 2 else args["denoised"] - self.seen[-2].mean()


OVER_ALL_ROWS = {
    "a mean": ("post", lambda: mean_of_all),
    "the strongest": ("post", lambda: most_of_all),
    "a scale for each row": ("", lambda: by_its_number),
    "one scale for all": ("pre", lambda: one_scale_for_all),
    "a mean that it remembers": ("post", with_a_mean_that_it_remembers),
    "a mean from the second step on": ("post", Remembering),
    "a mean, by a method": ("post", lambda: Remembering().__call__),
}


def with_rule(place, rule):
    model = small_model("sd1").clone()
    name = "_".join(filter(None, ("set_model_sampler", place, "cfg_function")))
    getattr(model, name)(rule)
    return model


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("rule", OVER_ALL_ROWS)
def test_a_rule_that_takes_all_rows_together_sees_each_prompt_s_pictures_alone(rule, batch):
    place, make = OVER_ALL_ROWS[rule]
    few = {"image": latent(batch, 8, 8), "sampled": sampling(steps=3)}
    edit = edit_of("a cat on a car", "a big dog on a car").schedule(NOTHING)
    latents, _ = run(edit, with_rule(place, make()), **few)
    for i, prompt in enumerate((edit.source, edit.variants[0].prompt)):
        assert_same(latents[i * batch :][:batch], plain(prompt.encoding, with_rule(place, make()), **few))


@pytest.mark.parametrize("of_its_own", [False, True])
def test_a_rule_draws_the_noise_that_it_would_draw_without_an_edit(of_its_own):
    def noisy():
        generator = torch.Generator().manual_seed(1) if of_its_own else None

        def post_cfg(args):
            return args["denoised"] + 0.01 * torch.randn(args["denoised"].shape[1:], generator=generator)

        torch.manual_seed(1)
        return with_rule("post", post_cfg)

    edit = edit_of().schedule(NOTHING)
    alone = plain(edit.source.encoding, noisy(), **FEW)
    assert_same(run(edit, noisy(), **FEW)[0][:1], alone)


def test_a_rule_that_asks_the_model_asks_it_no_more_often_than_without_an_edit():
    passes = []

    def asking(args):
        passes.append(args["model"].apply_model)
        return args["denoised"]

    run(edit_of(), with_rule("post", asking), **FEW)
    assert len(passes) == FEW["sampled"].steps


def hooked(edit, strengths, names=("a", "b")):
    """Source and edited conditioning, each with hooks that were made for it."""

    def with_hooks(conditioning, strength):
        group = comfy.hooks.HookGroup()
        for name in names:
            hook = comfy.hooks.WeightHook(strength_model=strength)
            key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
            hook.weights = {key: ("diff", (torch.full((64, 64), float(ord(name)) / 1000),))}
            hook.need_weight_init = False
            group.add(hook)
        return [[text, {**options, "hooks": group}] for text, options in conditioning]

    sides = (edit.source.encoding, edit.variants[0].prompt.encoding)
    return [with_hooks(side, strength) for side, strength in zip(sides, strengths)]


def test_the_same_lora_hooks_on_both_sides_are_the_same():
    edit = edit_of().schedule(NOTHING)
    source, edited = hooked(edit, (0.7, 0.7))
    latents, _ = run(edit, source=source, edited=edited, **FEW)
    assert_same(latents[:1], plain(source, **FEW))
    assert_same(latents[1:], plain(edited, **FEW))


@pytest.mark.parametrize("other", ["strength", "weights"])
def test_other_lora_hooks_on_one_side_are_refused(other):
    edit = edit_of()
    source, edited = hooked(edit, (0.7, 0.5 if other == "strength" else 0.7))
    if other == "weights":
        _, edited = hooked(edit, (0.7, 0.7), ("a", "c"))
    with pytest.raises(EditError, match=r"source and edited.*hooks"):
        run(edit, source=source, edited=edited, **FEW)


def negpip_attn(q, k, v, extra_options):
    return q, k[:, 0::2], v[:, 1::2]


class Adapter:
    """As IPAdapter's patch: what it has for each picture is sized to a batch by repeating the last."""

    def __init__(self, **settings):
        self.kwargs = [{"ipadapter": None, "weight": 1.0, "mask": None, "unfold_batch": True, **settings}]

    def __call__(self, q, k, v, extra_options, **_):
        out = attention.optimized_attention(q, k, v, extra_options["n_heads"])
        batch = len(q) // len(extra_options["cond_or_uncond"])
        for settings in self.kwargs:
            for name in ("cond", "weight", "mask"):
                value = settings[name]
                if isinstance(value, torch.Tensor):
                    value = torch.cat([value, value[-1:].repeat(batch, 1, 1)])[:batch].repeat(len(q) // batch, 1, 1)
                    out = out + 0.3 * value
        return out


OF_EACH_PICTURE = {
    "references": {"cond": torch.randn(2, 1, 1)},
    "weights": {"cond": torch.ones(1, 1, 1), "weight": torch.tensor([0.5, 2.0]).reshape(2, 1, 1)},
    "masks": {"cond": torch.ones(1, 1, 1), "mask": torch.tensor([1.0, 0.0]).reshape(2, 1, 1)},
}


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
@pytest.mark.parametrize("what", OF_EACH_PICTURE)
def test_ipadapter_gives_each_picture_its_own_in_the_source_and_in_every_edit(what, trajectory, batch):
    def with_adapter():
        model, patch = small_model("sd1").clone(), Adapter(**OF_EACH_PICTURE[what])
        for layer in attention_layers(model):
            if layer.kind == "cross":
                model.set_model_attn2_replace(patch, layer.block, layer.number)
        return model, patch

    few = {"image": latent(batch, 8, 8), "sampled": sampling(steps=2)}
    edit = edit_of("a cat on a car", "a big dog on a car", "a cat on a blue bus").schedule(NOTHING)
    model, patch = with_adapter()
    latents, _ = run(edit, model, trajectory=trajectory, **few)
    for place, prompt in enumerate((edit.source, *(variant.prompt for variant in edit.variants))):
        assert_same(latents[place * batch :][:batch], plain(prompt.encoding, model, **few))
    assert all(len(patch.kwargs[0][name]) <= 2 for name in OF_EACH_PICTURE[what]), "the model's own patch is as it was"


def with_patch(name):
    model = small_model("sd1").clone()
    if name == "NegPip":
        model.set_model_attn2_patch(negpip_attn)
    if name == "NegPip by its option":
        model.model_options["ppm_negpip"] = True
    if name == "PerpNeg":
        model = PerpNeg.execute(model, NEGATIVE, 1.0).result[0]
    if name == "AnimateDiff":
        model.set_attachments("ADE_params", SimpleNamespace())
    if name == "AnimateDiff by its model":
        model.set_additional_models("ADE_motion", [])
    return model


@pytest.mark.parametrize(
    "name",
    ["NegPip", "NegPip by its option", "PerpNeg", "AnimateDiff", "AnimateDiff by its model"],
)
def test_a_node_that_can_t_be_edited_with_is_refused_by_name(name):
    with pytest.raises(EditError, match=f"^model: it has {name.split(' by ')[0]} on it"):
        EditGuider(with_patch(name), edit_of(), NEGATIVE, CFG)


@pytest.mark.parametrize("place", ["source", "edited", "negative"])
@pytest.mark.parametrize("chained", [False, True])
def test_latent_keyframes_are_refused_by_name(place, chained):
    keyframes = SimpleNamespace(keyframes=[SimpleNamespace(latent_keyframes=SimpleNamespace(keyframes=[1]))])
    control = SimpleNamespace(timestep_keyframes=keyframes, previous_controlnet=None)
    if chained:
        control = SimpleNamespace(previous_controlnet=control)
    edit = edit_of()
    given = {"source": edit.source.encoding, "edited": edit.variants[0].prompt.encoding, "negative": NEGATIVE}
    given[place] = [[text, {**options, "control": control}] for text, options in given[place]]
    with pytest.raises(EditError, match="latent keyframes"):
        EditGuider(small_model("sd1"), edit, given.pop("negative"), CFG, **given)
