"""What is in each example workflow. What one saves under its own name is its thumbnail."""

from .app import edit_app
from .edits import (
    img2img_mask,
    local_blend,
    local_blend_transformer,
    refinement,
    reweighting,
    several_edits,
    word_swap_transformer,
)
from .other_models import controlnet, sdxl
from .pictures import painted_mask, real_picture
from .sampling import custom_sampler, many_wordings, shared_trajectory
from .tools import attention_maps, layer_study, sweep

EXAMPLES = {
    make.__name__: make
    for make in (
        edit_app,
        refinement,
        reweighting,
        local_blend,
        several_edits,
        many_wordings,
        img2img_mask,
        real_picture,
        painted_mask,
        word_swap_transformer,
        local_blend_transformer,
        shared_trajectory,
        custom_sampler,
        sweep,
        attention_maps,
        layer_study,
        controlnet,
        sdxl,
    )
}
NEED_ANOTHER_MODEL = {
    "controlnet": ("ControlNet beside an edit", "an SD 1.5 checkpoint and a ControlNet file"),
    "sdxl": ("An edit with SDXL", "an SDXL checkpoint"),
}
