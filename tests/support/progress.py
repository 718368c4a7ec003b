"""What `bootstrap.py` shows while it sets an environment up, and how it fails. Standard library only."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


class SetupError(Exception):
    """The environment can't be had; the message says what to do about it."""


class Progress:
    """Says in one line what is being done and for how long; the commands' own output goes to a log."""

    def __init__(self, log: Path):
        self.log = log
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.title = ""
        log.write_text("")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def step(self, title: str):
        self.title = title
        if not self.live:
            print(f"  {self.elapsed:4.0f} s  {title}", flush=True)
        yield
        if self.live:
            print(f"\r\033[K  {self.elapsed:4.0f} s  {title}", flush=True)

    def show(self, detail: str) -> None:
        """On a terminal, the current line; in a log, nothing: there the steps' own lines are enough."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = f"  {self.elapsed:4.0f} s  {self.title}  {detail}"
            print(f"\r\033[K{line[:width]}", end="", flush=True)

    def watch(self, command: list[str]) -> None:
        """Run `command` with its output in the log. Raises SetupError with the last lines if it fails."""
        start = self.log.stat().st_size
        with self.log.open("ab", buffering=0) as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    self.show(self.last_activity(start))
            finally:
                process.kill()
                process.wait()
        if process.returncode:
            raise SetupError(self.explain(start))

    def last_activity(self, start: int) -> str:
        """What pip last said it was doing, without its noise."""
        for line in map(str.strip, reversed(self.output(start).splitlines())):
            if download := re.match(r"Downloading ([^-]+-[^-]+)\S* (\(.*\))", line):
                return " ".join(download.groups())
            if line.startswith("Installing collected"):
                return f"{line.count(',') + 1} packages, now unpacking"
        return ""

    def output(self, start: int) -> str:
        """The log from byte `start` on."""
        return self.log.read_bytes()[start:].decode(errors="replace")

    def explain(self, start: int) -> str:
        output = self.output(start)
        tail = "\n    ".join(output.splitlines()[-15:])
        hint = "If the network failed, run the same command again: it starts this step over."
        if "ensurepip" in output:
            hint = "This Python has no venv module. On Debian and Ubuntu: apt install python3-venv"
        elif "No matching distribution" in output:
            hint = f"A pinned version doesn't exist for Python {sys.version.split()[0]} here. Try with another Python."
        elif "No space left" in output:
            hint = "The disk is full: about 8 GB are needed, and pip keeps a cache besides."
        return f"Failed while {self.title}:\n    {tail}\n{hint}\nThe whole log: {self.log}"
