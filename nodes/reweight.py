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
                "Makes words of the edited prompt stronger or weaker by scaling their attention. The layout and the "
                "other words stay. The scales of several such nodes in a row multiply."
            ),
            search_aliases=["token weight", "attention weight"],
            advanced=("start", "end"),
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit whose words to reweight."),
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
                    tooltip=(
                        "1 changes nothing, 2 doubles the words' attention, 0 removes it, and a negative scale turns "
                        "away from the words. Try 2 to 5, or -2 to -10."
                    ),
                ),
                fraction_input("start", 0.0, "Start of the window, as a fraction of the steps."),
                fraction_input("end", 1.0, "End of the window, as a fraction of the steps."),
            ],
            outputs=[P2PEdit.Output("edit_out", display_name="edit", tooltip="The edit with its words reweighted.")],
        )

    @classmethod
    @checked
    def execute(cls, edit, words, scale, start, end) -> io.NodeOutput:
        return io.NodeOutput(edit.reweight(words, scale, start, end))
