"""The transformers that can be edited, a row each: what their modules and calls look like in ComfyUI.

All of them ask for attention by `optimized_attention` and give it their `transformer_options`. A model of another class
needs a row of its own, and a look at its calls; tests/README.md says how one is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TEXT, IMAGE, REFERENCES, FILLING = "text", "image", "references", "filling"
"""What keys are of: the prompt, the picture, pictures that it refers to, and learned tokens after the picture."""


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
        blends: see Blend; in a network that is none of these the middle third of all blocks is taken.
        since: the first ComfyUI with it.
        words: what its text encoders are, and what their prompts can't have, for people to read.
    """

    name: str
    model: str
    network: str
    blocks: tuple[tuple[str, str], ...]
    prompt_length: int
    since: str
    words: str
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
    blends: tuple[Blend, ...] = ()


def _named(block: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{block}:{number}" for number in numbers)


_DOUBLE_AND_SINGLE = (("double", "double_blocks"), ("single", "single_blocks"))
_LUMINA = {
    "model": "Lumina2",
    "network": "NextDiT",
    "blocks": (("double", "layers"),),
    "heads": "n_heads",
    "width": "dim",
    "context": "cap_embedder.1",
    "pad": "left",  # the picture's places count from the prompt's end
    "refiners": "context_refiner",
}
_SELF_THEN_CROSS = ((IMAGE,), (TEXT,))
_COSMOS = {
    "blocks": (("block", "blocks"),),
    "width": "model_channels",
    "patch": "patch_spatial",
    "context": "blocks.0.cross_attn.k_proj",
    "attentions": _SELF_THEN_CROSS,
    "order": (TEXT, IMAGE),
}
_NO_WEIGHTS = "no weights as in (word:1.2)"

MODELS = (
    JointModel(
        name="SD 3.x",
        model="SD3",
        network="OpenAISignatureMMDITWrapper",
        blocks=(("joint", "joint_blocks"),),
        context="context_embedder",
        pooled="y_embedder.mlp.0",
        order=(TEXT, IMAGE),
        prompt_length=154,  # CLIP's 77, T5's 77 or more
        blends=(  # the five best of each (Shin et al. 2025)
            Blend((24,), _named("joint", 4, 5, 7, 8, 9)),
            Blend((24,), _named("joint", 5, 7, 8, 9, 10), second=True),
            Blend((38,), _named("joint", 16, 18, 20, 21, 24)),
        ),
        since="0.3.60",
        words="CLIP L, CLIP G and T5",
    ),
    JointModel(
        name="Flux.1",
        model="Flux",
        network="Flux",
        blocks=_DOUBLE_AND_SINGLE,
        pooled="vector_in.in_layer",
        prompt_length=256,  # or more
        blends=(Blend((19, 38), _named("double", 11, 12, 14, 17, 18)),),
        since="0.3.60",
        words="T5",
    ),
    JointModel(
        name="Flux.2",
        model="Flux2",
        network="Flux",
        blocks=_DOUBLE_AND_SINGLE,
        least_before=512,
        prompt_length=512,
        since="0.3.75",
        words=f"Mistral, Klein Qwen 3: {_NO_WEIGHTS}",
    ),
    JointModel(
        name="Qwen-Image",
        model="QwenImage",
        network="QwenImageTransformer2DModel",
        blocks=(("double", "transformer_blocks"),),
        heads="transformer_blocks.0.attn.heads",
        width="inner_dim",
        prompt_length=64,  # any
        since="0.3.60",
        words=f"Qwen 2.5 VL: {_NO_WEIGHTS}",
    ),
    JointModel(
        name="Chroma",
        model="Chroma",
        network="Chroma",
        blocks=_DOUBLE_AND_SINGLE,
        order=(TEXT, IMAGE),
        prompt_length=64,  # any
        since="0.3.60",
        words="T5",
    ),
    JointModel(
        name="Z-Image",
        having="pad_tokens_multiple",
        multiple="pad_tokens_multiple",
        embedder="cap_embedder",
        filling="cap_pad_token",
        order=(TEXT, IMAGE, FILLING),
        prompt_length=64,  # any multiple of 32
        since="0.3.75",
        words=f"Qwen 3: {_NO_WEIGHTS}",
        **_LUMINA,
    ),
    JointModel(
        name="Lumina 2",
        order=(TEXT, IMAGE),
        prompt_length=64,  # any
        since="0.3.60",
        words="Gemma 2",
        **_LUMINA,
    ),
    JointModel(
        name="Wan 2.1",  # and those of 2.2 with its network
        model="WAN21",
        network="WanModel",
        blocks=(("double", "blocks"),),
        width="dim",
        context="text_embedding.0",
        attentions=_SELF_THEN_CROSS,
        order=(TEXT, IMAGE),
        prompt_length=512,
        since="0.3.60",
        words="UMT5",
    ),
    JointModel(
        name="Wan 2.2 5B",
        model="WAN22",
        network="WanModel",
        blocks=(("double", "blocks"),),
        width="dim",
        context="text_embedding.0",
        attentions=_SELF_THEN_CROSS,
        order=(TEXT, IMAGE),
        prompt_length=512,
        since="0.3.60",
        words="UMT5",
    ),
    JointModel(
        name="Cosmos Predict 2",
        model="CosmosPredict2",
        network="MiniTrainDIT",
        prompt_length=512,
        since="0.3.60",
        words="T5",
        **_COSMOS,
    ),
    JointModel(
        name="Anima",
        model="Anima",
        network="Anima",
        least_after=512,
        adapter="preprocess_text_embeds",
        prompt_length=512,
        since="0.29",
        words=f"Qwen 3 and T5: {_NO_WEIGHTS} but T5's",
        **{**_COSMOS, "context": ""},
    ),
    JointModel(
        name="HiDream I1",
        model="HiDream",
        network="HiDreamImageTransformer2DModel",
        blocks=(("double", "double_stream_blocks"), ("single", "single_stream_blocks")),
        heads="num_attention_heads",
        width="inner_dim",
        context="",
        pooled="p_embedder.pooled_embedder.linear_1",
        order=(IMAGE, TEXT),
        pad="none",
        beside=("conditioning_llama3", "encoder_hidden_states_llama3"),
        prompt_length=384,  # T5's 128, and Llama's 128 twice
        since="0.3.60",
        words="CLIP L, CLIP G, T5 and Llama 3.1",
    ),
    JointModel(
        name="Krea 2",
        model="Krea2",
        network="SingleStreamDiT",
        blocks=(("single", "blocks"),),
        heads="heads",
        width="first.out_features",
        patch="patch",
        context="",
        method="default_ref_method",
        refiners="txtfusion.refiner_blocks",
        prompt_length=64,  # any
        since="0.26",
        words=f"Qwen 3 VL: {_NO_WEIGHTS}",
    ),
    JointModel(
        name="Lens",
        model="Lens",
        network="LensTransformer2DModel",
        blocks=(("double", "transformer_blocks"),),
        heads="transformer_blocks.0.attn.heads",
        width="inner_dim",
        patch=1,  # of a latent whose patches are packed already
        order=(IMAGE, TEXT),
        prompt_length=64,  # any
        since="0.25",
        words=f"GPT-OSS: {_NO_WEIGHTS}",
    ),
    JointModel(
        name="OmniGen 2",
        model="Omnigen2",
        network="OmniGen2Transformer2DModel",
        blocks=(("layer", "layers"),),
        heads="layers.0.attn.heads",
        context="time_caption_embed.caption_embedder.1",
        order=(TEXT, REFERENCES, IMAGE),
        pad="none",  # the picture's places follow the prompt's on one axis of three
        refiners="context_refiner",
        prompt_length=64,  # any
        since="0.3.60",
        words=f"Qwen 2.5 VL: {_NO_WEIGHTS}",
    ),
    JointModel(
        name="AuraFlow",
        model="AuraFlow",
        network="MMDiT",
        blocks=(("double", "double_layers"), ("single", "single_layers")),
        heads="single_layers.0.attn.n_heads",
        width="init_x_linear.out_features",
        context="cond_seq_linear",
        order=(TEXT, IMAGE),
        registers=8,
        prompt_length=264,
        since="0.3.60",
        words="Pile-T5",
    ),
)
NEVER_ASK = ("PixArt", "HunyuanDiT", "Ernie")
"""How the classes of models begin whose attention can't be reached: they don't hand on their transformer_options."""
