"""What the views and the commands say, they say in Chinese as well."""

from __future__ import annotations

import re

from bootstrap import CHECKOUT

WEB = CHECKOUT / "web"
SOURCES = {path: path.read_text(encoding="utf-8") for path in WEB.rglob("*.js") if path.name != "chinese.js"}
ENTRY = re.compile(r'^  (?:"((?:[^"\\]|\\.)*)"|(\w+)):\s+"((?:[^"\\]|\\.)*)",$', re.MULTILINE)
CHINESE = {
    quoted or bare: text for quoted, bare, text in ENTRY.findall((WEB / "chinese.js").read_text(encoding="utf-8"))
}
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def said(source: str) -> set[str]:
    """The texts in the first argument of each `say(...)`."""
    found: set[str] = set()
    for match in re.finditer(r"\bsay\(", source):
        depth, end = 1, match.end()
        while depth and not (depth == 1 and source[end] == ","):
            text = TEXT.match(source, end)
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end = text.end() if text else end + 1
        found |= set(TEXT.findall(source[match.end() : end]))
    return found


def test_everything_that_is_said_has_its_chinese():
    texts = set().union(*map(said, SOURCES.values()))
    assert len(texts) > 50
    assert texts - set(CHINESE) == set()


def test_nothing_is_translated_that_nobody_says():
    written = "\n".join(SOURCES.values())
    assert [text for text in CHINESE if f'"{text}"' not in written and f"{text}:" not in written] == []


def test_both_have_the_same_places_for_values():
    def places(text: str) -> list[str]:
        return sorted(re.findall(r"\{\w+\}", text))

    assert {text: translated for text, translated in CHINESE.items() if places(text) != places(translated)} == {}
    assert all(re.search(r"[\u4e00-\u9fff]|^token", translated) for translated in CHINESE.values())
