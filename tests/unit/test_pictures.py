"""Pictures with text: legible at every size, and never a box for a letter."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from prompt_to_prompt.p2p_core.show import lettering
from prompt_to_prompt.p2p_core.show.colours import heat_colours
from prompt_to_prompt.p2p_core.show.comparison import difference
from prompt_to_prompt.p2p_core.show.heat import enlarged, overlay
from prompt_to_prompt.p2p_core.show.lettering import measure, shorten, wrap
from prompt_to_prompt.p2p_core.show.pictures import to_pillow, to_tensor
from prompt_to_prompt.p2p_core.show.sheets import LARGEST, Scale, Sheet, captioned

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
