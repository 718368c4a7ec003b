"""The inputs that several nodes have in common."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import SAMPLER_NAMES, SCHEDULER_NAMES
from ..p2p_core.rows import TRAJECTORIES
from .schema import P2PEdit


def guider_inputs(
    edit: str = "The edit to make: from PromptPairAlign, directly or through other nodes of the pack.",
) -> list:
    """`edit` is the tooltip of that input."""
    return [
        io.Model.Input(
            "model",
            tooltip=(
                "SD 1.x, SD 2.x, SDXL, SD 3.x, Flux, Qwen-Image, Z-Image, Wan or another on the page of models, with "
                "any LoRA and most patches."
            ),
        ),
        P2PEdit.Input("edit", tooltip=edit),
        io.Conditioning.Input("negative", tooltip="What to avoid, in the source and in the edits."),
    ]


def latent_input() -> io.Latent.Input:
    return io.Latent.Input(
        "latent_image",
        tooltip=(
            "Where to start: an empty latent, a picture with denoise below 1, or with P2PRealPicture the picture to "
            "edit."
        ),
    )


def trial_inputs() -> list:
    """Of the nodes that sample many variants of one edit and look at the pictures."""
    return [
        *guider_inputs("The edit to try, with a single edited prompt."),
        latent_input(),
        io.Vae.Input("vae", tooltip="Decodes the results into pictures."),
    ]


def cfg_input() -> io.Float.Input:
    return io.Float.Input(
        "cfg",
        default=7.5,
        min=0.0,
        max=100.0,
        step=0.1,
        round=0.01,
        tooltip="How closely the pictures follow their prompts.",
    )


def ksampler_inputs() -> list:
    """KSampler's settings, in its order; without `cfg` they are the fields of Sampling."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The seed of the noise, which source and edits share.",
        ),
        io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Number of denoising steps."),
        cfg_input(),
        io.Combo.Input("sampler_name", options=SAMPLER_NAMES, tooltip="Any of ComfyUI's samplers."),
        io.Combo.Input("scheduler", options=SCHEDULER_NAMES, tooltip="How the noise level falls over the steps."),
        fraction_input(
            "denoise", 1.0, "Below 1, the pictures start from latent_image. Windows count only the steps that are made."
        ),
    ]


def trajectory_input(tooltip: str) -> io.Combo.Input:
    return io.Combo.Input("trajectory", options=list(TRAJECTORIES), default="dual", optional=True, tooltip=tooltip)


def batch_inputs() -> list:
    """How many variants are sampled together, and whether each has the source's own picture beside it."""
    return [
        trajectory_input(
            "As in P2PSampler: the source's attention comes from its own picture (dual) or the edit's (shared)."
        ),
        io.Int.Input(
            "rows_at_once",
            default=8,
            min=1,
            max=256,
            optional=True,
            tooltip=(
                "How many edited pictures are sampled together. Fewer need less memory but take a little longer, since "
                "the source is sampled again with each batch."
            ),
        ),
    ]


def fraction_input(name: str, default: float, tooltip: str, optional: bool = False) -> io.Float.Input:
    """A number from 0 to 1."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip, optional=optional)
