"""AttentionInjectSchedule: when, how strongly and in which layers the edit takes the source's attention."""

from comfy_api.latest import io

from ..p2p_core.errors import EditError
from ..p2p_core.hosts.comfy.architecture import BLOCK_NAMES
from ..p2p_core.layers import BlockRange, parse_blocks
from ..p2p_core.schedule import RAMPS, SELF_LAYERS, SELF_MODES, InjectSchedule, Window, parse_word_windows
from .checks import checked
from .inputs import fraction_input
from .schema import P2PEdit, schema

DEFAULT = InjectSchedule()


class AttentionInjectSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="AttentionInjectSchedule",
            display_name="Attention Inject Schedule (P2P)",
            description=(
                "Sets when and how strongly the edit uses the source's attention. Longer windows keep more of the "
                "source, shorter ones give the edit more freedom. Times are fractions of the steps."
            ),
            search_aliases=["attention injection", "cross replace steps", "self replace steps"],
            advanced=(
                "cross_start",
                "self_start",
                "cross_strength",
                "self_strength",
                "ramp",
                "self_layers",
                "self_mode",
                "blocks",
            ),
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit to schedule: all edited prompts that it has so far."),
                fraction_input(
                    "cross_start",
                    DEFAULT.cross_window.start,
                    "Start of cross-attention injection, which says where each word is.",
                ),
                fraction_input(
                    "cross_end",
                    DEFAULT.cross_window.end,
                    "End of cross-attention injection. Lower it if new words don't show enough.",
                ),
                fraction_input(
                    "self_start",
                    DEFAULT.self_window.start,
                    "Start of self-attention injection, which holds layout and shapes.",
                ),
                fraction_input(
                    "self_end",
                    DEFAULT.self_window.end,
                    "End of self-attention injection. Lower it if the old shape stays.",
                ),
                fraction_input(
                    "cross_strength",
                    DEFAULT.cross_strength,
                    "How much of each cross-attention map is the source's.",
                    True,
                ),
                fraction_input(
                    "self_strength",
                    DEFAULT.self_strength,
                    "How much of each self-attention map is the source's.",
                    True,
                ),
                io.Combo.Input(
                    "ramp",
                    options=list(RAMPS),
                    default=DEFAULT.ramp,
                    optional=True,
                    tooltip=(
                        "How the strength falls over a window: not at all, or from 1 to 0 linearly or like a cosine."
                    ),
                ),
                io.Combo.Input(
                    "self_layers",
                    options=list(SELF_LAYERS),
                    default=DEFAULT.self_layers,
                    optional=True,
                    tooltip=(
                        "Where self-attention is injected: in all layers, or in those at half or a quarter of the "
                        "latent's resolution and coarser. Coarse layers hold the layout, fine ones the texture."
                    ),
                ),
                io.Combo.Input(
                    "self_mode",
                    options=list(SELF_MODES),
                    default=DEFAULT.self_mode,
                    optional=True,
                    tooltip=(
                        "What self-attention takes from the source: its map (layout), its keys and values "
                        "(appearance), or the whole output (both). layout is for transformers: the picture's places "
                        "without the words. auto is map for UNets, layout for transformers."
                    ),
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    optional=True,
                    tooltip=(
                        "Blocks to inject, such as 'input, middle, output:3-5', or in Flux.1 'double, single:0-9'. "
                        "Empty means all."
                    ),
                ),
                io.String.Input(
                    "word_windows",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip=(
                        "Gives words of the edited prompt a cross window of their own, one line each, such as "
                        "'dog: 0.0-0.3'."
                    ),
                ),
            ],
            outputs=[P2PEdit.Output("edit_out", display_name="edit", tooltip="The edit with this schedule.")],
        )

    @classmethod
    @checked
    def execute(
        cls, edit, cross_start, cross_end, self_start, self_end, blocks="", word_windows="", **settings
    ) -> io.NodeOutput:
        """`settings` are those that InjectSchedule has under the same name."""
        schedule = InjectSchedule(
            cross_window=Window(cross_start, cross_end, "cross"),
            self_window=Window(self_start, self_end, "self"),
            blocks=_known(parse_blocks(blocks)),
            word_windows=parse_word_windows(word_windows),
            **settings,
        )
        return io.NodeOutput(edit.schedule(schedule))


def _known(ranges: tuple[BlockRange, ...]) -> tuple[BlockRange, ...]:
    """`ranges`, of which each may be some model's: here no model is known yet."""
    for some in ranges:
        if some.block not in BLOCK_NAMES:
            raise EditError(
                "blocks",
                f"no supported model has blocks named '{some.block}'.",
                f"Their names are: {', '.join(BLOCK_NAMES)}.",
            )
    return ranges
