"""P2PSampler and P2PGuider: source and edits, sampled side by side."""

import torch
from comfy_api.latest import io

from ..p2p_core.hosts.comfy import HOLDS, EditGuider, Sampling, sample
from .checks import checked
from .inputs import cfg_input, guider_inputs, ksampler_inputs, latent_input, trajectory_input
from .note import teller
from .outputs import edited_outputs
from .schema import schema
from .wanted import is_connected, is_wanted_now

MAPS_OUTPUT = 2


class P2PSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PSampler",
            display_name="P2P Sampler",
            description=(
                "Samples the source and its edits side by side from the same noise. The source is the picture that "
                "KSampler gives for its prompt and seed. The input model is not changed."
            ),
            search_aliases=["ksampler", "cross attention control"],
            advanced=("trajectory",),
            inputs=[
                *guider_inputs(),
                latent_input(),
                *ksampler_inputs(),
                trajectory_input(
                    "dual: the source's attention comes from the source's own picture, as in the paper. shared: it "
                    "comes from the source's prompt on the edit's picture, as in CrossAttentionControl."
                ),
                io.Conditioning.Input(
                    "source",
                    optional=True,
                    tooltip="Replaces the source conditioning of the edit, for ControlNet and similar nodes.",
                ),
                io.Conditioning.Input(
                    "edited", optional=True, tooltip="Replaces the edited conditioning, with a row for each edit."
                ),
            ],
            outputs=[
                io.Latent.Output("source_latent", display_name="source", tooltip="The source picture."),
                *edited_outputs(),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_):
        """Maps that nobody asks for are not made; when someone does, the node has to run again."""
        return is_wanted_now(MAPS_OUTPUT)

    @classmethod
    @checked
    def execute(
        cls, model, edit, negative, latent_image, cfg, trajectory="dual", source=None, edited=None, **sampling
    ) -> io.NodeOutput:
        keep_maps = is_connected(cls.hidden.dynprompt, cls.hidden.unique_id, MAPS_OUTPUT)
        guider = EditGuider(
            model,
            edit,
            negative,
            cfg,
            source=source,
            edited=edited,
            trajectory=trajectory,
            keep_maps=keep_maps,
            tell=teller(cls),
        )
        latents, run = sample(guider, latent_image, Sampling(**sampling))
        batch = run.rows.batch
        rest = {key: value for key, value in latent_image.items() if key != "batch_index"}
        masks = torch.nn.functional.interpolate(run.masks()[:, None], scale_factor=guider.architecture.pixels)[:, 0]
        return io.NodeOutput(
            {**latent_image, "samples": latents[:batch]}, {**rest, "samples": latents[batch:]}, run.maps(), masks
        )


class P2PGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PGuider",
            display_name="P2P Guider",
            description=(
                "Turns an edit into a guider for SamplerCustomAdvanced, whose output is then the batch "
                "[source, edits...]."
            ),
            search_aliases=["custom sampler"],
            advanced=("latent_holds",),
            inputs=[
                *guider_inputs(),
                cfg_input(),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip=(
                        "For sampling in parts: the whole schedule, as it goes into SplitSigmas. Windows count its "
                        "steps. Not needed where one sampler makes all steps."
                    ),
                ),
                io.Combo.Input(
                    "latent_holds",
                    options=list(HOLDS),
                    default="auto",
                    optional=True,
                    tooltip=(
                        "What goes into the sampler as latent_image. auto: the source, or what this edit's last part "
                        "gave, untouched. Source and edits: what an earlier pass gave, upscaled or changed since."
                    ),
                ),
            ],
            outputs=[io.Guider.Output("guider", display_name="guider", tooltip="For SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @checked
    def execute(cls, model, edit, negative, cfg, sigmas=None, latent_holds="auto") -> io.NodeOutput:
        tell = teller(cls)
        return io.NodeOutput(
            EditGuider(model, edit, negative, cfg, sigmas=sigmas, latent_holds=latent_holds, tell=tell)
        )
