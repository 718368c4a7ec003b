"""Start a real ComfyUI with this pack in it, on a free loopback port and in folders of its own.

with Server("--use-pytorch-cross-attention") as server:
    result = server.run(workflow)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
from collections.abc import Sequence
from pathlib import Path

import bootstrap

from support.comfy_client import Client

ENDS_WITH_PARENT = Path(__file__).with_name("ends_with_parent.py")
INPUTS = bootstrap.CHECKOUT / "example_workflows" / "inputs"  # pictures that the examples load
FOLDERS = ("output", "input", "temp", "user")  # ComfyUI has an argument for each
START_TIMEOUT = 600  # seconds; the first start compiles a few thousand files, and the machine may be busy
# The models here are small: a second thread gains little, and waiting for it on a busy machine costs a hundredfold.
THREADS = {"OMP_NUM_THREADS": "1"}


class ServerError(Exception):
    """The server didn't start, or went away; the message ends with its last words."""


class Server(Client):
    """A ComfyUI process and a client to it. Nothing starts before `start` or `with`; `stop` leaves nothing behind.

    arguments: further command-line arguments for ComfyUI; they win over the ones given here
    pack:      whether this pack is installed in it
    beside:    other packs to install in it, folders or single files
    """

    def __init__(
        self,
        *arguments: str,
        pack: bool = True,
        environment: bootstrap.Environment | None = None,
        beside: Sequence[Path] = (),
    ):
        super().__init__("")
        self.arguments = arguments
        self.pack = pack
        self.beside = beside
        self.environment = environment or bootstrap.locate()
        self.process: subprocess.Popen | None = None
        self.base: Path | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    @property
    def output(self) -> Path:
        """Where SaveImage and its like write."""
        return self.base / "output"

    @property
    def log(self) -> str:
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def start(self, echo: bool = False) -> None:
        """Return once the server answers. With `echo`, its log goes to this process's own standard error."""
        if self.base is None:
            # Outside the checkout: the link to the pack then leads into no circle, and no two servers share anything.
            self.base = Path(tempfile.mkdtemp(prefix="prompt-to-prompt-"))
            self._make_folders()
        try:
            while not self._started(echo):
                self.process.stdin.close()
        except BaseException:
            self.stop()
            raise

    def _started(self, echo: bool) -> bool:
        """Start it and wait; whether it runs, and not another program took the port before it could."""
        command = self._command()
        before = len(self._written())
        with (self.base / "server.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self.environment.comfyui,
                env={**THREADS, **os.environ},
                stdin=subprocess.PIPE,
                stdout=None if echo else log,
                stderr=None if echo else subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C and the like are for this process, which then stops the server
            )
        try:
            self._wait()
        except ServerError:
            if "--port" in self.arguments or "address already in use" not in self._written()[before:].lower():
                raise
            return False
        return True

    def _written(self) -> str:
        """The log, if there is one by now."""
        return self.log if (self.base / "server.log").exists() else ""

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdin.close()
            self.process = None
        if self.base:
            shutil.rmtree(self.base, ignore_errors=True)
            self.base = None

    def kill(self) -> None:
        """End it as a crash would: at once, and its folders stay as they are. `start` goes on in them."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def check_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise ServerError(f"ComfyUI is gone. Its log ended with:\n{self._last_words()}")

    def _make_folders(self) -> None:
        for name in (*FOLDERS, "custom_nodes"):
            (self.base / name).mkdir()
        if self.pack:
            bootstrap.link_pack(self.base / "custom_nodes")
            for picture in INPUTS.iterdir():
                shutil.copy(picture, self.base / "input")
        for pack in self.beside:
            target = self.base / "custom_nodes" / pack.name
            if pack.is_dir():
                shutil.copytree(pack, target, ignore=shutil.ignore_patterns(".git"))
            else:
                shutil.copy(pack, target)

    def _command(self) -> list[str]:
        given = self.arguments
        port = given[given.index("--port") + 1] if "--port" in given else free_port()
        self.url = f"http://127.0.0.1:{port}"
        arguments = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(self.base)]
        for name in FOLDERS:
            arguments += [f"--{name}-directory", str(self.base / name)]
        arguments += ["--database-url", f"sqlite:///{self.base / 'comfyui.db'}"]
        arguments += ["--disable-auto-launch", "--disable-api-nodes", *given]
        program = [str(ENDS_WITH_PARENT), str(self.base), str(self.environment.comfyui / "main.py")]
        return [str(self.environment.python), *program, *arguments]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServerError(f"ComfyUI didn't answer for {START_TIMEOUT} s:\n{self._last_words()}")
            time.sleep(0.1)
        if f"(IMPORT FAILED): {self.base / 'custom_nodes' / bootstrap.PACK}" in self.log:
            raise ServerError(f"ComfyUI could not load the pack:\n{self._last_words(200)}")

    def _answers(self) -> bool:
        try:
            stats = self.get("/system_stats", timeout=5)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        # On a port that someone else took in the meantime, another server would answer.
        return str(self.base) in stats["system"].get("argv", [])

    def _last_words(self, lines: int = 30) -> str:
        return "\n".join(f"    {line}" for line in self.log.splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
