"""A line of the input as a pair of captions with what is asked of its edit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..alignment import MODES
from ..errors import EditError
from ..schedule import InjectSchedule, Window, parse_word_windows
from .instructions import instruct

_TEXTS = ("source", "edit", "instruction", "kind", "mode", "source_words", "edit_words", "word_windows")
_ENDS = ("cross_start", "cross_end", "self_start", "self_end")
COLUMNS = (*_TEXTS, "seed", *_ENDS, "reweight", "threshold")
"""What a line may have; other columns are not used. All but `source` and `edit` may be left out or empty."""
ALIGNMENT, GIVEN = "alignment", "input"
"""Who wrote the instruction."""


@dataclass(frozen=True)
class Request:
    """A pair of captions and the settings of its edit, which have the names of the nodes' inputs.

    Attributes:
        instruction: what an instruction editor is told; `written_by` says whether it was in the input, or was written
            from the alignment of the captions.
        kind: what sort of edit it is; the report counts by it.
        seed: of the first sample; None lets the plan choose.
        windows: ends of windows, each by its name; where there are none the plan draws them.
        reweight: words with scales.
    """

    source: str
    edit: str
    instruction: str
    written_by: str
    kind: str
    mode: str = "auto"
    seed: int | None = None
    windows: tuple[tuple[str, float], ...] = ()
    word_windows: str = ""
    reweight: tuple[tuple[str, float], ...] = ()
    source_words: str = ""
    edit_words: str = ""
    threshold: float = 0.3

    @property
    def name(self) -> str:
        """A digest of all that it asks for: the same of every line that is the same, however we would word it."""
        asked = replace(self, kind="", instruction=self.instruction if self.written_by == GIVEN else "")
        return hashlib.blake2b(asked.text.encode(), digest_size=8).hexdigest()

    @property
    def text(self) -> str:
        """The request as JSON, for `restored`."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


def restored(text: str) -> Request:
    """What `Request.text` gave, back."""
    given = json.loads(text)
    pairs = {name: tuple(map(tuple, given.pop(name))) for name in ("windows", "reweight")}
    return Request(**given, **pairs)


def read_request(line: Mapping[str, Any]) -> Request:
    """A line's columns, checked.

    Raises:
        EditError: a column that is missing or says what cannot be.
    """
    given = {name: value for name, value in line.items() if not _is_empty(value)}
    texts = {name: _text(name, given[name]) for name in _TEXTS if name in given}
    for name in ("source", "edit"):
        if name not in texts:
            raise EditError(name, "it is missing.", "A line has the captions of both pictures.")
    windows = tuple((name, _number(name, given[name])) for name in _ENDS if name in given)
    reweight = _scales(given.get("reweight", {}))
    mode = texts.get("mode", "auto")
    if mode not in MODES:
        raise EditError("mode", f"'{mode}' is not one of: {', '.join(MODES)}.")
    _check_windows(dict(windows))
    parse_word_windows(texts.get("word_windows", ""))
    if texts["source"].split() == texts["edit"].split() and not reweight:
        raise EditError("edit", "it is the source's caption, so nothing would change.", "Change it, or reweight words.")
    written = instruct(texts["source"], texts["edit"], reweight)
    return Request(
        source=texts["source"],
        edit=texts["edit"],
        instruction=texts.get("instruction", written.text),
        written_by=GIVEN if "instruction" in texts else ALIGNMENT,
        kind=texts.get("kind", written.kind),
        mode=mode,
        seed=_whole("seed", given["seed"]) if "seed" in given else None,
        windows=windows,
        word_windows=texts.get("word_windows", ""),
        reweight=reweight,
        source_words=texts.get("source_words", ""),
        edit_words=texts.get("edit_words", ""),
        threshold=_number("threshold", given.get("threshold", 0.3)),
    )


def _is_empty(value: Any) -> bool:
    """Whether a column says nothing. CSV and Parquet have a value in every column, NaN among them."""
    return value is None or value != value or (isinstance(value, str) and not value.strip()) or value in ([], {})


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise EditError(name, f"{value!r} is not a text.")
    return " ".join(value.split()) if name != "word_windows" else value.strip()


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EditError(name, f"{value!r} is not a number.") from None


def _whole(name: str, value: Any) -> int:
    number = _number(name, value) if not isinstance(value, int) else value
    if number != int(number) or not 0 <= number < 2**63:
        raise EditError(name, f"{value!r} is not a whole number from 0 to 2^63.")
    return int(value) if isinstance(value, (int, str)) and str(value).strip().isdigit() else int(number)


def _scales(value: Any) -> tuple[tuple[str, float], ...]:
    """Of {"red": 2}, or of the text "red: 2, hat: 1.5"."""
    if isinstance(value, str):
        parts = [part.rpartition(":") for part in value.replace("\n", ",").split(",") if part.strip()]
        value = {words: scale for words, _, scale in parts}
    if not isinstance(value, Mapping) or any(not str(words).strip() for words in value):
        raise EditError("reweight", f"{value!r} has no words.", "Write words with their scales, such as red: 2.")
    return tuple((words.strip(), _number("reweight", scale)) for words, scale in value.items() if scale is not None)


def _check_windows(ends: Mapping[str, float]) -> None:
    default = InjectSchedule()
    for kind, window in (("cross", default.cross_window), ("self", default.self_window)):
        Window(ends.get(f"{kind}_start", window.start), ends.get(f"{kind}_end", max(window.end, 0)), kind)
