"""A picture of every view in both renderings and both themes, to be looked at: .comfyui/screenshots/."""

from __future__ import annotations

import pytest
from browsers import SCREENSHOTS
from workflows import EDIT, EVERYTHING, EVERYTHING_LINKS, ID


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pictures_of_the_views(canvas, theme):
    folder = SCREENSHOTS / f"{canvas.front_end}-{canvas.rendering}-{theme}"
    folder.mkdir(parents=True, exist_ok=True)
    canvas.theme(theme)
    try:
        canvas.build(EVERYTHING, EVERYTHING_LINKS)
        canvas.set(ID["schedule"], "ramp", "cosine")
        canvas.set(ID["align"], "edit_prompt", "a dog sitting in the snow")
        picture_of(canvas, "align", folder / "align-preview.png")
        canvas.set(ID["align"], "mode", "replace")
        canvas.set(ID["align"], "edit_prompt", "a dog in the snow")
        picture_of(canvas, "align", folder / "align-refused.png")
        canvas.set(ID["align"], "mode", "auto")
        canvas.set(ID["align"], "edit_prompt", EDIT)
        canvas.run()
        canvas.tokens_shown()
        for name in ("align", "reweight", "schedule", "blend", "compare"):
            canvas.show(ID[name])
            if name == "compare":
                canvas.view(ID[name]).get_by_role("button", name="dog").click()
                canvas.page.wait_for_timeout(200)
            picture_of(canvas, name, folder / f"{name}.png")
        canvas.show(*ID.values(), scale=0.55)
        canvas.page.wait_for_timeout(200)
        canvas.page.screenshot(path=folder / "all.png")
    finally:
        canvas.theme("dark")


def picture_of(canvas, name: str, path) -> None:
    canvas.show(ID[name])
    view = canvas.view(ID[name])
    assert view.is_visible()
    box = view.bounding_box()
    assert box["width"] > 200
    assert box["height"] > 40
    canvas.page.wait_for_timeout(100)
    area = {"x": box["x"] - 20, "y": 100, "width": box["width"] + 40, "height": box["y"] + box["height"] - 80}
    canvas.page.screenshot(path=path, clip=area)
