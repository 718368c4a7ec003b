"""Outputs that several nodes have alike."""

from comfy_api.latest import io

from .schema import P2PMaps


def edited_outputs() -> list:
    """What is made of the edits: their latents, the words' maps and the masks of local blends."""
    return [
        io.Latent.Output(
            "edited_latent", display_name="edited", tooltip="The edited pictures, one edit after another."
        ),
        P2PMaps.Output("maps", display_name="maps", tooltip="Maps of the words, for P2PAttentionMaps and P2PCompare."),
        io.Mask.Output(
            "blend_mask",
            display_name="blend_mask",
            tooltip="Where AttentionLocalBlend let each edit change the picture.",
        ),
    ]
