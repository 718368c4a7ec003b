"""What is dropped, and by what name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prompt_to_prompt.p2p_core.demo.pipeline import tokenizer
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.pairs.clip import Clip, Thresholds, similarities
from prompt_to_prompt.p2p_core.pairs.filtering import Broken, Drawn, Verdict, filtered, own_filter
from prompt_to_prompt.p2p_core.pairs.plan import Draws, samples
from prompt_to_prompt.p2p_core.pairs.tally import Tally

RNG = np.random.default_rng(0)
NOISE = RNG.integers(40, 200, (32, 32, 3), dtype=np.uint8)
OTHER = RNG.integers(40, 200, (32, 32, 3), dtype=np.uint8)


def drawn(request, source=NOISE, edited=OTHER, number=0):
    return Drawn(samples(request, Draws())[number], source, edited, 2)


@pytest.mark.parametrize(
    ("edited", "name"),
    [
        (OTHER, ""),
        (NOISE, "identical"),
        (np.zeros_like(NOISE), "black"),
        (NOISE // 20, "black"),
        (np.full_like(NOISE, 90), "flat"),
        (np.where(NOISE > 120, 255, 0).astype(np.uint8), "clipped"),
    ],
)
def test_broken_pictures_are_dropped_by_name(asked, edited, name):
    both = [drawn(asked[0], NOISE, edited), drawn(asked[0], edited, NOISE)]
    assert [verdict.dropped for verdict in Broken()(both)] == [name, name]


def test_a_night_and_a_snow_field_are_not_broken(asked):
    night, snow = NOISE // 5 + 10, NOISE // 4 + 205
    night[0:4] += 60
    assert [verdict.dropped for verdict in Broken()([drawn(asked[0], night, snow)])] == [""]


class Ranked:
    scores, ranks_by = ("worth",), "worth"

    def __init__(self, worths):
        self.worths = worths
        self.seen = 0

    def __call__(self, pairs):
        self.seen += len(pairs)
        return [
            Verdict({"worth": self.worths[pair.sample.number]}, "low" * (self.worths[pair.sample.number] < 0))
            for pair in pairs
        ]


def test_the_best_of_each_request_are_kept(asked):
    worths = [0.1, 0.5, -0.2, 0.9, 0.5, 0.0, 0.3, 0.2]
    pairs = [drawn(request, number=number) for request in asked[:2] for number in range(8)]
    found = filtered(pairs, [Broken(), Ranked(worths)], keep=3)
    for first in (0, 8):
        assert [pair.sample.number for pair in found[first : first + 8] if not pair.dropped] == [1, 3, 4]
    assert {pair.dropped for pair in found} == {"", "low", "not of the best 3"}
    assert Tally.of(found).acceptance == pytest.approx(14 / 16)  # the best are chosen among what is accepted


def test_without_a_filter_that_ranks_all_are_kept(asked):
    pairs = [drawn(asked[0], number=number) for number in range(8)]
    assert not any(pair.dropped for pair in filtered(pairs, [Broken()], keep=2))


def test_what_is_dropped_is_not_judged_again(asked):
    ranked = Ranked([1.0] * 8)
    found = filtered([drawn(asked[0], NOISE, NOISE), drawn(asked[0], number=1)], [Broken(), ranked], keep=4)
    assert ranked.seen == 1 and "worth" not in found[0].scores


def test_a_tally_counts_and_comes_back_from_json(asked):
    found = filtered([drawn(asked[0], NOISE, NOISE), drawn(asked[1]), drawn(asked[1], number=1)], [Broken()], 4)
    tally = Tally.of(found)
    assert tally.pairs == {"replace": 1, "change": 1} and tally.kept == {"change": 2}
    assert tally.reasons == {("replace", "identical"): 1} and tally.acceptance == pytest.approx(2 / 3)
    assert sum(map(sum, tally.histograms.values())) == 3
    assert tally.passed == tally.kept
    both = Tally.from_json(tally.as_json())
    both.add(tally)
    assert both.drawn.total() == 6 and both.reasons["replace", "identical"] == 2


# CLIP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP with random weights that knows the demo model's words."""
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    sight = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"image_size": 32, "patch_size": 8}
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(CLIPConfig(text_config=text, vision_config=sight, projection_dim=12)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_similarities_are_the_papers(clip_folder, asked):
    """Against the formulas in numpy, on what the model itself gives for each picture and caption alone."""
    clip = Clip(clip_folder, Thresholds(-1, -1, -1), batch=2)
    pairs = [drawn(asked[0]), drawn(asked[2], OTHER, NOISE), drawn(asked[1], NOISE, 255 - NOISE)]
    for pair, verdict in zip(pairs, clip(pairs)):
        request = pair.sample.request
        pictures, texts = zip(
            *(clip.embed([p], [t]) for p, t in ((pair.source, request.source), (pair.edited, request.edit)))
        )
        (i_s, i_e), (t_s, t_e) = ([one[0].double().numpy() for one in of] for of in (pictures, texts))
        wanted = [cosine(i_s, i_e), cosine(i_s, t_s), cosine(i_e, t_e), cosine(i_e - i_s, t_e - t_s)]
        assert list(verdict.scores.values()) == pytest.approx(wanted, abs=2e-4)
        assert not verdict.dropped


def test_pictures_reach_the_model_as_its_own_processor_has_them(clip_folder):
    from transformers import CLIPImageProcessor

    seen = {}
    clip = Clip(clip_folder)
    clip.model.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
    large = np.kron(NOISE, np.ones((3, 3, 1), np.uint8))
    clip.embed([large], ["a cat"])
    size = {"height": 32, "width": 32}
    theirs = CLIPImageProcessor(size=size, crop_size=size)(large, return_tensors="pt")["pixel_values"]
    assert (seen["pixel_values"] - theirs).abs().max() < 0.05  # of a range of about 4: bytes are rounded there


@pytest.mark.parametrize(
    ("thresholds", "name"),
    [
        (Thresholds(1.1, -1, -1), "clip: pictures unlike"),
        (Thresholds(-1, 1.1, -1), "clip: source unlike its caption"),
        (Thresholds(-1, -1, 1.1), "clip: another change than the captions'"),
        (Thresholds(-1, -1, -1), ""),
    ],
)
def test_each_threshold_drops_by_its_name(clip_folder, asked, thresholds, name):
    assert Clip(clip_folder, thresholds)([drawn(asked[0])])[0].dropped == name


def test_the_thresholds_are_the_papers():
    assert Thresholds() == Thresholds(image=0.75, caption=0.2, direction=0.2)


def test_the_edits_caption_has_a_threshold_too(asked, monkeypatch, clip_folder):
    clip = Clip(clip_folder)
    units = torch.eye(3)
    likes = {"a cat on a car": units[0], "a dog on a car": units[1]}
    monkeypatch.setattr(
        clip, "embed", lambda pictures, captions: (units[[0, 0]], torch.stack([likes[c] for c in captions]))
    )
    assert clip([drawn(asked[0])])[0].dropped == "clip: edit unlike its caption"


def test_of_captions_that_are_one_no_direction_is_asked():
    one = torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
    assert [values[3] for values in similarities(one, one.flip(0), one, one)] == [0.0, 0.0]


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_clip_is_told(folder, tmp_path):
    with pytest.raises(EditError, match="clip: "):
        Clip(str(tmp_path / folder))


@pytest.mark.parametrize("name", ["nowhere:some", "math:nothing", "math:sqrt", "no name"])
def test_a_filter_that_is_none_is_told(name):
    with pytest.raises(EditError, match=r"filter: .*(there is no|is no filter)"):
        own_filter(name)
