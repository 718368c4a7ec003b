import torch
from comfy_api.latest import io

from ..p2p_core.hosts.comfy import SAMPLER_NAMES, SCHEDULER_NAMES, EditGuider, sample
from ..p2p_core.rows import TRAJECTORIES
from .note import show_note
from .wanted import is_connected, is_wanted_now
from .wire import P2PEdit, P2PMaps, schema

MAPS_OUTPUT = 2


class P2PSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PSampler",
            display_name="P2P Sampler",
            description=(
                "Samples source and edits side by side from one noise. The source is the picture that KSampler gives "
                "for its prompt and seed. The model that comes in is not changed."
            ),
            search_aliases=["ksampler", "cross attention control"],
            inputs=[
                io.Model.Input("model", tooltip="SD 1.x, SD 2.x or SDXL, with any LoRA and most patches."),
                P2PEdit.Input("edit", tooltip="What to edit: from PromptPairAlign, through any of the pack's nodes."),
                io.Conditioning.Input("negative", tooltip="What no picture shall have, source or edit."),
                io.Latent.Input("latent_image", tooltip="Where to start: empty, or a picture with denoise below 1."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The noise, shared by source and edits.",
                ),
                io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Steps of denoising."),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How closely the pictures follow their prompts.",
                ),
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
                io.Combo.Input(
                    "trajectory",
                    options=list(TRAJECTORIES),
                    default="dual",
                    optional=True,
                    tooltip=(
                        "dual: the source's attention comes from the source's own picture (the paper). shared: from "
                        "the source's prompt on the edit's picture (CrossAttentionControl)."
                    ),
                ),
                io.Conditioning.Input(
                    "source",
                    optional=True,
                    tooltip="In place of the edit's source conditioning: the way in for ControlNet and others.",
                ),
                io.Conditioning.Input(
                    "edited", optional=True, tooltip="In place of the edited conditioning, with a row for each edit."
                ),
            ],
            outputs=[
                io.Latent.Output("source_latent", display_name="source", tooltip="The source picture."),
                io.Latent.Output(
                    "edited_latent", display_name="edited", tooltip="The edited pictures, one edit after another."
                ),
                P2PMaps.Output("maps", display_name="maps", tooltip="Maps of the words, for P2PAttentionMaps."),
                io.Mask.Output(
                    "blend_mask", display_name="blend_mask", tooltip="Where AttentionLocalBlend let each edit change."
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_):
        """Maps that nobody asks for are not made; when someone does, the node has to run again."""
        return is_wanted_now(MAPS_OUTPUT)

    @classmethod
    def execute(
        cls,
        model,
        edit,
        negative,
        latent_image,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        denoise,
        trajectory="dual",
        source=None,
        edited=None,
    ) -> io.NodeOutput:
        keep_maps = is_connected(cls.hidden.prompt, cls.hidden.unique_id, MAPS_OUTPUT)
        guider = EditGuider(model, edit, negative, cfg, source, edited, trajectory, keep_maps)
        latents, run = sample(guider, latent_image, seed, steps, sampler_name, scheduler, denoise)
        show_note(run.note(), cls.hidden.unique_id)
        batch = len(latent_image["samples"])
        rest = {key: value for key, value in latent_image.items() if key != "batch_index"}
        masks = torch.nn.functional.interpolate(run.masks()[:, None], scale_factor=8)[:, 0]
        return io.NodeOutput(
            {**latent_image, "samples": latents[:batch]}, {**rest, "samples": latents[batch:]}, run.maps(), masks
        )


class P2PGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PGuider",
            display_name="P2P Guider",
            description="An edit as a guider, for SamplerCustomAdvanced: its output is the batch [source, edits...].",
            search_aliases=["custom sampler"],
            inputs=[
                io.Model.Input("model", tooltip="SD 1.x, SD 2.x or SDXL, with any LoRA and most patches."),
                P2PEdit.Input("edit", tooltip="What to edit: from PromptPairAlign, through any of the pack's nodes."),
                io.Conditioning.Input("negative", tooltip="What no picture shall have, source or edit."),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How closely the pictures follow their prompts.",
                ),
            ],
            outputs=[io.Guider.Output("guider", display_name="guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, model, edit, negative, cfg) -> io.NodeOutput:
        return io.NodeOutput(EditGuider(model, edit, negative, cfg))
