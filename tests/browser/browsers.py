"""A browser and the front ends it is to show, found or fetched.

Chromium: P2P_CHROMIUM's, or one on the PATH. Where there is none and this is root on Debian or Ubuntu,
it is installed with apt-get. Without one the tests say so: they are skipped, and fail in CI (CI=true).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import bootstrap
import pytest

SCREENSHOTS = bootstrap.CHECKOUT / ".comfyui" / "screenshots"
NEWEST = "1.58.1"  # of comfyui-frontend-package; served in place of the one ComfyUI brings along
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def without_browser(reason: str):
    """Skip, or in CI fail: nobody is to believe that these tests ran."""
    message = f"NO BROWSER TESTS: {reason}"
    print(f"\n{'!' * 100}\n{message}\n{'!' * 100}", file=sys.__stderr__, flush=True)
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@contextlib.contextmanager
def launched():
    """A headless Chromium."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        without_browser("there is no playwright; it is in tests/requirements.txt.")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        except Error as error:
            without_browser(f"Chromium doesn't start:\n{error}")
        yield browser
        browser.close()


def chromium() -> str:
    """The path of a Chromium, installed if need be."""
    return (
        _find_chromium()
        or _install_chromium()
        or without_browser(
            "there is no Chromium. Install it (Debian: apt-get install chromium), or set P2P_CHROMIUM to its path."
        )
    )


def _find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("P2P_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def _install_chromium() -> str | None:
    if not shutil.which("apt-get") or getattr(os, "geteuid", lambda: 1)() != 0:
        return None
    print("Installing chromium with apt-get ...", file=sys.__stderr__, flush=True)
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments]  # another apt-get may be at work
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            print(done.stderr[-2000:], file=sys.__stderr__)
            return None
    return _find_chromium()


def front_end(version: str) -> Path | None:
    """The folder of a front end: None for ComfyUI's own ("stock"), else unpacked next to the environment."""
    if version == "stock":
        return None
    folder = bootstrap.CHECKOUT / ".comfyui" / "front-ends" / version
    if not (folder / "index.html").exists():
        _fetch_front_end(version, folder)
    return folder


def _fetch_front_end(version: str, folder: Path) -> None:
    fetching = folder.with_name(f"{version}-fetching")
    shutil.rmtree(fetching, ignore_errors=True)
    fetching.mkdir(parents=True)
    command = [*bootstrap.pip(bootstrap.locate(), "download"), "--no-deps", "-d", str(fetching)]
    done = subprocess.run([*command, f"comfyui-frontend-package=={version}"], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        without_browser(f"front end {version} could not be fetched:\n{done.stderr[-1000:]}")
    (wheel,) = fetching.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = "comfyui_frontend_package/static/"
        # Source maps are two thirds of it, and nobody asks for them.
        names = [name for name in archive.namelist() if name.startswith(inside) and not name.endswith(".map")]
        archive.extractall(fetching, names)
    shutil.rmtree(folder, ignore_errors=True)
    (fetching / inside).rename(folder)
    shutil.rmtree(fetching)
