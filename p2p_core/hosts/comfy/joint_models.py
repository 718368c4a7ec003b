"""The transformers that can be edited, a row each: what their modules and calls look like in ComfyUI.

All of them ask for attention by `optimized_attention` and give it their `transformer_options`. A model of another class
needs a row of its own, and a look at its calls; tests/README.md says how one is added.
"""

from __future__ import annotations

from .joint_row import FILLING, IMAGE, REFERENCES, TEXT, JointModel

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
        since="0.3.60",
        encoders="CLIP L, CLIP G, T5",
    ),
    JointModel(
        name="Flux.1",
        model="Flux",
        network="Flux",
        blocks=_DOUBLE_AND_SINGLE,
        pooled="vector_in.in_layer",
        prompt_length=256,  # or more
        since="0.3.60",
        encoders="T5",
    ),
    JointModel(
        name="Flux.2",
        model="Flux2",
        network="Flux",
        blocks=_DOUBLE_AND_SINGLE,
        least_before=512,
        prompt_length=512,
        since="0.3.72",
        run=("0.3.75", "0.33"),
        encoders="Mistral 3; Klein: Qwen 3",
        no_weights=True,
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
        limits="Qwen-Image-Edit: write both prompts in PromptPairAlign, and each again in a TextEncodeQwenImageEdit or "
        "TextEncodeQwenImageEditPlus with the same pictures. Connect these two to `source` and `edited`.",
        encoders="Qwen 2.5 VL",
        no_weights=True,
        reads_pictures=True,
    ),
    JointModel(
        name="Chroma",
        model="Chroma",
        network="Chroma",
        blocks=_DOUBLE_AND_SINGLE,
        order=(TEXT, IMAGE),
        prompt_length=64,  # any
        since="0.3.60",
        encoders="T5",
    ),
    JointModel(
        name="Z-Image",
        having="pad_tokens_multiple",
        multiple="pad_tokens_multiple",
        embedder="cap_embedder",
        filling="cap_pad_token",
        order=(TEXT, IMAGE, FILLING),
        prompt_length=64,  # any multiple of 32
        since="0.3.74",
        run=("0.3.75", "0.33"),
        limits="If prompts fill different multiples of 32 tokens, the picture has to be of a size that the model does "
        "not fill up, as 1024 x 1024.",
        encoders="Qwen 3",
        no_weights=True,
        **_LUMINA,
    ),
    JointModel(
        name="Lumina 2",
        order=(TEXT, IMAGE),
        prompt_length=64,  # any
        since="0.3.60",
        encoders="Gemma 2",
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
        limits="One frame. It stands for 2.2 14B as well, each of its two models with half of the steps.",
        encoders="UMT5",
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
        limits="One frame.",
        encoders="UMT5",
    ),
    JointModel(
        name="Cosmos Predict 2",
        model="CosmosPredict2",
        network="MiniTrainDIT",
        prompt_length=512,
        since="0.3.60",
        limits="One frame, text to image.",
        encoders="T5",
        **_COSMOS,
    ),
    JointModel(
        name="Anima",
        model="Anima",
        network="Anima",
        least_after=512,
        adapter="preprocess_text_embeds",
        prompt_length=512,
        since="0.11",
        run=("0.33",),
        limits="Weights as in (word:1.2) are T5's alone.",
        encoders="Qwen 3, T5",
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
        limits="Prompts of up to 128 tokens; longer ones have to be of one length.",
        encoders="CLIP L, CLIP G, T5, Llama 3.1",
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
        run=("0.33",),
        limits="Pictures that it refers to need a reference_latents_method; without one the model leaves them out.",
        encoders="Qwen 3 VL",
        no_weights=True,
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
        since="0.23",
        run=("0.33",),
        encoders="GPT-OSS",
        no_weights=True,
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
        limits="Source and edits have to be of as many tokens; else it is refused.",
        encoders="Qwen 2.5 VL",
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
        encoders="Pile-T5",
    ),
)
NEVER_ASK = ("PixArt", "HunyuanDiT", "Ernie")
"""How the classes of models begin whose attention can't be reached: they don't hand on their transformer_options."""
