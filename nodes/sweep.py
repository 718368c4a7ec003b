"""P2PSweep: a grid of the pictures that values of one or two settings give."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import Sampling, architecture_of, sample_batches
from ..p2p_core.show.comparison import both_prompts
from ..p2p_core.show.pictures import to_tensor
from ..p2p_core.show.sheets import sweep_sheet
from ..p2p_core.trials.sweep import NOTHING, PARAMETERS, grid, read_axis
from .checks import checked
from .decode import decode
from .inputs import batch_inputs, ksampler_inputs, trial_inputs
from .note import teller
from .report import shown
from .schema import schema


class P2PSweep(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PSweep",
            display_name="P2P Sweep",
            description=(
                "Tries values of one or two settings of an edit and lays the pictures out in a labelled grid. This is "
                "the quickest way to find how long to use the source's attention, or how strong to make a word."
            ),
            search_aliases=["xy plot", "grid", "parameter search"],
            advanced=("x_words", "y_words", "trajectory", "rows_at_once"),
            inputs=[
                *trial_inputs(),
                *ksampler_inputs(),
                io.Combo.Input(
                    "x_parameter",
                    options=list(PARAMETERS),
                    default="cross_end",
                    tooltip=(
                        "What changes from column to column: a setting of AttentionInjectSchedule, the weight of "
                        "words, or a setting of AttentionLocalBlend. Everything else stays as in the edit."
                    ),
                ),
                io.String.Input(
                    "x_values",
                    default="0.2, 0.5, 0.8",
                    tooltip="Its values, such as '0.2, 0.5, 0.8', or a range first:last:step such as '0:1:0.25'.",
                ),
                io.Combo.Input(
                    "y_parameter",
                    options=[NOTHING, *PARAMETERS],
                    default="self_end",
                    tooltip="What changes from row to row; 'nothing' makes a grid of one row.",
                ),
                io.String.Input("y_values", default="0, 0.4, 0.8", tooltip="Its values, written as in x_values."),
                io.String.Input(
                    "x_words",
                    default="",
                    optional=True,
                    tooltip="Words to weigh if x_parameter is 'word weight', written as in AttentionReweight.",
                ),
                io.String.Input(
                    "y_words",
                    default="",
                    optional=True,
                    tooltip="Words to weigh if y_parameter is 'word weight', written as in AttentionReweight.",
                ),
                *batch_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    "sheet",
                    display_name="sheet",
                    tooltip="Source and grid with captions, one sheet for each picture of the batch.",
                ),
                io.Latent.Output("source_latent", display_name="source", tooltip="The source picture."),
                io.Latent.Output(
                    "edited_latent",
                    display_name="edited",
                    tooltip="The pictures of the grid, row by row from the left.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(
        cls,
        model,
        edit,
        negative,
        latent_image,
        vae,
        cfg,
        x_parameter,
        x_values,
        y_parameter,
        y_values,
        x_words="",
        y_words="",
        trajectory="dual",
        rows_at_once=8,
        **sampling,
    ) -> io.NodeOutput:
        x = read_axis("x", x_parameter, x_values, x_words)
        y = read_axis("y", y_parameter, y_values, y_words)
        edit = edit.on(architecture_of(model))
        how, variants = Sampling(**sampling), grid(edit, x, y)
        source, edited = sample_batches(
            model, variants, negative, cfg, latent_image, how, trajectory, rows_at_once, teller(cls)
        )
        before, after = decode(vae, source), decode(vae, edited)
        batch, title = len(source), both_prompts(edit)
        sheets = [sweep_sheet(before[b], after[b::batch], x.captions(), y.captions(), title) for b in range(batch)]
        pictures = to_tensor(sheets)
        return io.NodeOutput(pictures, {"samples": source}, {"samples": edited}, ui=shown(pictures))
