"""P2PModelReport: what attention layers a model has."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import architecture_of
from ..p2p_core.show.charts import model_picture
from ..p2p_core.show.pictures import to_tensor
from ..p2p_core.show.report import model_report
from .checks import checked
from .report import shown
from .schema import schema


class P2PModelReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PModelReport",
            display_name="Model Report (P2P)",
            description=(
                "Lists every attention layer of a model: its block, kind (self, cross or joint), tokens, heads and "
                "head size. Use it to choose blocks in AttentionInjectSchedule and layers in P2PAttentionMaps."
            ),
            search_aliases=["attention layers", "model info"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip=(
                        "SD 1.x, SD 2.x, SDXL, SD 3.x, Flux, Qwen-Image, Z-Image, Wan or another on the page of models."
                    ),
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=64,
                    max=16384,
                    step=8,
                    optional=True,
                    tooltip="Width of the picture in pixels; the numbers of tokens depend on it.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=16384,
                    step=8,
                    optional=True,
                    tooltip="Height of the picture in pixels.",
                ),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="A table; PreviewAny shows it."),
                io.Image.Output("picture", display_name="picture", tooltip="The blocks, each as wide as its grid."),
            ],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, model, width=512, height=512) -> io.NodeOutput:
        architecture = architecture_of(model)
        name = type(model.model.model_config).__name__.strip("_").removesuffix("Config")
        size = height // architecture.pixels, width // architecture.pixels
        picture = to_tensor(
            [model_picture(architecture.layers, f"{name}: attention at {width} x {height} pixels", *size)]
        )
        return io.NodeOutput(model_report(architecture, name, *size), picture, ui=shown(picture))
