"""Ends: after any of them, nothing of a pod is left, and the next run clears away what a killed one could not."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from autograder.pods import pod_folder

from .places import Grader, Place
from .programs import eventually, marked, new_mark, python
from .test_limits import STUBBORN


def started(grader: Grader) -> str:
    """Starts a program that has everything against being ended; gives its mark."""
    mark = new_mark()
    running = grader.pod.start(python(STUBBORN, mark, seconds=None))
    assert eventually(lambda: "ready" in running.log())
    assert marked(mark)
    return mark


def family(grader: Grader) -> list[psutil.Process]:
    """The grader's process and all below it."""
    top = psutil.Process(grader.process.pid)
    return [top, *top.children(recursive=True)]


def words(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(words(process) for process in processes)


def test_the_end_of_a_pod_is_the_end_of_all_that_runs_in_it(grader: Grader) -> None:
    mark = started(grader)
    grader.pod.close()
    assert marked(mark) == []


def test_closing_a_pod_twice_is_no_error(grader: Grader) -> None:
    grader.pod.close()
    grader.pod.close()


def test_a_grader_that_ends_leaves_neither_process_nor_folder(place: Place) -> None:
    with place.grader() as grader:
        mark = started(grader)
        processes = family(grader)
    assert all_gone(processes)
    assert marked(mark) == []
    assert not grader.temporary.exists() or list(grader.temporary.iterdir()) == []


def test_a_killed_grader_leaves_no_process(grader: Grader) -> None:
    mark = started(grader)
    processes = family(grader)
    grader.process.send_signal(signal.SIGKILL)
    assert eventually(lambda: all_gone(processes) and marked(mark) == [])


@pytest.mark.below_the_grader
@pytest.mark.parametrize("victim", ["keep", "sandbox.py"])
def test_whichever_of_our_processes_is_killed_nothing_runs_on(grader: Grader, victim: str) -> None:
    mark = started(grader)
    processes = family(grader)
    killed = [process for process in processes[1:] if victim in (Path(word).name for word in words(process))]
    assert killed
    killed[0].kill()
    assert eventually(lambda: marked(mark) == [])


def test_what_a_killed_grader_left_is_removed_by_the_next_run(place: Place) -> None:
    with place.grader() as killed:
        started(killed)
        processes = family(killed)
        killed.process.send_signal(signal.SIGKILL)
        assert eventually(lambda: all_gone(processes))
        assert list(killed.temporary.glob("model-deployment-*/pod-*/"))
        with place.grader(killed.temporary):
            assert len(list(killed.temporary.glob("model-deployment-*/pod-*/"))) == 1
        assert list(killed.temporary.iterdir()) == []


class TestFolders:
    """The folder of a pod that is made, used and swept by one user."""

    @pytest.fixture(autouse=True)
    def own_temporary_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        return tmp_path

    def test_a_folder_in_use_is_never_swept(self) -> None:
        with pod_folder() as first, pod_folder() as second:
            assert first.is_dir()
            assert second.is_dir()
            assert first != second

    def test_nothing_remains_after_the_last_one(self, tmp_path: Path) -> None:
        with pod_folder(), pod_folder():
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_lost_its_lock_file_is_swept_too(self, tmp_path: Path) -> None:
        with pod_folder() as folder:
            stale = folder.with_name("pod-stale")
            (stale / "deep").mkdir(parents=True)
        with pod_folder():
            assert not stale.exists()

    def test_a_folder_that_may_not_be_entered_is_removed_all_the_same(self, tmp_path: Path) -> None:
        with pod_folder() as folder:
            locked = folder / "submission/locked"
            locked.mkdir(parents=True)
            (locked / "file").write_text("x")
            locked.chmod(0)
        assert list(tmp_path.iterdir()) == []

    def test_many_graders_make_folders_at_the_same_time(self, tmp_path: Path) -> None:
        code = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n" + (
            "from autograder.pods import pod_folder\n"
            "for _ in range(30):\n"
            "    with pod_folder() as folder: assert folder.is_dir()"
        )
        graders = [subprocess.Popen([sys.executable, "-P", "-c", code]) for _ in range(multiprocessing.cpu_count() + 1)]
        assert [grader.wait(60) for grader in graders] == [0] * len(graders)
        assert list(tmp_path.iterdir()) == []
