"""P2PAttentionMaps: where each word of a prompt looks, as pictures and as masks."""

from comfy_api.latest import io

from ..p2p_core.errors import EditError
from ..p2p_core.show.heat import heat_masks, heat_pictures
from ..p2p_core.show.pictures import to_tensor
from ..p2p_core.show.word_heat import word_heat
from .checks import check_pictures, checked
from .report import shown
from .schema import P2PMaps, schema

PROMPTS = ("source", "edited")


class P2PAttentionMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PAttentionMaps",
            display_name="Attention Maps (P2P)",
            description=(
                "Shows where each word of a prompt looks: its cross-attention, averaged over steps, heads and layers, "
                "as labelled heat maps and as masks."
            ),
            search_aliases=["heat map", "cross attention", "daam"],
            inputs=[
                P2PMaps.Input("maps", tooltip="The maps output of P2PSampler."),
                io.String.Input(
                    "words",
                    default="",
                    tooltip=(
                        "Words or phrases, separated by commas. Each gets a heat map; empty means every word. cat#2 is "
                        "the second cat, [5] is token 5."
                    ),
                ),
                io.Combo.Input(
                    "prompt",
                    options=list(PROMPTS),
                    default="source",
                    tooltip="Whose words to show: the source prompt's or the edited prompt's.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The decoded source or edited pictures, over which the heat is drawn.",
                ),
                io.String.Input(
                    "layers",
                    default="",
                    optional=True,
                    tooltip=(
                        "Blocks to average, such as 'input, middle, output:3-5', or in Flux.1 'double, single:0-9'. "
                        "Empty means all, 'each' makes a heat map for every block."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    "heatmaps", display_name="heatmaps", tooltip="A labelled picture for each word, all on one scale."
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    tooltip="The same maps as masks, each scaled to be 1 at its strongest place.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, maps, words, prompt, image=None, layers="") -> io.NodeOutput:
        if maps is None:
            raise EditError(*NOT_KEPT)
        heats = word_heat(maps, words, prompt == "edited", layers)
        if image is not None:
            check_pictures("image", image, maps)
        size = tuple(image.shape[1:3]) if image is not None else maps.size
        pictures = to_tensor(heat_pictures(maps, heats, size, image))
        return io.NodeOutput(pictures, heat_masks(heats, size), ui=shown(pictures))


NOT_KEPT = (
    "maps",
    "it is empty: P2PSampler keeps maps only while its maps output is connected, and its last run was before that.",
    "Change its seed, or any other of its inputs, and queue again.",
)
