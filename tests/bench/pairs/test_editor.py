"""The small InstructPix2Pix: it begins as the demo model, and is trained and asked as it was made."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.demo.modules import encode, load
from prompt_to_prompt.p2p_core.pairs.captions import demo_lines
from prompt_to_prompt.p2p_core.pairs.instructions import instruct

from bench.pairs.editor import PLACES, Editor, edit, tokens, train


def latents(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_untrained_it_predicts_what_the_demo_model_does_whatever_the_picture():
    unet, text, _ = load()
    words, t = "a red car in the snow", torch.tensor([500, 20])
    with torch.no_grad():
        context = encode(text, [words, words])[:, :PLACES]
        expected = unet(latents(1), t, context).sample
        made = Editor()(latents(1), t, latents(2), torch.tensor([tokens(words)] * 2))
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_every_instruction_of_the_demo_world_has_its_words_and_its_end():
    for _, line in demo_lines(300):
        numbers = tokens(instruct(line["source"], line["edit"]).text)
        assert len(numbers) == PLACES
        assert numbers[-1] == numbers[-2]  # all of it fits
    with pytest.raises(ValueError, match="sunset"):
        tokens("add a sunset")


def test_training_goes_on_where_it_was_and_the_editor_looks_at_the_picture(tmp_path):
    words = torch.tensor([tokens("make the car red"), tokens("add a hat")])
    data = {"source": latents(3), "edited": latents(4), "tokens": words}
    how = {"batch": 4, "lr": 1e-2}
    train("two", data, steps=2, folder=tmp_path, **how)
    resumed = train("two", data, steps=4, folder=tmp_path, **how)
    state = torch.load(tmp_path / "two.pt", weights_only=True)
    assert state["step"] == 4
    instructions, seeds = ["make the car red", "add a hat"], [1, 2]
    made = edit(resumed, latents(3), instructions, seeds, steps=2)
    assert made.shape == (2, 4, 8, 8)
    assert torch.equal(made, edit(resumed, latents(3), instructions, seeds, steps=2))
    assert not torch.equal(made, edit(resumed, latents(5), instructions, seeds, steps=2))
