"""The inputs that the nodes which sample have in common, in P2PSampler's order."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import SAMPLER_NAMES, SCHEDULER_NAMES
from ..p2p_core.rows import TRAJECTORIES
from .schema import P2PEdit


def what_is_guided(edit: str = "What to edit: from PromptPairAlign, through any of the pack's nodes.") -> list:
    """`edit` is the tooltip of that input."""
    return [
        io.Model.Input("model", tooltip="SD 1.x, SD 2.x or SDXL, with any LoRA and most patches."),
        P2PEdit.Input("edit", tooltip=edit),
        io.Conditioning.Input("negative", tooltip="What no picture shall have, source or edit."),
    ]


def where_it_starts() -> io.Latent.Input:
    return io.Latent.Input("latent_image", tooltip="Where to start: empty, or a picture with denoise below 1.")


def what_is_tried() -> list:
    return [
        *what_is_guided("The edit that is tried, with one edited prompt."),
        where_it_starts(),
        io.Vae.Input("vae", tooltip="Decodes the results: they are measured and shown as pictures."),
    ]


def how_strongly_it_is_guided() -> io.Float.Input:
    return io.Float.Input(
        "cfg",
        default=7.5,
        min=0.0,
        max=100.0,
        step=0.1,
        round=0.01,
        tooltip="How closely the pictures follow their prompts.",
    )


def how_it_is_sampled() -> list:
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The noise, shared by source and edits.",
        ),
        io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Steps of denoising."),
        how_strongly_it_is_guided(),
        io.Combo.Input("sampler_name", options=SAMPLER_NAMES, tooltip="Any of ComfyUI's samplers."),
        io.Combo.Input("scheduler", options=SCHEDULER_NAMES, tooltip="How the noise falls over the steps."),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Below 1 the pictures start from latent_image. Windows count the steps that are made.",
        ),
    ]


def in_what_parts() -> list:
    return [
        io.Combo.Input(
            "trajectory",
            options=list(TRAJECTORIES),
            default="dual",
            optional=True,
            tooltip="As in P2PSampler: whether the source has a picture of its own (dual) or the edit's (shared).",
        ),
        io.Int.Input(
            "rows_at_once",
            default=8,
            min=1,
            max=256,
            optional=True,
            tooltip=(
                "Edited pictures that are sampled together. Fewer need less memory and take a little longer: the "
                "source is sampled along with each lot."
            ),
        ),
    ]


def decode(vae, latents):
    """Pictures [n, height, width, 3]."""
    pictures = vae.decode(latents)
    return pictures.reshape(-1, *pictures.shape[-3:])
