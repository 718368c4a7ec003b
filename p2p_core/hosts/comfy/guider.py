"""ComfyUI: prompts from its CLIP, layers of its UNet, and a guider that carries a run."""

from __future__ import annotations

import hashlib
import logging
import math
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import comfy.latent_formats
import comfy.ldm.modules.attention as comfy_attention
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, Upsample
from comfy.sampler_helpers import convert_cond

from ...demo import layout as demo
from ...edit import Edit
from ...errors import EditError
from ...layers import Layer, check_blocks
from ...noise import SharedNoise
from ...run import Chunk, Run
from ...spelling.clip import Piece, spell
from ...step import step_of
from ...tokens import Prompt, Token
from .conditioning import Conditioning, check, is_aligned, stack

SUPPORTED = "SD 1.x, SD 2.x and SDXL, and models with their UNet"
SAMPLER_NAMES = comfy.samplers.KSampler.SAMPLERS
SCHEDULER_NAMES = comfy.samplers.KSampler.SCHEDULERS
_CLIP_NAMES = ("l", "g", "h")


def encode(clip, text: str) -> Prompt:
    """A prompt as `clip` sees it: weights, embeddings and chunks included. Its encoding is CONDITIONING.

    Raises:
        EditError: no CLIP is connected, or one of a model without UNet attention.
    """
    if clip is None:
        raise EditError("clip is empty: the checkpoint has no text encoder. Connect one with CLIPLoader.")
    encoders = clip.tokenize(text, return_word_ids=True)
    if not set(encoders) <= set(_CLIP_NAMES):
        raise EditError(f"clip is a text encoder of {', '.join(encoders)}: prompt-to-prompt works with {SUPPORTED}.")
    name = min(encoders, key=lambda name: len(encoders[name]))
    tokens = _tokens(encoders[name], getattr(clip.tokenizer, f"clip_{name}"), text)
    plain = {key: [[pair[:2] for pair in chunk] for chunk in chunks] for key, chunks in encoders.items()}
    encoding = clip.encode_from_tokens_scheduled(plain)
    return Prompt(text, tokens, chunk=len(encoders[name][0]), encoding=encoding)


def _tokens(chunks: list[list[tuple]], tokenizer, text: str) -> tuple[Token, ...]:
    """ComfyUI's chunks of (token, weight, segment), segment 0 being start, end and padding, as tokens."""
    spelled = iter(_spell([(t, segment) for chunk in chunks for t, _, segment in chunk if segment], tokenizer, text))
    tokens = []
    for chunk in chunks:
        special = iter(["start", "end"])
        for token, _, segment in chunk:
            tokens.append(next(spelled) if segment else Token(_token_id(token), next(special, "pad")))
    return tuple(tokens)


def _spell(segments: list[tuple[Any, int]], tokenizer, text: str) -> list[Token]:
    embeddings = iter(re.findall(r"embedding:([^\s,:()]+)", text))
    pieces, last = [], None
    for token, segment in segments:
        vector = isinstance(token, torch.Tensor)
        name = next(embeddings, "embedding") if vector and segment != last else ""
        pieces.append(Piece(_token_id(token), None if vector else tokenizer.inv_vocab[token], segment, name))
        last = segment
    return spell(pieces, tokenizer.tokenizer.convert_tokens_to_string)


def _token_id(token: Any) -> int | str:
    if isinstance(token, torch.Tensor):
        return hashlib.sha1(token.detach().float().cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()
    return int(token)


def attention_layers(model) -> list[Layer]:
    """The attention layers of a ModelPatcher's UNet in the order in which it runs them, read from its modules.

    Raises:
        EditError: the model has none.
    """
    unet = model.get_model_object("diffusion_model")
    layers: list[Layer] = []
    level = 0
    if hasattr(unet, "input_blocks"):
        blocks = [("input", i, f"input_blocks.{i}", block) for i, block in enumerate(unet.input_blocks)]
        blocks += [("middle", 0, "middle_block", unet.middle_block)] if unet.middle_block is not None else []
        blocks += [("output", i, f"output_blocks.{i}", block) for i, block in enumerate(unet.output_blocks)]
        for name, number, path, block in blocks:
            level += any(isinstance(module, Downsample) for module in block.modules())
            for index, transformer in enumerate(_transformers(model, f"diffusion_model.{path}", block)):
                layers += _transformer_layers(name, number, index, transformer, level)
            level -= any(isinstance(module, Upsample) for module in block.modules())
    if not any(layer.kind == "cross" for layer in layers):
        raise EditError(
            f"model: {type(model.model).__name__} has no UNet cross-attention. Prompt-to-prompt edits its maps "
            f"and works with {SUPPORTED}; not with Flux, SD 3 and other transformers."
        )
    return layers


def _transformers(model, path: str, block) -> Iterator[comfy_attention.BasicTransformerBlock]:
    """The transformers of a block, which are `model`'s own.

    What stands in the UNet may be another's: packs put wrappers in a transformer's place, and the
    host leaves them there until another model is loaded. So the patcher is asked for each by name.
    """
    for below, spatial in block.named_modules():
        if isinstance(spatial, comfy_attention.SpatialTransformer):
            for index in range(len(spatial.transformer_blocks)):
                name = ".".join(filter(None, (path, below, "transformer_blocks", str(index))))
                found = model.get_model_object(name)
                inside = found.modules() if isinstance(found, torch.nn.Module) else ()
                own = next((m for m in inside if isinstance(m, comfy_attention.BasicTransformerBlock)), None)
                if own is None:
                    raise EditError(
                        f"model: another node has put a {type(found).__name__} in the place of {name}, where "
                        "prompt-to-prompt looks for attention. Take that node out of the model that goes in here."
                    )
                yield own


def _transformer_layers(name: str, number: int, index: int, transformer, level: int) -> list[Layer]:
    return [
        Layer(name, number, index, kind, level, attention.heads, attention.dim_head)
        for kind, attention in (("self", transformer.attn1), ("cross", transformer.attn2))
        if attention is not None and (kind == "cross" or not transformer.disable_self_attn)
    ]


class AttentionPatch:
    """A replace patch: the attention layers of one block and kind within a run.

    What a patch of another pack makes of the attention stays, and the edit is added to it.
    """

    def __init__(self, run: Run, layers: list[Layer], chunks: dict[uuid.UUID, bool], previous: Callable | None):
        self.run = run
        self.layers = {layer.index: layer for layer in layers}
        self.chunks = chunks
        self.previous = previous
        self.heard: set[Layer] = set()

    def __call__(self, q, k, v, extra_options, **kwargs):
        def attend(q, k, v):
            return comfy_attention.optimized_attention(
                q,
                k,
                v,
                extra_options["n_heads"],
                attn_precision=extra_options.get("attn_precision"),
                transformer_options=extra_options,
            )

        previous = None
        if self.previous is not None:

            def previous(q, k, v):
                return self.previous(q, k, v, extra_options, **kwargs)

        layer = self.layers[extra_options["block_index"]]
        chunks = self._chunks(q, k, layer, extra_options)
        if previous is not None and layer.kind == "cross" and chunks and layer not in self.heard:
            self.heard.add(layer)
            self._check_previous(previous, q, k, v, layer, chunks[0])
        size = tuple(extra_options["original_shape"][-2:])
        return self.run.attention(q, k, v, layer, extra_options["n_heads"], chunks, size, attend, previous)

    def to(self, *args, **kwargs):
        """Passed on: the host moves patches that hold tensors along with the model."""
        if hasattr(self.previous, "to"):
            self.previous = self.previous.to(*args, **kwargs)
        return self

    def __deepcopy__(self, memo):
        """Copies of the model, as the host makes for a second device, belong to the same run."""
        return self

    def _chunks(self, q, k, layer: Layer, extra_options) -> list[Chunk]:
        uuids = extra_options["uuids"]
        rows = len(self.run.rows)
        if len(q) != len(k) or len(q) != rows * len(uuids):
            raise EditError(
                f"{layer.kind}-attention of block {layer.name} got {len(q)} rows of queries and {len(k)} of "
                f"keys where {rows * len(uuids)} were expected. Another node that rearranges them is on the model: "
                "HyperTile and MSW-MSA cut self-attention into tiles, attention-couple and regional-prompt nodes "
                "multiply cross-attention, TiledDiffusion does both unless its tile_batch_size is 1, context windows "
                "take some of a batch at a time. Take it out of the model that goes into this sampler."
            )
        places = math.prod(extra_options["activations_shape"][-2:])
        if layer.kind == "self" and q.shape[1] != places:
            raise EditError(
                f"self-attention of block {layer.name} got {q.shape[1]} places of the picture where it has {places}. "
                "Another node on the model merges them, each picture's in its own way, such as TomePatchModel: take "
                "it out, or keep the edit out of this layer with self_layers or blocks of AttentionInjectSchedule."
            )
        return [Chunk(i * rows, self.chunks[key]) for i, key in enumerate(uuids) if key in self.chunks]

    def _check_previous(self, previous: Callable, q, k, v, layer: Layer, chunk: Chunk) -> None:
        """The edit is added to what another patch makes of the prompts; some make nothing of them."""
        rows = slice(chunk.base, chunk.base + len(self.run.rows))
        if torch.equal(previous(q, k, v)[rows], previous(q, k, -v)[rows]):
            raise EditError(
                f"cross-attention of block {layer.name}: another node on the model puts prompts of its own in the "
                "place of the edit's, as Attention couple and other regional-prompt nodes do. Take it out of the model "
                "that goes into this sampler."
            )


class EditGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance over the stacked rows of an edit. All state lives within `run`.

    Args:
        model: ModelPatcher; never changed.
        edit: with encodings by `encode`.
        negative: CONDITIONING for all rows.
        cfg: guidance scale.
        source, edited: CONDITIONING in place of the edit's own; `edited` with a row per edit.
        trajectory: see Rows.
        keep_maps: see Run.

    Raises:
        EditError: inputs that don't fit each other or the model.
    """

    def __init__(
        self,
        model,
        edit: Edit,
        negative: Conditioning,
        cfg: float,
        source: Conditioning | None = None,
        edited: Conditioning | None = None,
        trajectory: str = "dual",
        keep_maps: bool = False,
    ):
        super().__init__(model)
        self.layers = attention_layers(model)
        for variant in edit.variants:
            check_blocks(variant.schedule.blocks, self.layers)
        self.edit = edit
        self.trajectory = trajectory
        self.keep_maps = keep_maps
        self.source = source if source is not None else edit.source.encoding
        self.edited = edited if edited is not None else stack([v.prompt.encoding for v in edit.variants])
        check(edit, self.source, self.edited, negative, _context_width(model))
        self.set_conds(stack([self.source, self.edited]), negative)
        self.set_cfg(cfg)

    def sample(self, *args, **kwargs) -> torch.Tensor:
        """As CFGGuider.sample, for the latents of the source alone; returns [source, edit 1, ...] of each."""
        return self.run(*args, **kwargs)[0]

    def run(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Callable | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> tuple[torch.Tensor, Run]:
        """Sample source and edits.

        Args:
            noise, latent_image: [batch, channels, height, width], of the source.
            sigmas: [steps + 1], falling.

        Returns:
            latents [(1 + edits) * batch, channels, height, width], and the finished run with its maps and masks.
        """
        if latent_image.ndim != 4:
            raise EditError("latent_image is no latent of still pictures: prompt-to-prompt edits images.")
        batch = len(latent_image)
        run = Run(self.edit, self.layers, batch, tuple(latent_image.shape[-2:]), self.trajectory, self.keep_maps)
        rows = run.rows
        mine = self.model_patcher, self.model_options, self.original_conds
        try:
            self._run = run
            self._steps = sigmas.tolist()
            self._chunks: dict[uuid.UUID, bool] = {}
            self._noise = SharedNoise(len(rows), batch, tuple(latent_image.shape[1:]))
            self.model_patcher = self._patched(run)
            self.model_options = self.model_patcher.model_options
            positive = stack([self.source, self.edited], join=lambda parts: rows.spread(*parts))
            self.original_conds = {**self.original_conds, "positive": convert_cond(positive)}
            if denoise_mask is not None:
                denoise_mask = rows.tile(comfy.utils.repeat_to_batch_size(denoise_mask, batch))
            with self._noise:
                latents = super().sample(
                    rows.tile(noise),
                    rows.tile(latent_image),
                    sampler,
                    sigmas,
                    denoise_mask,
                    callback and (lambda i, x0, x, steps: callback(i, rows.visible(x0), rows.visible(x), steps)),
                    disable_pbar,
                    seed,
                )
            self._check_reached(run)
            return rows.visible(run.finish(latents)), run
        finally:
            self.model_patcher, self.model_options, self.original_conds = mine
            for name in ("_run", "_steps", "_chunks", "_noise", "conds", "inner_model", "loaded_models"):
                self.__dict__.pop(name, None)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        if not self._chunks:
            self._name_chunks()
        steps = len(self._steps) - 1
        self._run.begin_step(step_of(float(timestep[0]), self._steps), steps)
        with self._noise.paused():
            return super().predict_noise(x, timestep, model_options or {}, seed)

    def _check_reached(self, run: Run) -> None:
        evaluated = bool(self._chunks)
        if evaluated and not run.reached and any(map(run.reaches, self.layers)):
            raise EditError(
                "model: it was sampled, but never asked for its patched attention, so nothing could be edited. "
                "Nodes that run the model outside of ComfyUI's own code, or with patches that they noted earlier, do "
                "that, such as TensorRT or Automatic CFG with attention modifiers: take them out."
            )
        if evaluated and (note := run.note()):
            logging.warning(note)

    def _patched(self, run: Run):
        model = self.model_patcher.clone()
        replaced = model.model_options["transformer_options"].get("patches_replace", {})
        slots: dict[tuple, list[Layer]] = {}
        for layer in filter(run.reaches, self.layers):
            name = "attn1" if layer.kind == "self" else "attn2"
            # The host asks for a transformer's own patch before its block's, so ours goes where one is.
            # Everywhere else it has the block's: guidance like PAG sets that one in the midst of a run.
            key = (layer.block, layer.number, layer.index)
            slots.setdefault((name, key if key in replaced.get(name, {}) else key[:2]), []).append(layer)
        for (name, key), layers in slots.items():
            previous = replaced.get(name, {}).get(key)
            model.set_model_patch_replace(AttentionPatch(run, layers, self._chunks, previous), name, *key)
        if run.settles:
            model.set_model_sampler_post_cfg_function(_blend_predictions(run))
        return model

    def _name_chunks(self) -> None:
        """Give the edited evaluations names of their own, by which the patches know them.

        Not by being "cond": extra guidance evaluates other conditionings in that place, and the host
        copies entries between positive and negative, names included, where only one has an area.
        """
        rows = self._run.rows
        aligned = []
        for cond in self.conds["positive"]:
            embeddings = cond["model_conds"]["c_crossattn"].cond
            edited = torch.cat([embeddings[rows.of(prompt)] for prompt in rows.edited])
            aligned.append(is_aligned(self.edit, embeddings[:1].cpu(), edited.cpu()))
        for cond, own in zip(self.conds["positive"], aligned):
            cond["uuid"] = uuid.uuid4()
            self._chunks[cond["uuid"]] = own or not any(aligned)


def _context_width(model) -> int:
    for module in model.get_model_object("diffusion_model").modules():
        if isinstance(module, comfy_attention.BasicTransformerBlock) and module.attn2 is not None:
            return module.attn2.to_k.in_features
    raise AssertionError("checked by attention_layers")


def _blend_predictions(run: Run) -> Callable:
    def post_cfg(args):
        denoised, uncond = run.blend(args["denoised"], args["uncond_denoised"])
        # Samplers of the cfg_pp family step along the unconditional prediction, which they take from
        # these arguments after us: outside of the masks it has to be the source's as well.
        if uncond is not None:
            args["uncond_denoised"].copy_(uncond)
        return denoised

    return post_cfg


def sample(
    guider: EditGuider,
    latent: dict[str, Any],
    seed: int,
    steps: int,
    sampler_name: str,
    scheduler: str,
    denoise: float,
    part: tuple[int, int] = (0, 1),
) -> tuple[torch.Tensor, Run]:
    """What KSampler does, with an EditGuider: noise from the seed, sigmas, mask, progress and preview.

    `part` (i, n) says that this is run i of n in a row, which share one progress bar.
    """
    model = guider.model_patcher
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    sampling = comfy.samplers.KSampler(
        model, steps, model.load_device, sampler_name, scheduler, denoise, model_options=model.model_options
    )
    number, parts = part
    progress = latent_preview.prepare_callback(model, steps * parts)
    batch = len(samples)

    def side_by_side(step, x0, x, total):
        progress(number * total + step, torch.cat(list(x0[::batch]), dim=-1)[None], x, parts * total)

    latents, run = guider.run(
        noise,
        samples,
        comfy.samplers.sampler_object(sampler_name),
        sampling.sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=side_by_side,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return latents.to(comfy.model_management.intermediate_device()), run


class _DemoLatent(comfy.latent_formats.SD15):
    """The demo's UNet takes latents as its VAE makes them."""

    def __init__(self):
        super().__init__()
        self.scale_factor = 1.0
        # For the live preview: least squares from latents to the mean colours of what the VAE makes of them.
        self.latent_rgb_factors = [[0.02, 0.02, -0.27], [0.06, 0.38, 0.29], [0.25, 0.02, -0.05], [-0.44, -0.15, 0.06]]
        self.latent_rgb_factors_bias = [0.13, -0.03, -0.15]


class _DemoConfig(comfy.supported_models.SD15):
    latent_format = _DemoLatent


class _DemoTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """CLIP's own, but for a warning where a word is used that the demo was not trained on."""

    words: frozenset[str] = frozenset()

    def tokenize_with_weights(self, text: str, return_word_ids=False, **kwargs):
        chunks = super().tokenize_with_weights(text, True, **kwargs)[self.clip_name]
        tokens = [token for chunk in chunks for token, _, segment in chunk if segment]
        pieces = (self.clip_l.inv_vocab.get(token, "") for token in tokens if not isinstance(token, torch.Tensor))
        written = "".join(pieces).replace("</w>", " ").split()
        unknown = [word for word in dict.fromkeys(written) if word.isalpha() and word not in self.words]
        if unknown:
            logging.warning(
                "The demo model does not know %s. Its words: %s.", ", ".join(unknown), ", ".join(sorted(self.words))
            )
        return super().tokenize_with_weights(text, return_word_ids, **kwargs)


def load_demo() -> tuple[Any, Any, Any]:
    """The pack's own small model (128 x 128 pixels) as ordinary MODEL, CLIP and VAE objects."""
    tensors, metadata = demo.read()

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    sizes = {"use_spatial_transformer": True, "legacy": False, **metadata["unet_config"]}
    config = _DemoConfig(sizes)
    config.unet_config["num_heads"] = sizes["num_heads"]  # which SD15 sets to 8
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    weights = part(demo.UNET)
    parameters = sum(tensor.numel() for tensor in weights.values())
    dtype = comfy.model_management.unet_dtype(model_params=parameters)
    cast = comfy.model_management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    base = config.get_model({}, device=offload)
    base.load_model_weights(weights)
    model = comfy.model_patcher.ModelPatcher(base, load_device=device, offload_device=offload)

    text = part(demo.TEXT)
    ids, rows = text.pop("embeddings.token_ids").long(), text.pop("embeddings.token_rows")
    text["embeddings.token_embedding.weight"] = rows.new_zeros(demo.VOCABULARY, rows.shape[1]).index_copy(0, ids, rows)
    tokenizer = type("DemoTokenizer", (_DemoTokenizer,), {"words": frozenset(metadata["words"])})
    clip = comfy.sd.CLIP(
        comfy.supported_models_base.ClipTarget(tokenizer, comfy.sd1_clip.SD1ClipModel),
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        model_options={"clip_l_model_config": metadata["clip_config"]},
    )
    clip.load_sd({f"text_model.{name}": tensor for name, tensor in text.items()})
    return model, clip, comfy.sd.VAE(sd=part(demo.VAE))
