"""P2PLayerStudy: which groups of layers hold the picture together, measured and drawn."""

from comfy_api.latest import io

from ..p2p_core.hosts.comfy import Sampling, architecture_of, sample_batches
from ..p2p_core.show.charts import study_chart
from ..p2p_core.show.comparison import both_prompts
from ..p2p_core.show.pictures import to_tensor
from ..p2p_core.show.sheets import study_sheet
from ..p2p_core.trials.study import ATTENTIONS, GROUPINGS, findings, group_layers, study, table
from .checks import checked
from .decode import decode
from .inputs import batch_inputs, ksampler_inputs, trial_inputs
from .note import teller
from .report import shown
from .schema import schema


class P2PLayerStudy(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PLayerStudy",
            display_name="Layer Study (P2P)",
            description=(
                "Shows which layers matter. It injects the source's attention into one group of layers at a time, and "
                "into all but that group, and measures how far the picture moves and how much of the source it keeps."
            ),
            search_aliases=["ablation", "which layers", "blocks"],
            advanced=("trajectory", "rows_at_once"),
            inputs=[
                *trial_inputs(),
                *ksampler_inputs(),
                io.Combo.Input(
                    "by",
                    options=list(GROUPINGS),
                    default="block",
                    tooltip=(
                        "How layers are grouped: by block, by resolution, or by part: input, middle and output, or "
                        "double and single."
                    ),
                ),
                io.Combo.Input(
                    "attention",
                    options=list(ATTENTIONS),
                    default="both",
                    tooltip="Which attention is injected in the trials: both kinds, or only one.",
                ),
                *batch_inputs(),
            ],
            outputs=[
                io.String.Output(
                    "report", display_name="report", tooltip="The measures as a table; PreviewAny shows it."
                ),
                io.Image.Output("chart", display_name="chart", tooltip="The measures as bars."),
                io.Image.Output("sheet", display_name="sheet", tooltip="The pictures that were measured."),
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
        by,
        attention,
        trajectory="dual",
        rows_at_once=8,
        **sampling,
    ) -> io.NodeOutput:
        architecture = architecture_of(model)
        groups = group_layers(architecture.layers, by, *latent_image["samples"].shape[-2:])
        trials = study(edit.on(architecture), groups, attention)
        how = Sampling(**sampling)
        source, edited = sample_batches(
            model, trials, negative, cfg, latent_image, how, trajectory, rows_at_once, teller(cls)
        )
        before, after = decode(vae, source), decode(vae, edited)
        found, title = findings(groups, before, after), both_prompts(edit)
        # Measured are all pictures of the batch, shown is the first.
        sheet = study_sheet(before[0], after[:: len(before)], [group.label for group in groups], title)
        chart, sheet = to_tensor([study_chart(found, title)]), to_tensor([sheet])
        return io.NodeOutput(table(found), chart, sheet, ui=shown(chart, sheet))
