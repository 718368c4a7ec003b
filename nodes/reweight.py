"""AttentionReweight: words of the edited prompt, stronger or weaker."""

from comfy_api.latest import io

from .checks import checked
from .inputs import fraction_input
from .schema import P2PEdit, schema


class AttentionReweight(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="AttentionReweight",
            display_name="Attention Reweight (P2P)",
            description=(
                "Makes words of the edited prompt stronger or weaker by scaling their attention: layout and the "
                "other words stay. Several in a row multiply."
            ),
            search_aliases=["token weight", "attention weight"],
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit whose words are reweighted."),
                io.String.Input(
                    "words",
                    default="",
                    tooltip=(
                        "Words or phrases of the edited prompt, separated by commas; case and punctuation don't "
                        "matter. cat#2 is the second cat, [5] is token 5."
                    ),
                ),
                io.Float.Input(
                    "scale",
                    default=2.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    round=0.001,
                    tooltip="1 changes nothing, 2 doubles, 0 removes, below 0 turns away. Try 2 to 5, or -2 to -10.",
                ),
                fraction_input("start", 0.0, "First step, as a fraction of all steps."),
                fraction_input("end", 1.0, "End of the window, likewise."),
            ],
            outputs=[P2PEdit.Output("edit_out", display_name="edit", tooltip="The edit with its words reweighted.")],
        )

    @classmethod
    @checked
    def execute(cls, edit, words, scale, start, end) -> io.NodeOutput:
        return io.NodeOutput(edit.reweight(words, scale, start, end))
