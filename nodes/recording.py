"""P2PRecordSource and P2PEditRecorded: a source sampled once, and as many edits of it as one likes."""

import torch
from comfy_api.latest import io

from ..p2p_core.hosts.comfy import RecordedGuider, Sampling, edit_recorded, readable, record
from ..p2p_core.picture import NOISES
from ..p2p_core.recording import KEEP
from ..p2p_core.schedule import SELF_LAYERS
from .checks import checked
from .inputs import fraction_input, guider_inputs, ksampler_inputs, latent_input
from .note import teller
from .outputs import edited_outputs
from .schema import P2PRecording, schema
from .wanted import is_connected, is_wanted_now

MAPS_OUTPUT = 1


class P2PRecordSource(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        model, _, negative = guider_inputs()
        return schema(
            node_id="P2PRecordSource",
            display_name="Record Source (P2P)",
            description=(
                "Samples the source once, as KSampler does, and keeps in memory what edits need of it. P2PEditRecorded "
                "then makes edit after edit at about half the price. It knows nothing of the edits, so ComfyUI keeps "
                "the recording while their words and settings change."
            ),
            search_aliases=["record", "cache", "many edits"],
            inputs=[
                model,
                io.Conditioning.Input(
                    "source",
                    tooltip="The source prompt, encoded by CLIPTextEncode: the same text as PromptPairAlign has.",
                ),
                negative,
                latent_input(),
                *ksampler_inputs(),
                io.Combo.Input(
                    "picture",
                    options=["none", *NOISES],
                    default="none",
                    optional=True,
                    tooltip=(
                        "none: the source is drawn from its prompt. fresh or fixed: it is the picture in latent_image, "
                        "for edits with P2PRealPicture, whose noise it is."
                    ),
                ),
                io.Combo.Input(
                    "keep",
                    options=list(KEEP),
                    default=KEEP[0],
                    optional=True,
                    tooltip=(
                        "attention: an edit costs about half, and the recording takes hundreds of MiB or more. "
                        "predictions: the recording takes a few MiB, and an edit saves less: the source's attention is "
                        "made again where it is needed."
                    ),
                ),
                io.Combo.Input(
                    "self_layers",
                    options=list(SELF_LAYERS),
                    default="half",
                    optional=True,
                    tooltip=(
                        "Whose self-attention is kept. Edits can use these layers or fewer, with self_layers of "
                        "AttentionInjectSchedule."
                    ),
                ),
                fraction_input(
                    "until",
                    1.0,
                    "The share of the steps whose attention is kept. 0.8 is enough for the default windows, 1 for "
                    "local blends with words.",
                    optional=True,
                ),
            ],
            outputs=[
                P2PRecording.Output("recording", display_name="recording", tooltip="For P2PEditRecorded."),
                io.Latent.Output("source_latent", display_name="source", tooltip="The source picture."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model,
        source,
        negative,
        latent_image,
        cfg,
        picture="none",
        keep=KEEP[0],
        self_layers="half",
        until=1.0,
        **sampling,
    ) -> io.NodeOutput:
        recorded, latents = record(
            model,
            source,
            negative,
            cfg,
            latent_image,
            Sampling(**sampling),
            picture=picture,
            keep=keep,
            self_layers=self_layers,
            until=until,
        )
        made = recorded.recording
        teller(cls)(f"Recorded {readable(made.nbytes)} in {made.steps} steps.")
        return io.NodeOutput(recorded, {**latent_image, "samples": latents})


class P2PEditRecorded(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PEditRecorded",
            display_name="Edit Recorded (P2P)",
            description=(
                "Samples the edits of a recorded source without sampling the source again. They are those that "
                "P2PSampler gives, at about half the price. Seed, steps and all other settings are the recording's."
            ),
            search_aliases=["recorded", "many edits"],
            inputs=[
                *guider_inputs(),
                P2PRecording.Input("recording", tooltip="From P2PRecordSource, made with this model and negative."),
                io.Conditioning.Input(
                    "edited",
                    optional=True,
                    tooltip=(
                        "Replaces the edited conditioning, with a row for each edit. Needed where the recorded source "
                        "went through ControlNet or similar nodes: send the edited prompts through the same ones."
                    ),
                ),
            ],
            outputs=edited_outputs(),
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_):
        """Maps that nobody asks for are not made; when someone does, the node has to run again."""
        return is_wanted_now(MAPS_OUTPUT)

    @classmethod
    @checked
    def execute(cls, model, edit, negative, recording, edited=None) -> io.NodeOutput:
        keep_maps = is_connected(cls.hidden.dynprompt, cls.hidden.unique_id, MAPS_OUTPUT)
        guider = RecordedGuider(model, edit, negative, recording, edited=edited, keep_maps=keep_maps, tell=teller(cls))
        latents, run = edit_recorded(guider, recording)
        rest = {key: value for key, value in recording.latent.items() if key != "batch_index"}
        masks = torch.nn.functional.interpolate(run.masks()[:, None], scale_factor=guider.architecture.pixels)[:, 0]
        return io.NodeOutput({**rest, "samples": latents}, run.maps(), masks)
