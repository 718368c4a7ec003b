"""P2PDemoModel: the small models that come with the pack."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import DEMO_ARCHITECTURES, load_demo
from .checks import checked
from .schema import schema


class P2PDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PDemoModel",
            display_name="Demo Model (P2P)",
            description=(
                "The small models that come with the pack, for trying things out. They draw scenes such as 'a fox "
                "sitting on a red car in the snow', 128 x 128 pixels in size. Good settings: 30 steps, dpmpp_2m, cfg "
                "4; for the transformer: 25 steps, euler, simple, cfg 3.5."
            ),
            search_aliases=["example checkpoint"],
            inputs=[
                io.Combo.Input(
                    "architecture",
                    options=list(DEMO_ARCHITECTURES),
                    default="unet",
                    optional=True,
                    tooltip="A UNet, as Stable Diffusion 1.x and SDXL are, or a transformer, as Flux.1 and SD 3.x are.",
                )
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model. Use a 128 x 128 EmptyLatentImage."),
                io.Clip.Output(
                    "clip",
                    display_name="clip",
                    tooltip="The text encoder. It warns in the log of words that it does not know.",
                ),
                io.Vae.Output("vae", display_name="vae", tooltip="Encodes and decodes its latents."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, architecture="unet") -> io.NodeOutput:
        return io.NodeOutput(*load_demo(architecture))
