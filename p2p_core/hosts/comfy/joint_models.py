"""The transformers that can be edited, a row each: what their modules and calls look like in ComfyUI.

All of them attend to text and image in one softmax, ask for it by `optimized_attention`, and give it their
`transformer_options`. A model of another class needs a row of its own, and a look at its calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Blend:
    """The blocks whose maps of the words tell things apart best, in a network with so many.

    Attributes:
        depths: how many blocks each of the model's lists has.
        blocks: their names.
        second: whether blocks have another attention of the image alone.
    """

    depths: tuple[int, ...]
    blocks: tuple[str, ...]
    second: bool = False


@dataclass(frozen=True)
class JointModel:
    """A kind of transformer.

    Attributes:
        name: what people call it.
        model, network: the classes of ComfyUI's model and of its diffusion_model.
        blocks: (name of the blocks here, the network's list of them), in the order in which they run.
        context, pooled: the network's first layers for the prompt's tokens, and for the prompt as a whole.
        prompt_length: positions of an ordinary prompt.
        text_first: whether the keys of the text come before those of the image.
        pad: where a shorter prompt can be filled up and the filling hidden without moving what is the picture's;
            `none` if nowhere.
        blends: see Blend; in a network that is none of these the middle third of all blocks is taken.
    """

    name: str
    model: str
    network: str
    blocks: tuple[tuple[str, str], ...]
    context: str
    pooled: str
    prompt_length: int
    text_first: bool = True
    pad: Literal["right", "none"] = "right"
    blends: tuple[Blend, ...] = ()


def _named(block: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{block}:{number}" for number in numbers)


MODELS = (
    JointModel(
        name="SD 3.x",
        model="SD3",
        network="OpenAISignatureMMDITWrapper",
        blocks=(("joint", "joint_blocks"),),
        context="context_embedder",
        pooled="y_embedder.mlp.0",
        prompt_length=154,  # CLIP's 77, T5's 77 or more
        blends=(  # the five best of each (Shin et al. 2025)
            Blend((24,), _named("joint", 4, 5, 7, 8, 9)),
            Blend((24,), _named("joint", 5, 7, 8, 9, 10), second=True),
            Blend((38,), _named("joint", 16, 18, 20, 21, 24)),
        ),
    ),
    JointModel(
        name="Flux.1",
        model="Flux",
        network="Flux",
        blocks=(("double", "double_blocks"), ("single", "single_blocks")),
        context="txt_in",
        pooled="vector_in.in_layer",
        prompt_length=256,  # or more
        blends=(Blend((19, 38), _named("double", 11, 12, 14, 17, 18)),),
    ),
)
NEVER_ASK = ("PixArt", "HunyuanDiT", "Ernie")
"""How the classes of models begin whose attention can't be reached: they don't hand on their transformer_options."""
