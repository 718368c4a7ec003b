"""The set-up is reused, rebuilt and recovered as it should be; nothing is installed here."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
import subprocess
import time

import bootstrap
import pytest

from tools import matrix, other_packs


@pytest.fixture
def release(tmp_path, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    return bootstrap.Release("1.2.3", "package==1", "inside/", tmp_path / ".comfyui")


def slow_build(release):
    with (release.folder / "builds").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    release.environment.python.parent.mkdir(parents=True, exist_ok=True)
    release.environment.python.touch()
    (release.folder / "stamp").write_text(release.stamp)


def prepare_with_slow_build(release):
    bootstrap.build = slow_build
    bootstrap.prepare(release)


def builds(release) -> int:
    return len((release.folder / "builds").read_text().splitlines())


def test_a_second_run_builds_nothing(release, monkeypatch):
    monkeypatch.setattr(bootstrap, "build", slow_build)
    first, second = bootstrap.prepare(release), bootstrap.prepare(release)
    assert first == second == release.environment
    assert builds(release) == 1


def test_a_changed_pin_builds_again(release, monkeypatch):
    monkeypatch.setattr(bootstrap, "build", slow_build)
    bootstrap.prepare(release)
    bootstrap.prepare(dataclasses.replace(release, package="package==2"))
    assert builds(release) == 2


def test_a_build_that_was_cut_short_is_done_over(release, monkeypatch):
    monkeypatch.setattr(bootstrap, "build", slow_build)
    bootstrap.prepare(release)
    (release.folder / "stamp").unlink()  # `build` removes it first and writes it last
    bootstrap.prepare(release)
    assert builds(release) == 2


def test_two_processes_build_once(release):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=prepare_with_slow_build, args=(release,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=300)
    assert [process.exitcode for process in both] == [0, 0]
    assert builds(release) == 1


def test_a_failing_step_shows_the_last_lines_and_what_to_do(tmp_path):
    progress = bootstrap.Progress(tmp_path / "setup.log")
    script = "print('No matching distribution found for torch==9'); raise SystemExit(1)"
    told = pytest.raises(bootstrap.SetupError, match=r"(?s)while installing.*torch==9.*another Python.*setup\.log")
    with told, progress.step("installing"):
        progress.watch([bootstrap.sys.executable, "-c", script])


def test_an_installation_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match=r"main\.py"):
        bootstrap.prepare()
    (tmp_path / "main.py").touch()
    assert bootstrap.prepare().python == bootstrap.Path(bootstrap.sys.executable)
    python = bootstrap.venv_python(tmp_path / "venv")
    python.parent.mkdir(parents=True)
    python.touch()
    assert bootstrap.prepare() == bootstrap.Environment(tmp_path, python)


def test_a_pinned_commit_is_checked_out_without_its_history(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.check_output(["git", "-C", str(tmp_path / "pack"), *who, *arguments], text=True).strip()  # noqa: S603, S607

    (tmp_path / "pack").mkdir()
    git("init", "-q")
    commits = []
    for content in ("first", "second", "third"):
        (tmp_path / "pack" / "file").write_text(content)
        git("add", "file")
        git("commit", "-q", "-m", content)
        commits.append(git("rev-parse", "HEAD"))
    bootstrap.checkout(f"file://{tmp_path}/pack", commits[1], tmp_path / "copy")
    assert (tmp_path / "copy" / "file").read_text() == "second"


def test_what_the_matrix_runs_is_pinned_and_in_order():
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in matrix.RELEASES.values())
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for _, commit in other_packs.PINNED.values())
    versions = [tuple(map(int, version.split("."))) for version in matrix.RELEASES]
    assert versions == sorted(versions)
    assert matrix.OLDEST in matrix.RELEASES


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("== 1 failed, 604 passed, 43 warnings in 846.06s (0:14:06) ==", "1 failed, 604 passed"),
        ("= 3 passed in 12.37s =\n", "3 passed"),
        ("Traceback ...\nImportError", "did not run"),
    ],
)
def test_the_matrix_tells_what_pytest_counted(log, said):
    assert matrix.counts(log) == said
