import torch
from comfy_api.latest import io

from ..p2p_core.errors import EditError
from ..p2p_core.show.colours import heat_colours
from ..p2p_core.show.heat import enlarged, overlay, word_heat
from ..p2p_core.show.pictures import to_pillow, to_tensor
from ..p2p_core.show.sheets import Scale, captioned
from .checks import checked
from .schema import P2PMaps, schema

PROMPTS = ("source", "edited")
PIXELS = 8  # a latent's place is as many pixels wide


class P2PAttentionMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PAttentionMaps",
            display_name="Attention Maps (P2P)",
            description=(
                "Where each word of a prompt looks: its cross-attention, averaged over steps, heads and layers, as "
                "labelled heat maps and as masks."
            ),
            search_aliases=["heat map", "cross attention", "daam"],
            inputs=[
                P2PMaps.Input("maps", tooltip="The maps output of P2PSampler."),
                io.String.Input(
                    "words",
                    default="",
                    tooltip=(
                        "Words or phrases, separated by commas: a heat map for each. Empty is every word. cat#2 is "
                        "the second cat, [5] is token 5."
                    ),
                ),
                io.Combo.Input(
                    "prompt",
                    options=list(PROMPTS),
                    default="source",
                    tooltip="Whose words: the source's or the edit's.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The decoded source or edited pictures, to lay the heat over."
                ),
                io.String.Input(
                    "layers",
                    default="",
                    optional=True,
                    tooltip=(
                        "Blocks that are averaged, as 'input, middle, output:3-5'. Empty is all, 'each' is a heat map "
                        "for every block."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    "heatmaps", display_name="heatmaps", tooltip="A labelled picture for each word, all in one scale."
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    tooltip="The same as masks, each from 0 to 1 at its own strongest place.",
                ),
            ],
        )

    @classmethod
    @checked
    def execute(cls, maps, words, prompt, image=None, layers="") -> io.NodeOutput:
        if maps is None:
            raise EditError(NOT_KEPT)
        heats = word_heat(maps, words, prompt == "edited", layers)
        size = tuple(image.shape[1:3]) if image is not None else tuple(PIXELS * side for side in maps.size)
        top = max(float(heat.values.max()) for heat in heats)
        pictures, masks = [], []
        for heat in heats:
            batch = len(heat.values)
            # Pictures lie edit after edit, each with the whole batch; a single one serves them all.
            first = max(heat.prompt - 1, 0) * batch
            for number, values in enumerate(enlarged(heat.values, size)):
                shown = heat_colours(values / top)
                if image is not None:
                    shown = overlay(image[(first + number) % len(image)], values / top)
                scale = Scale("attention", f"{top:.3f}")
                pictures.append(captioned(to_pillow(shown), _caption(heat, number, batch, maps), scale))
                masks.append(values / values.max().clamp(min=1e-12))
        return io.NodeOutput(to_tensor(pictures), torch.stack(masks))


NOT_KEPT = (
    "maps is empty: P2PSampler keeps maps only where its maps output is connected, and its last run was before. "
    "Change its seed, or any other of its inputs, and queue again."
)


def _caption(heat, image: int, batch: int, maps) -> list[tuple[str, bool]]:
    caption = [(heat.label, True)]
    if heat.prompt and len(maps.edits) > 1:
        caption.append((f"edit {heat.prompt}", False))
    if batch > 1:
        caption.append((f"picture {image + 1}", False))
    return [*caption, (heat.blocks, False)] if heat.blocks else caption
