"""The page's own reading of prompts and windows says what the engine says: both read tests/cases/."""

from __future__ import annotations

import pytest
from prompt_to_prompt.p2p_core.alignment import MODES
from prompt_to_prompt.p2p_core.schedule import RAMPS

from tools import make_pairs

MODULES = "/extensions/prompt-to-prompt"


def asked(page, module: str, function: str, argument):
    """`function(module, argument)` with one of the pack's own modules, in the page."""
    return page.page.evaluate(
        f"async (argument) => ({function})(await import('{MODULES}/{module}.js'), argument)", argument
    )


def test_words_and_pairs(page):
    cases = make_pairs.read("pairs")["pairs"]
    said = asked(
        page,
        "prompts",
        """({ previewOf }, [cases, modes]) => cases.map(({ source, edit }) => {
             const previews = modes.map((mode) => [mode, previewOf(source, edit, mode)]);
             const of = (links, kind) =>
               links.filter((link) => link.kind === kind).map((link) => [...link.source, ...link.edit]);
             const spoken = (tokens) => tokens.map(({ text }) => text).join(" ");
             return {
               source, edit,
               source_words: spoken(previews[0][1].source),
               edit_words: spoken(previews[0][1].edit),
               ...Object.fromEntries(previews.map(([mode, { links }]) =>
                 [mode, links && { taken: of(links, "taken"), swapped: of(links, "swapped") }])),
             };
           })""",
        [cases, list(MODES)],
    )
    assert len(said) >= 300
    for case, words in zip(cases, said, strict=True):
        assert words == case


def test_phrases_and_marks(page):
    known = make_pairs.read("phrases")
    places = asked(
        page,
        "prompts",
        "({ placesOf, wordsOf }, cases) => cases.map(({ text, phrase }) => placesOf(wordsOf(text), phrase))",
        known["phrases"],
    )
    for case, found in zip(known["phrases"], places, strict=True):
        assert found == case["places"], case
    marks = asked(
        page,
        "prompts",
        r"""({ isMark }, blocks) => blocks
             .flatMap(([start, stop]) => Array.from({ length: stop - start }, (_, i) => start + i))
             .map((code) => String.fromCodePoint(code))
             .filter((c) => !/\p{White_Space}/u.test(c) && isMark(c)).join("")""",
        known["characters"],
    )
    assert marks == known["marks"]


def test_windows(page):
    known = make_pairs.read("windows")
    lines = asked(
        page,
        "windows",
        """({ readLine, isWrong }, cases) => cases.map(({ line }) => {
             const window = readLine(line);
             return window && !isWrong(window) ? [window.label, window.start, window.end] : null;
           })""",
        known["lines"],
    )
    for case, window in zip(known["lines"], lines, strict=True):
        assert window == case["window"], case
    windows = asked(
        page,
        "windows",
        """({ stepsIn, rampAt }, [cases, ramps]) => cases.map(({ start, end, steps }) => {
             const [first, after] = stepsIn({ start, end }, steps);
             const held = Array.from({ length: Math.max(after - first, 0) }, (_, i) => first + i);
             const passed = (step) => Math.min(Math.max((step / steps - start) / (end - start), 0), 1);
             return [held, ...ramps.map((ramp) => held.map((i) => rampAt(ramp, passed(i))))];
           })""",
        [known["windows"], list(RAMPS)],
    )
    for case, (held, *ramps) in zip(known["windows"], windows, strict=True):
        assert held == case["held"], case
        for name, ramp in zip(RAMPS, ramps, strict=True):
            assert ramp == pytest.approx(case[name], abs=1e-8), case
