from comfy_api.latest import io

from ..p2p_core.schedule import RAMPS, SELF_LAYERS, SELF_MODES, InjectSchedule, Window, parse_word_windows
from .checks import checked
from .schema import P2PEdit, schema


def _fraction(name: str, default: float, tooltip: str, optional: bool = False) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip, optional=optional)


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
                _fraction("cross_start", 0.0, "Start of cross-attention injection: where each word is."),
                _fraction("cross_end", 0.8, "End of cross-attention injection. Lower it to show new words more."),
                _fraction("self_start", 0.0, "Start of self-attention injection: layout and shapes."),
                _fraction("self_end", 0.4, "End of self-attention injection. Lower it if the old shape stays."),
                _fraction("cross_strength", 1.0, "Part of each cross-attention map that is the source's.", True),
                _fraction("self_strength", 1.0, "Part of each self-attention map that is the source's.", True),
                io.Combo.Input(
                    "ramp",
                    options=list(RAMPS),
                    default="constant",
                    optional=True,
                    tooltip=(
                        "How the strength falls over a window: not at all, or from 1 to 0, linearly or as a cosine."
                    ),
                ),
                io.Combo.Input(
                    "self_layers",
                    options=list(SELF_LAYERS),
                    default="half",
                    optional=True,
                    tooltip=(
                        "Layers of self-attention injection: all, or those at half or a quarter of the latent's "
                        "resolution and coarser. Coarser layers hold the layout, finer ones the texture."
                    ),
                ),
                io.Combo.Input(
                    "self_mode",
                    options=list(SELF_MODES),
                    default="map",
                    optional=True,
                    tooltip=(
                        "What self-attention takes from the source: its map (layout), its keys and values "
                        "(appearance), or the whole output (both)."
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
        cls,
        edit,
        cross_start,
        cross_end,
        self_start,
        self_end,
        cross_strength=1.0,
        self_strength=1.0,
        ramp="constant",
        self_layers="half",
        self_mode="map",
        blocks="",
        word_windows="",
    ) -> io.NodeOutput:
        schedule = InjectSchedule(
            cross_window=Window(cross_start, cross_end, "cross"),
            self_window=Window(self_start, self_end, "self"),
            cross_strength=cross_strength,
            self_strength=self_strength,
            ramp=ramp,
            self_layers=self_layers,
            self_mode=self_mode,
            blocks=blocks,
            word_windows=parse_word_windows(word_windows),
        )
        return io.NodeOutput(edit.schedule(schedule))
