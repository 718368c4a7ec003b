"""Ways to make an edit, all from the same noise in the same ComfyUI: ours, none, and the literature's to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import comfy.samplers
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, encode
from prompt_to_prompt.p2p_core.hosts.comfy.conditioning import stack
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from reference import cross_attention_control, hertz, joint_rules

from .cases import Case


@dataclass(frozen=True)
class Sampling:
    """How all pictures of a model are sampled."""

    steps: int = 30
    cfg: float = 5.0
    sampler: str = "dpmpp_2m"
    scheduler: str = "normal"


@dataclass(frozen=True)
class Setting:
    """Parameters of an edit with the pack's nodes.

    Attributes:
        mode: of PromptPairAlign.
        blend: threshold of AttentionLocalBlend around the words that the edit is about; None for no such node.
        colours: the setting in its place where a colour is swapped; None for the same.
    """

    schedule: InjectSchedule = InjectSchedule()
    mode: str = "auto"
    blend: float | None = None
    trajectory: str = "dual"
    colours: Setting | None = None

    def __call__(self, maker: Maker, case: Case) -> torch.Tensor:
        return maker.ours(case, [self])[0]


def setting(cross: float = 0.8, within: float = 0.4, **more) -> Setting:
    """Windows from the start to `cross` and to `within`, of cross and of self-attention."""
    of_setting = {name: more.pop(name) for name in ("mode", "blend", "trajectory", "colours") if name in more}
    return Setting(InjectSchedule(Window(0, cross, "cross"), Window(0, within, "self"), **more), **of_setting)


class Maker:
    """Makes edits of the demo model; pictures are [3, 128, 128] in [0, 1]."""

    def __init__(self, model, clip, vae, sampling: Sampling = Sampling()):
        self.model, self.clip, self.vae, self.sampling = model, clip, vae, sampling
        of_model = model.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(of_model, sampling.scheduler, sampling.steps)

    def source(self, case: Case) -> torch.Tensor:
        return self._pictures(self._plain(self.encode(case.source.caption), case.seed))[0]

    def ours(self, case: Case, settings: Sequence[Setting]) -> list[torch.Tensor]:
        """A picture a setting; see with_source."""
        return self.with_source(case, settings)[1]

    def with_source(self, case: Case, settings: Sequence[Setting]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The source, and a picture a setting; all of one trajectory are sampled side by side."""
        made: dict[int, torch.Tensor] = {}
        for trajectory in dict.fromkeys(setting.trajectory for setting in settings):
            own = [i for i, setting in enumerate(settings) if setting.trajectory == trajectory]
            edits = [self.edit(case, settings[i]) for i in own]
            edit = replace(edits[0], variants=tuple(variant for edit in edits for variant in edit.variants))
            guider = EditGuider(self.model, edit, self.encode(""), self.sampling.cfg, trajectory=trajectory)
            source, *edited = self._pictures(self._sampled(guider, case.seed))
            made.update(zip(own, edited))
        return source, [made[i] for i in range(len(settings))]

    def edit(self, case: Case, setting: Setting) -> Edit:
        setting = setting.colours if setting.colours and case.kind == "swap colour" else setting
        edit = Edit(encode(self.clip, case.source.caption))
        edit = edit.add(encode(self.clip, case.edit.caption), setting.mode).schedule(setting.schedule)
        if case.scale is not None:
            edit = edit.reweight(case.word, case.scale)
        if setting.blend is not None and case.thing != "place":
            words = [getattr(scene, case.thing) for scene in (case.source, case.edit)]
            edit = edit.local_blend(*words, threshold=setting.blend)
        return edit

    def no_injection(self, case: Case) -> torch.Tensor:
        """The edited prompt from the same noise; a weight is the host's own, `(word:weight)`."""
        return self._pictures(self._plain(self.encode(weighted(case)), case.seed))[0]

    def scheduled(self, case: Case, switch: float) -> torch.Tensor:
        """`[source:edit:switch]`: one picture, the prompt changed after that fraction of the steps."""
        source, edit = self.encode(case.source.caption), self.encode(weighted(case))
        first = [[embeddings, {**options, "end_percent": switch}] for embeddings, options in source]
        then = [[embeddings, {**options, "start_percent": switch}] for embeddings, options in edit]
        return self._pictures(self._plain(first + then, case.seed))[0]

    def hertz(self, case: Case, cross: float = 0.8, within: float = 0.4) -> torch.Tensor:
        """The paper's controllers on maps: replacement where the number of words stays, else refinement."""
        source, edit = case.source.caption, case.edit.caption
        if case.scale is not None:
            control = hertz.reweight(hertz.equalizer(edit, {case.word: case.scale}, self.token_ids)[None].float())
        elif len(source.split(" ")) == len(edit.split(" ")):
            control = hertz.replace(hertz.replacement_mapper(source, edit, self.token_ids)[None].float())
        else:
            mapper, own = hertz.refinement_mapper(source, edit, self.token_ids)
            control = hertz.refine(mapper[None], own[None].float())
        alphas = hertz.time_alphas([edit], self.sampling.steps, {"default_": cross}, self.token_ids).float()
        windows = {"self_replace": (0.0, within), "self_resolution": 8}
        controller = hertz.Controller(self.sampling.steps, control, alphas, **windows)
        return self._beside_source(case, edit, controller)

    def cross_attention_control(self, case: Case) -> torch.Tensor:
        """CrossAttentionControl with the defaults of its notebook: all maps at all steps."""
        source, edit = encode(self.clip, case.source.caption), encode(self.clip, case.edit.caption)
        weights = [] if case.scale is None else [(i, case.scale) for run in edit.find(case.word) for i in run]
        ids = [[token.id for token in prompt.tokens] for prompt in (source, edit)]
        control = cross_attention_control.Control(*ids, weights=weights)
        guider = cross_attention_control.Guider(
            self.model, control, source.encoding, edit.encoding, self.encode(""), self.sampling.cfg
        )
        return self._pictures(self._sampled(guider, case.seed))[0]

    def by_rule(self, case: Case, rule: joint_rules.Rule) -> torch.Tensor:
        """A rule for joint attention; a weight is the host's own, `(word:weight)`."""
        return self._beside_source(case, weighted(case), rule)

    def encode(self, text: str):
        return encode(self.clip, text).encoding

    def token_ids(self, text: str) -> list[int]:
        """With start and end, as the paper's code has them from CLIP's tokenizer."""
        return self.clip.tokenizer.clip_l.tokenizer(text)["input_ids"]

    def _beside_source(self, case: Case, edit: str, control: hertz.Controller | joint_rules.Rule) -> torch.Tensor:
        both = stack([self.encode(case.source.caption), self.encode(edit)])
        return self._pictures(self._plain(both, case.seed, control.patched(self.model), rows=2))[1]

    def _plain(self, positive, seed: int, model=None, rows: int = 1) -> torch.Tensor:
        guider = comfy.samplers.CFGGuider(model or self.model)
        guider.set_conds(positive, self.encode(""))
        guider.set_cfg(self.sampling.cfg)
        return self._sampled(guider, seed, rows)

    def _sampled(self, guider, seed: int, rows: int = 1) -> torch.Tensor:
        """Latents of `rows` prompts from one noise."""
        noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)).repeat(rows, 1, 1, 1)
        sampler = comfy.samplers.sampler_object(self.sampling.sampler)
        return guider.sample(noise, torch.zeros_like(noise), sampler, self.sigmas, disable_pbar=True, seed=seed)

    def _pictures(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents).movedim(-1, 1).float().clamp(0, 1)


def weighted(case: Case) -> str:
    """The edited caption, its weight written as the host reads it."""
    if case.scale is None:
        return case.edit.caption
    return " ".join(f"({word}:{case.scale})" if word == case.word else word for word in case.edit.caption.split(" "))
