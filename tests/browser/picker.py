"""The word picker, as tests of it read and click it."""

from __future__ import annotations

PROMPTS = {"source_prompt": "a cat and a cat", "edit_prompt": "a dog and a red cat"}
PAIR = ("PromptPairAlign", PROMPTS, [0, 0])
REWEIGHT = ("AttentionReweight", {"words": ""}, [500, 0])


def words(view, row: str = "") -> dict[str, bool]:
    chips = view.locator(f"{row} .p2p-toggle")
    pairs = chips.evaluate_all("(all) => all.map((c) => [c.textContent, c.getAttribute('aria-pressed') === 'true'])")
    return dict(map(tuple, pairs))


def chip(view, name: str, row: str = ""):
    return view.locator(f"{row} .p2p-toggle", has_text=name).filter(has_text=name).first
