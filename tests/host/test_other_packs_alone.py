"""Other people's packs on small models, in this process: each prompt's pictures have what KSampler gives them.

As in test_other_packs.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.inside_comfyui import load_pack
from support.other_packs import GIVEN, PRESENT, of
from support.sampling import NOTHING, assert_same, latent, plain, run, sampling
from support.small_models import edit_of, small_controlnet, small_model

pytestmark = pytest.mark.skipif(not PRESENT, reason="other packs aren't here: `make packs` fetches them and runs this")


@pytest.mark.parametrize(
    "case",
    of(
        "Skimmed_CFG",
        by_signs=("Skimmed CFG", (7.0, False, False)),
        over_all_rows=("Skimmed CFG - Difference CFG", (2.0, "linear_distance", 1.0)),
    ),
)
def test_a_pack_s_rule_on_guidance_gives_each_prompt_what_it_gives_alone(case):
    """In double precision: it decides by signs, which rounding turns. The second takes one norm of all rows."""
    name, settings = case
    node = load_pack(Path(GIVEN) / "Skimmed_CFG", "skimmed_cfg").NODE_CLASS_MAPPINGS[name]()
    model = node.patch(small_model("sd1", torch.float64), *settings)[0]
    edit, few = edit_of().schedule(NOTHING), {"sampled": sampling(steps=3)}
    latents, _ = run(edit, model, **few)
    for row, prompt in zip(latents, (edit.source, edit.variants[0].prompt)):
        assert_same(row[None], plain(prompt.encoding, model, **few), 1e-9)
        assert (row - plain(prompt.encoding, small_model("sd1", torch.float64), **few)).abs().max() > 1e-3


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("case", of("ComfyUI-Advanced-ControlNet", hints=False, hints_and_masks=True))
def test_a_pack_s_controlnet_has_each_picture_s_hint_and_mask_in_source_and_edit(case, batch):
    pack = load_pack(Path(GIVEN) / "ComfyUI-Advanced-ControlNet", "advanced_controlnet").NODE_CLASS_MAPPINGS
    hints, control = torch.rand(2, 64, 64, 3), small_controlnet()
    given = {"mask_optional": torch.stack([torch.ones(64, 64), torch.zeros(64, 64)])} if case else {}

    def applied(conditioning):
        node = pack["ACN_AdvancedControlNetApply_v2"]()
        return node.apply_controlnet(conditioning, None, control, hints, 1.0, 0.0, 1.0, **given)[0]

    edit, few = edit_of().schedule(NOTHING), {"image": latent(batch, 8, 8), "sampled": sampling(steps=2)}
    prompts = (edit.source.encoding, edit.variants[0].prompt.encoding)
    latents, _ = run(edit, **few, **dict(zip(("source", "edited"), map(applied, prompts))))
    for place, prompt in enumerate(prompts):
        alone = plain(applied(prompt), **few)
        assert_same(latents[place * batch :][:batch], alone)
        assert (alone - plain(prompt, **few)).abs().amax((1, 2, 3)).max() > 1e-3
