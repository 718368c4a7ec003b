"""How far a run is, in one line: pairs a minute, how many the filters accept, the time that is left."""

from __future__ import annotations

import sys

from .tally import Tally


class Progress:
    """A bar over samples. `total` is None where the input's end is not known yet."""

    def __init__(self, total: int | None, tally: Tally):
        from tqdm import tqdm

        self.tally = tally
        self._bar = tqdm(total=total, unit="pair", smoothing=0.1, file=sys.stderr, mininterval=0.5, dynamic_ncols=True,
                         bar_format="{l_bar}{bar}| {n}/{total} pairs [{elapsed}<{remaining}{postfix}]")  # fmt: skip
        self._before = 0

    def begin(self, done: int) -> None:
        """So many were done by an earlier run."""
        self._before = self._bar.n = self._bar.initial = done
        self._show()

    def drew(self, count: int) -> None:
        self._bar.update(count)
        self._show()

    def rejected(self, count: int) -> None:
        """So many samples will not be drawn."""
        if self._bar.total is not None:
            self._bar.total -= count

    def _show(self) -> None:
        seconds = self._bar.format_dict["elapsed"]
        told = [f"{60 * (self._bar.n - self._before) / seconds:.0f} a minute"] if seconds > 1 else []
        if self.tally.drawn:
            told.append(f"{self.tally.acceptance:.0%} accepted")
        self._bar.set_postfix_str(", ".join(told), refresh=False)

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._show()
        self._bar.close()
