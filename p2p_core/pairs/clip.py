"""InstructPix2Pix's filter (Brooks et al. 2023, section 3.1.2): a pair's pictures and captions in CLIP's space.

With unit vectors i_s, i_e of the pictures and t_s, t_e of the captions

    clip_image      i_s . i_e                          the pictures are alike
    clip_source     i_s . t_s                          each shows what its caption says
    clip_edit       i_e . t_e
    clip_direction  cos(i_e - i_s, t_e - t_s)          they differ as the captions do (Gal et al. 2022)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import EditError
from .filtering import Drawn, Verdict

# Of OpenAI's models, for folders that say nothing of their own.
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Thresholds:
    """What is asked at least; the paper's."""

    image: float = 0.75
    caption: float = 0.2
    direction: float = 0.2


class Clip:
    """A CLIP from a local folder as transformers saved it. Drops what is below a threshold, by the threshold's name."""

    scores = ("clip_image", "clip_source", "clip_edit", "clip_direction")
    ranks_by = "clip_direction"

    def __init__(self, folder: str, thresholds: Thresholds = Thresholds(), device: str = "cpu", batch: int = 32):
        from transformers import AutoTokenizer, CLIPModel

        if not Path(folder).is_dir():
            raise EditError("clip", f"there is no folder {folder}.", "It takes one that transformers saved a CLIP in.")
        try:
            self.model = CLIPModel.from_pretrained(folder, local_files_only=True).to(device).eval()
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise EditError("clip", f"transformers can't read a CLIP from {folder} ({error}).") from error
        self.thresholds, self.device, self.batch = thresholds, device, batch
        self._size = self.model.config.vision_config.image_size
        self._mean, self._std = _normalisation(Path(folder))

    def __call__(self, drawn: Sequence[Drawn]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for first in range(0, len(drawn), self.batch):
            some = drawn[first : first + self.batch]
            captions = [caption for pair in some for caption in (pair.sample.request.source, pair.sample.request.edit)]
            pictures, texts = self.embed([picture for pair in some for picture in (pair.source, pair.edited)], captions)
            pairs = zip(some, similarities(pictures[0::2], pictures[1::2], texts[0::2], texts[1::2]))
            verdicts += [self._verdict(pair.sample.request, values) for pair, values in pairs]
        return verdicts

    @torch.no_grad()
    def embed(self, pictures: Sequence[np.ndarray], captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors [n, d] of as many pictures [height, width, 3] and captions."""
        pixels = torch.from_numpy(np.stack(pictures)).to(self.device).movedim(-1, 1).float() / 255
        pixels = F.interpolate(pixels, (self._size, self._size), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(of, device=self.device)[:, None, None] for of in (self._mean, self._std))
        length = self.model.config.text_config.max_position_embeddings
        words = self.tokenizer(captions, padding=True, truncation=True, max_length=length, return_tensors="pt")
        words = {name: words[name].to(self.device) for name in ("input_ids", "attention_mask")}
        out = self.model(pixel_values=(pixels - mean) / std, **words)
        return out.image_embeds.float().cpu(), out.text_embeds.float().cpu()

    def _verdict(self, request, values: Sequence[float]) -> Verdict:
        scores = {name: round(value, 5) for name, value in zip(self.scores, values)}
        asked = self.thresholds
        if scores["clip_image"] < asked.image:
            return Verdict(scores, "clip: pictures unlike")
        if scores["clip_source"] < asked.caption:
            return Verdict(scores, "clip: source unlike its caption")
        if scores["clip_edit"] < asked.caption:
            return Verdict(scores, "clip: edit unlike its caption")
        if request.source != request.edit and scores["clip_direction"] < asked.direction:
            return Verdict(scores, "clip: another change than the captions'")
        return Verdict(scores)


def similarities(
    source: torch.Tensor, edited: torch.Tensor, source_text: torch.Tensor, edit_text: torch.Tensor
) -> list[tuple[float, float, float, float]]:
    """Of unit vectors [n, d] each: clip_image, clip_source, clip_edit, clip_direction for each of n.

    The direction is 0 where the captions are one.
    """
    direction = F.cosine_similarity(edited - source, edit_text - source_text)
    both = ((source * edited).sum(1), (source * source_text).sum(1), (edited * edit_text).sum(1), direction)
    return [tuple(values) for values in torch.stack(both, 1).tolist()]


def _normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    file = folder / "preprocessor_config.json"
    given = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return given.get("image_mean", _MEAN), given.get("image_std", _STD)
