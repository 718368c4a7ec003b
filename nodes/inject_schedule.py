"""AttentionInjectSchedule: when, how strongly and in which layers the edit takes the source's attention."""

from comfy_api.latest import io

from ..p2p_core.layers import parse_blocks
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
                "When and how strongly the edit takes the source's attention. Longer windows keep more of the "
                "source, shorter ones give the edit more freedom. Times are fractions of the steps."
            ),
            search_aliases=["attention injection", "cross replace steps", "self replace steps"],
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit to schedule, with all its edited prompts so far."),
                fraction_input(
                    "cross_start", DEFAULT.cross_window.start, "Start of cross-attention injection: where each word is."
                ),
                fraction_input(
                    "cross_end",
                    DEFAULT.cross_window.end,
                    "End of cross-attention injection. Lower it to show new words more.",
                ),
                fraction_input(
                    "self_start", DEFAULT.self_window.start, "Start of self-attention injection: layout and shapes."
                ),
                fraction_input(
                    "self_end",
                    DEFAULT.self_window.end,
                    "End of self-attention injection. Lower it if the old shape stays.",
                ),
                fraction_input(
                    "cross_strength",
                    DEFAULT.cross_strength,
                    "Part of each cross-attention map that is the source's.",
                    True,
                ),
                fraction_input(
                    "self_strength",
                    DEFAULT.self_strength,
                    "Part of each self-attention map that is the source's.",
                    True,
                ),
                io.Combo.Input(
                    "ramp",
                    options=list(RAMPS),
                    default=DEFAULT.ramp,
                    optional=True,
                    tooltip=(
                        "How the strength falls over a window: not at all, or from 1 to 0, linearly or as a cosine."
                    ),
                ),
                io.Combo.Input(
                    "self_layers",
                    options=list(SELF_LAYERS),
                    default=DEFAULT.self_layers,
                    optional=True,
                    tooltip=(
                        "Layers of self-attention injection: all, or those at half or a quarter of the latent's "
                        "resolution and coarser. Coarser layers hold the layout, finer ones the texture."
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
                    tooltip="Blocks that are injected, as 'input, middle, output:3-5'. Empty is all.",
                ),
                io.String.Input(
                    "word_windows",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="A line for each word of the edited prompt with a cross window of its own: 'dog: 0.0-0.3'.",
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
            blocks=parse_blocks(blocks),
            word_windows=parse_word_windows(word_windows),
            **settings,
        )
        return io.NodeOutput(edit.schedule(schedule))
