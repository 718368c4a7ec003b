"""P2PCompare: source and edits beside each other, on the canvas and as a picture."""

import torch
from comfy_api.latest import io, ui

from ..p2p_core.errors import EditError
from ..p2p_core.show.comparison import changed_words, difference_heat, with_weights
from ..p2p_core.show.heat import word_layers
from ..p2p_core.show.pictures import to_tensor
from ..p2p_core.show.sheets import comparison_sheet
from .checks import check_pictures, checked
from .report import reported
from .schema import P2PEdit, P2PMaps, schema


class P2PCompare(io.ComfyNode):
    """Shows source and edits with what differs between them.

    The sheet is an ordinary IMAGE output. Besides, the canvas gets a report named `p2p_compare` (see `reported`)
    with lists under these names; FILE is {"filename", "subfolder", "type"}, for /view:

    source      a FILE for each image of the source
    edited      a FILE for each edited image: those of edit 1, then those of edit 2, ...
    difference  a FILE for each edited image: heat colours, where it differs from its source
    scale       one number: the difference, from 0 to 1, that the brightest colour stands for
    prompts     {"text", "words": [{"text", "changed"}]} of the source, then of each edit;
                empty where neither edit nor maps are connected
    heat        {"prompt", "word", "image", "file", "top"}: a FILE with the map of
                prompts[prompt].words[word] in image `image` of that prompt's batch, as PNG with
                transparency to lay over the picture; `top` is the number from 0 to 1 that the
                brightest colour stands for, one for all; empty where maps is not connected. Marks
                such as commas have none.
    """

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="P2PCompare",
            display_name="P2P Compare",
            description=(
                "Shows source and edits side by side: the prompts as captions with the changed words marked, and "
                "where the pictures differ. If maps is connected, point at a word to see where it is."
            ),
            search_aliases=["before after", "side by side", "difference"],
            inputs=[
                io.Image.Input("source", tooltip="The decoded source of P2PSampler."),
                io.Image.Input("edited", tooltip="All decoded edits of P2PSampler, edit after edit."),
                P2PMaps.Input("maps", optional=True, tooltip="The maps of P2PSampler, which show where each word is."),
                P2PEdit.Input(
                    "edit",
                    optional=True,
                    tooltip="The edit that was sampled: adds its weights, and its prompts if maps is not connected.",
                ),
            ],
            outputs=[
                io.Image.Output("comparison", display_name="comparison", tooltip="The whole comparison as one picture.")
            ],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, source, edited, maps=None, edit=None) -> io.NodeOutput:
        prompts = _prompts(maps, edit)
        _check(source, edited, prompts, maps, edit)
        heats, top = difference_heat(source, edited)
        words = [changed_words(prompts[0], prompt) for prompt in prompts]
        shown = {
            "source": _temporary(source),
            "edited": _temporary(edited),
            "difference": _temporary(heats),
            "scale": [top],
            "prompts": [
                {"text": prompt.text, "words": [{"text": text, "changed": changed} for text, changed in marked]}
                for prompt, marked in zip(prompts, words)
            ],
            "heat": _word_heat(maps, source.shape[1:3]) if maps is not None else [],
        }
        if edit is not None:
            words = [words[0], *map(with_weights, words[1:], edit.variants)]
        sheet = comparison_sheet(source, edited, heats, words, top)
        return io.NodeOutput(to_tensor([sheet]), ui=reported("p2p_compare", shown))


def _prompts(maps, edit) -> list:
    if maps is not None:
        return [maps.source.prompt, *(kept.prompt for kept in maps.variants)]
    return [edit.source, *(variant.prompt for variant in edit.variants)] if edit is not None else []


def _texts(prompts: list) -> list[str]:
    return [prompt.text for prompt in prompts]


def _check(source: torch.Tensor, edited: torch.Tensor, prompts: list, maps, edit) -> None:
    if source.shape[1:3] != edited.shape[1:3]:
        raise EditError(
            "source and edited",
            f"source is {source.shape[2]} x {source.shape[1]} pixels, but edited is {edited.shape[2]} x "
            f"{edited.shape[1]}.",
            "Decode both from the same P2PSampler.",
        )
    if len(edited) % len(source):
        raise EditError(
            "edited",
            f"it has {len(edited)} pictures, which is not a multiple of source's {len(source)}.",
            "Connect all pictures of the edited output of the same P2PSampler.",
        )
    if maps is not None:
        check_pictures("source", source, maps)
    if maps is not None and edit is not None and _texts(_prompts(maps, None)) != _texts(_prompts(None, edit)):
        raise EditError(
            "maps and edit",
            "they are of different prompts.",
            "Connect both from the run that made the pictures. If a node that fills every free input connected them, "
            "disconnect them.",
        )
    edits = len(edited) // len(source)
    counts = {"maps or edit": len(prompts) - 1} if prompts else {}
    if edit is not None:
        counts["edit"] = len(edit.variants)
    for name, count in counts.items():
        if edits != count:
            raise EditError(
                name,
                f"edited has {edits} edit{'s' if edits > 1 else ''} of each source picture, but here there "
                f"{'is' if count == 1 else 'are'} {count}.",
                "Connect what belongs to the run that made the pictures.",
            )


def _temporary(images) -> list[dict]:
    return ui.ImageSaveHelper.save_images(images, "p2p_compare", io.FolderType.temp, None, compress_level=1)


def _word_heat(maps, size: tuple[int, int]) -> list[dict]:
    layers = word_layers(maps, size)
    files = _temporary([picture for _, picture in layers]) if layers else []
    return [{**described, "file": file} for (described, _), file in zip(layers, files)]
