"""What has to be known of a transformer to edit its attention: a row of the table in joint_models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TEXT, IMAGE, REFERENCES, FILLING = "text", "image", "references", "filling"
"""What keys are of: the prompt, the picture, pictures that it refers to, and learned tokens after the picture."""


@dataclass(frozen=True)
class JointModel:
    """A kind of transformer. Paths are those of attributes of the network, "blocks.0.attn.heads".

    Attributes:
        name: what people call it.
        model, network: the classes of ComfyUI's model and of its diffusion_model.
        having: an attribute that the network has to have, and not None, to be of this kind.
        blocks: (name of the blocks here, path to the network's list of them), in the order in which they run. Names are
            those that ComfyUI gives them in transformer_options, if it does.
        heads, width: paths to the number of heads and to the channels of all of them.
        patch: positions of the latent per token, to each side, or the path to it.
        context, pooled: paths to the first layers for the prompt's tokens, and for the prompt as a whole.
        prompt_length: positions of an ordinary prompt.
        attentions: what the attentions of a block attend to, in the order in which it asks for them.
        order: what the keys of joint attention are of, in their order.
        method: the network's attribute for how it refers to pictures, where it leaves them out if there is none.
        pad: where a shorter prompt can be filled up and the filling hidden without moving what is the picture's;
            `none` if nowhere.
        registers: learned tokens that the network puts before the prompt.
        least_before, least_after: the model fills a shorter prompt up to so many positions, with zeros.
        multiple: the path to a number to a multiple of which the network fills prompt and picture up with learned
            tokens.
        embedder, filling: paths to the layer that embeds the prompt's tokens, and to that learned token.
        refiners: the path to a list of blocks that attend to the prompt alone, before all others.
        beside: (the option, the argument) in which more of the prompt's positions come, which follow those of the
            context, twice.
        adapter: the network's method that makes the prompt's positions of embeddings and T5's tokens.
        since: the first ComfyUI with it; run: those on which the tests have run it.
        encoders, limits: its text encoders, and what it can't do, for people to read.
        no_weights: whether its text encoder leaves weights as in (word:1.2) out.
        reads_pictures: whether that encoder may read pictures before the words, and sees of each position only what
            came before.
    """

    name: str
    model: str
    network: str
    blocks: tuple[tuple[str, str], ...]
    prompt_length: int
    since: str
    encoders: str
    run: tuple[str, ...] = ("0.3.64", "0.3.75", "0.33")
    limits: str = ""
    no_weights: bool = False
    reads_pictures: bool = False
    having: str = ""
    heads: str = "num_heads"
    width: str = "hidden_size"
    patch: str | int = "patch_size"
    context: str = "txt_in"
    pooled: str = ""
    attentions: tuple[tuple[str, ...], ...] = ((TEXT, IMAGE),)
    order: tuple[str, ...] = (TEXT, IMAGE, REFERENCES)
    method: str = ""
    pad: Literal["right", "left", "none"] = "right"
    registers: int = 0
    least_before: int = 0
    least_after: int = 0
    multiple: str = ""
    embedder: str = ""
    filling: str = ""
    refiners: str = ""
    beside: tuple[str, str] | None = None
    adapter: str = ""


def width_of(network, name: str) -> int | None:
    """What a layer takes, by its name; None where there is none or it takes anything."""
    return getattr(dict(network.named_modules()).get(name), "in_features", None)


def has_second(network) -> bool:
    """Whether blocks have another attention of the image alone."""
    return any(getattr(getattr(block, "x_block", None), "x_block_self_attn", False) for block in network.modules())
