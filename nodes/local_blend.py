"""AttentionLocalBlend: where the edit may change the picture."""

from comfy_api.latest import io

from ..p2p_core.blend import LocalBlend
from .checks import checked
from .inputs import fraction_input
from .schema import P2PEdit, schema

DEFAULT = LocalBlend()


class AttentionLocalBlend(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="AttentionLocalBlend",
            display_name="Attention Local Blend (P2P)",
            description=(
                "Lets the edit change the picture only where the attention of the given words is. Everything else "
                "stays as in the source."
            ),
            search_aliases=["local edit", "blend mask"],
            advanced=("subtract_words",),
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit to limit."),
                io.String.Input(
                    "source_words",
                    default="",
                    tooltip="Words of the source prompt that mark where the picture may change, e.g. cat.",
                ),
                io.String.Input(
                    "edit_words",
                    default="",
                    tooltip="Words of the edited prompt that mark where the picture may change, e.g. dog.",
                ),
                fraction_input(
                    "threshold",
                    DEFAULT.threshold,
                    "How strong the attention has to be, relative to its maximum. Higher means a smaller area.",
                ),
                fraction_input(
                    "start", DEFAULT.start, "Before this fraction of the steps, the whole picture may change."
                ),
                io.String.Input(
                    "subtract_words",
                    default="",
                    optional=True,
                    tooltip="Words whose places are taken out of the area.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Limits the change to this mask, whatever the words say."),
            ],
            outputs=[P2PEdit.Output("edit_out", display_name="edit", tooltip="The edit, limited to that area.")],
        )

    @classmethod
    @checked
    def execute(cls, edit, source_words, edit_words, threshold, start, subtract_words="", mask=None) -> io.NodeOutput:
        return io.NodeOutput(edit.local_blend(source_words, edit_words, threshold, start, subtract_words, mask))
