"""P2PRealPicture: the source is the picture in `latent_image`, and not one drawn from its prompt."""

from comfy_api.latest import io

from ..p2p_core.picture import NOISES, RealPicture
from .checks import checked
from .inputs import fraction_input
from .schema import P2PEdit, schema

DEFAULT = RealPicture()


class P2PRealPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PRealPicture",
            display_name="Real Picture (P2P)",
            description=(
                "Edits a picture of your own: the source is the one in latent_image, exactly, and the edit moves away "
                "from it only by what the prompts differ in."
            ),
            search_aliases=["photo", "inversion", "image to image", "flowedit"],
            advanced=("noise", "release"),
            inputs=[
                P2PEdit.Input("edit", tooltip="The edit. Its source prompt says what the picture is; it may be empty."),
                fraction_input(
                    "fidelity",
                    DEFAULT.fidelity,
                    "How far the edit is held to the picture. 1: the same words give the picture back. 0: only the "
                    "source's attention holds it.",
                ),
                io.Float.Input(
                    "source_cfg",
                    default=DEFAULT.source_cfg,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip=(
                        "cfg of the source's part; 0 is the sampler's. Below the sampler's it edits more, but the same "
                        "words no longer give the picture back."
                    ),
                ),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default=DEFAULT.noise,
                    tooltip=(
                        "fresh: a new noise at every step, best with euler and other samplers that do not look back. "
                        "fixed: the seed's one throughout, for dpmpp_2m, dpm_adaptive and the like."
                    ),
                ),
                fraction_input(
                    "release",
                    DEFAULT.release,
                    "The last part of the steps in which the edit is left to itself: crisper, and less like the "
                    "picture.",
                ),
            ],
            outputs=[P2PEdit.Output("edit_out", display_name="edit", tooltip="The edit, of a picture of your own.")],
        )

    @classmethod
    @checked
    def execute(cls, edit, fidelity, source_cfg, noise, release) -> io.NodeOutput:
        return io.NodeOutput(edit.real_picture(fidelity, source_cfg, noise, release))
