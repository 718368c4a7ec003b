"""Pictures with text: legible at every size, and never a box for a letter."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from prompt_to_prompt.p2p_core.maps import AttentionMaps, PromptMaps
from prompt_to_prompt.p2p_core.show import lettering
from prompt_to_prompt.p2p_core.show.colours import heat_colours
from prompt_to_prompt.p2p_core.show.comparison import difference, difference_heat
from prompt_to_prompt.p2p_core.show.heat import enlarged, heat_masks, heat_pictures, overlay, word_layers
from prompt_to_prompt.p2p_core.show.lettering import measure, shorten, wrap
from prompt_to_prompt.p2p_core.show.pictures import to_pillow, to_tensor
from prompt_to_prompt.p2p_core.show.sheets import (
    LARGEST,
    Scale,
    Sheet,
    captioned,
    comparison_sheet,
    study_sheet,
    sweep_sheet,
)
from prompt_to_prompt.p2p_core.show.word_heat import word_heat
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

WORDS = [(word, False) for word in ["a", "very", "long", "caption,", "that", "never", "ends", "and", "goes", "on"]]


def test_pictures_come_back_as_they_went():
    image = torch.randint(0, 256, (2, 5, 7, 3)) / 255
    torch.testing.assert_close(to_tensor([to_pillow(picture) for picture in image]), image)


def test_heat_rises_in_lightness():
    light = heat_colours(torch.linspace(0, 1, 50)) @ torch.tensor([0.299, 0.587, 0.114])
    assert (light.diff() > 0).all()
    assert heat_colours(torch.tensor([-1.0, 2.0])).shape == (2, 3)


def test_a_picture_shows_where_there_is_no_heat():
    image = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    cold, hot = overlay(image, torch.zeros(1, 2)), overlay(image, torch.ones(1, 2))
    assert (cold[0, 0] - cold[0, 1]).abs().min() > 0.7
    assert (hot[0, 0] - hot[0, 1]).abs().max() < 0.2


def test_enlarging_stays_within_the_values():
    maps = torch.rand(3, 4, 4)
    large = enlarged(maps, (64, 48))
    assert large.shape == (3, 64, 48)
    assert large.min() >= maps.min()
    assert large.max() <= maps.max()


def test_the_difference_is_the_mean_over_colours():
    assert torch.allclose(
        difference(torch.zeros(1, 2, 2, 3), torch.tensor([0.3, 0.6, 0.0]).expand(1, 2, 2, 3)), torch.tensor(0.3)
    )


@pytest.mark.parametrize(
    ("size", "columns", "rows"), [(64, 1, 1), (128, 3, 2), (1024, 2, 2), (1024, 12, 3), (512, 2, 20)]
)
def test_a_sheet_is_neither_tiny_nor_endless(size, columns, rows):
    picture = Image.new("RGB", (size, size), "#123456")
    cells = [[picture] * columns for _ in range(rows)]
    sheet = Sheet(cells, [WORDS] * columns, [WORDS] * rows, "title", "foot", Scale("difference", "0.5")).draw()
    assert 384 <= max(sheet.size) <= 1.3 * LARGEST
    assert sheet.width > columns * 64


def test_one_picture_with_its_caption_keeps_its_pixels():
    picture = to_pillow(torch.rand(1024, 1024, 3))
    sheet = captioned(picture, WORDS, Scale("attention", "0.1"))
    left, top = (sheet.width - 1024) // 2, 0
    while sheet.crop((left, top, left + 1024, top + 1024)).tobytes() != picture.tobytes():
        top += 1
        assert top < sheet.height - 1024


@pytest.mark.parametrize("width", [40, 120, 400, 4000])
def test_lines_fit_and_marks_stay_with_their_words(width):
    lines = wrap([("a", False), ("cat", True), (",", False), *WORDS], 20, width, 3)
    assert 1 <= len(lines) <= 3
    for line in lines:
        start, text, _ = line[-1]
        assert start + measure(text, 20) <= width + measure("…", 20)
    assert all(line[0][1] != "," for line in lines) or width == 40


def test_a_text_that_fits_is_not_shortened():
    assert shorten("cat", 20, 1000) == "cat"
    assert shorten("caterpillar", 20, 50).endswith("…")


def test_letters_that_no_font_has(monkeypatch, caplog):
    """An accent is dropped; what can't be written is '?', and says so once."""
    monkeypatch.setattr(lettering, "_SYSTEM_FONTS", ())
    for cached in (lettering._fonts, lettering._drawable, lettering._warn_once):
        cached.cache_clear()
    try:
        assert "".join(letter for _, letter in lettering._drawable("猫 cat")) == "? cat"
        assert measure("猫猫", 20) == measure("??", 20)
        assert len([r for r in caplog.records if "Noto Sans CJK" in r.message]) == 1
    finally:
        for cached in (lettering._fonts, lettering._drawable):
            cached.cache_clear()


# -- heat -------------------------------------------------------------------------------------------


def kept(text: str, batch: int) -> PromptMaps:
    words = [Token(i, "text", word, i) for i, word in enumerate(text.split())]
    prompt = Prompt(text, (Stream(tuple(words), len(words)),))
    maps = torch.rand(batch, len(words), 4, 4)
    return PromptMaps(prompt, tuple(range(len(words))), {"middle:0": maps}, {"middle:0": 1})


@pytest.fixture
def maps() -> AttentionMaps:
    return AttentionMaps(kept("a cat , resting", 2), (kept("a dog , resting", 2), kept("a fox", 2)), (64, 64))


def test_a_heat_picture_for_each_edit_with_the_word_and_each_of_the_batch(maps):
    heats = word_heat(maps, "a, dog", edited=True)
    pictures = heat_pictures(maps, heats, (64, 64), torch.rand(4, 64, 64, 3))
    masks = heat_masks(heats, (64, 64))
    assert [(heat.label, heat.prompt) for heat in heats] == [("a", 1), ("dog", 1), ("a", 2)]
    assert len(pictures) == len(masks) == 2 * len(heats)
    assert torch.equal(masks.amax((1, 2)), torch.ones(len(masks)))


def test_layers_count_the_words_of_a_prompt_with_its_marks(maps):
    described = [of for of, _ in word_layers(maps, (16, 16))]
    assert [(of["prompt"], of["word"]) for of in described[::2]] == [
        *((prompt, word) for prompt in (0, 1) for word in (0, 1, 3)),
        *((2, word) for word in (0, 1)),
    ]
    assert [of["image"] for of in described[:2]] == [0, 1]
    assert {of["top"] for of in described} == {
        max(float(m.blocks["middle:0"].max()) for m in (maps.source, *maps.variants))
    }
    assert all(layer.shape == (16, 16, 4) for _, layer in word_layers(maps, (16, 16)))


# -- what goes where --------------------------------------------------------------------------------


def shade(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 64, 64, 3)


def cells(sheet: Image.Image) -> list[list[int]]:
    """The greys of a sheet's cells, row by row: each cell is evenly grey, and no two are alike."""
    grey = (to_tensor([sheet])[0].mean(-1) * 255).round().long()
    places = {value: (grey == value).nonzero() for value in grey.unique().tolist() if value < 255}
    # The middle of what is large: a letter or a frame may have a few pixels of any grey.
    middles = {value: place.median(0).values.tolist() for value, place in places.items() if len(place) > 100_000}
    rows: dict[int, list[tuple[int, int]]] = {}
    for value, (y, x) in middles.items():
        rows.setdefault(round(y / 100), []).append((x, value))
    return [[value for _, value in sorted(rows[y])] for y in sorted(rows)]


def test_a_comparison_has_a_row_for_each_source_and_differences_beside_or_below():
    source, edited = shade(0.1, 0.2), shade(0.3, 0.4, 0.5, 0.6)
    heats = shade(0.7, 0.8, 0.85, 0.9)
    single = comparison_sheet(source[:1], edited[:1], heats[:1], [], 0.5)
    assert cells(single) == [[26, 76, 178]]
    several = comparison_sheet(source, edited, heats, [], 0.5)
    assert cells(several) == [[26, 76, 128], [178, 217], [51, 102, 153], [204, 230]]


def test_a_sweep_has_the_source_beside_its_first_row():
    sheet = sweep_sheet(shade(0.1)[0], shade(0.2, 0.3, 0.4, 0.5), ["x 0", "x 1"], ["y 0", "y 1"], "a cat")
    assert cells(sheet) == [[26, 51, 76], [102, 128]]


def test_a_study_has_everything_and_nothing_first_and_each_group_beside_all_but_it():
    sheet = study_sheet(shade(0.1)[0], shade(0.2, 0.3, 0.4, 0.5, 0.6, 0.7), ["input", "output"], "a cat")
    assert cells(sheet) == [[26, 51, 76], [102, 153], [128, 178]]


def test_a_difference_is_shown_against_the_largest_but_rounding_is_not():
    source = torch.full((2, 4, 4, 3), 0.5)
    edited = torch.cat([source, source + 0.2])
    heats, top = difference_heat(source, edited)
    assert top == pytest.approx(0.2)
    torch.testing.assert_close(heats[0], heat_colours(torch.zeros(4, 4)))
    assert difference_heat(source, source + 0.001)[1] == 0.05
