"""P2PDemoModel: the small model that comes with the pack."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import load_demo
from .checks import checked
from .schema import schema


class P2PDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PDemoModel",
            display_name="Demo Model (P2P)",
            description=(
                "The small model that comes with the pack, for trying things out. It draws scenes such as 'a fox "
                "sitting on a red car in the snow', 128 x 128 pixels in size. Good settings: 30 steps, dpmpp_2m, cfg 4."
            ),
            search_aliases=["example checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The UNet. Use a 128 x 128 EmptyLatentImage."),
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
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(*load_demo())
