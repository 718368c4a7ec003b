"""PromptPairAlign: a source prompt and an edited one, paired token by token."""

from comfy_api.latest import io

from ..p2p_core.alignment import MODES
from ..p2p_core.edit import Edit
from ..p2p_core.errors import EditError
from ..p2p_core.hosts.comfy import encode, encodings
from ..p2p_core.show.alignment import describe
from ..p2p_core.spelling.syntax import foreign_syntax
from .checks import checked
from .note import teller
from .report import reported
from .schema import P2PEdit, schema


class PromptPairAlign(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="PromptPairAlign",
            display_name="Prompt Pair Align (P2P)",
            description=(
                "Pairs a source prompt with an edited one, token by token: what the prompts have in common keeps "
                "its place in the picture. Chain several of these nodes for several edits of one source."
            ),
            search_aliases=["edit prompt", "cross attention control"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder that belongs to the model."),
                io.String.Input(
                    "source_prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    tooltip=(
                        "The picture as it is. Weights (word:1.2), embeddings and long prompts work as usual. With "
                        "P2PRealPicture it may be empty."
                    ),
                ),
                io.String.Input(
                    "edit_prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    tooltip="The picture you want. Empty means the source prompt, for reweighting alone.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="auto",
                    tooltip=(
                        "auto: unchanged words keep their place, swapped words take the place of the old ones, new "
                        "words find their own. replace: word for word. refine: only unchanged tokens are kept. "
                        "sequence: as in CrossAttentionControl."
                    ),
                ),
                P2PEdit.Input("edit", optional=True, tooltip="An edit of the same source, to which this one is added."),
            ],
            outputs=[
                P2PEdit.Output("edit_out", display_name="edit", tooltip="The aligned prompts, for P2PSampler."),
                io.Conditioning.Output("source", display_name="source", tooltip="The source prompt, encoded."),
                io.Conditioning.Output(
                    "edited", display_name="edited", tooltip="The edited prompts, encoded, with a row for each edit."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,  # what it tells its view is part of a run that takes the node from the cache
        )

    @classmethod
    @checked
    def execute(cls, clip, source_prompt, edit_prompt, mode, edit=None) -> io.NodeOutput:
        if edit is None:
            edit = Edit(encode(clip, source_prompt, "source_prompt"))
        elif edit.source.text != source_prompt:
            raise EditError(
                "edit",
                "it belongs to another source_prompt, but edits that are sampled together share one source.",
                f"Write '{edit.source.text}' as source_prompt here, or disconnect edit.",
            )
        teller(cls)(foreign_syntax(source_prompt, edit_prompt))
        edited_prompt = edit_prompt if edit_prompt.strip() else source_prompt
        edit = edit.add(encode(clip, edited_prompt, "edit_prompt"), mode)
        edited = encodings([variant.prompt for variant in edit.variants])
        newest = edit.variants[-1]
        alignment = {
            "source_prompt": source_prompt,
            "edit_prompt": edit_prompt,
            "mode": mode,
            **describe(edit.source, newest.prompt, newest.alignment),
        }
        return io.NodeOutput(edit, edit.source.encoding, edited, ui=reported("p2p_alignment", alignment))
