"""Taking a submission in: what is fine is copied, what is not is named, and nothing in it leads the grader astray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autograder import submission
from autograder.errors import SubmissionError
from autograder.submission import Intake, examine, fingerprint, take_in


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def only_note(intake: Intake) -> str:
    (note,) = intake.notes
    return note


def test_files_and_folders_are_copied(source: Path, target: Path) -> None:
    write(source, a="1")
    (source / "deep/er").mkdir(parents=True)
    write(source / "deep/er", b="2")
    intake = take_in(source, target)
    assert contents(target) == {"a": "1", "deep/er/b": "2"}
    assert intake.files == ["a", "deep/er/b"]
    assert intake.notes == []


def test_a_script_stays_a_script(source: Path, target: Path) -> None:
    write(source, script="", text="")
    (source / "script").chmod(0o4777)
    take_in(source, target)
    assert (target / "script").stat().st_mode & 0o7777 == 0o755
    assert (target / "text").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("name", [".git", "__pycache__", ".ipynb_checkpoints", "models", "reports"])
def test_what_is_no_work_of_the_students_is_passed_over_without_a_word(name: str, source: Path, target: Path) -> None:
    (source / name).mkdir()
    write(source / name, a="1")
    write(source, b="2")
    intake = take_in(source, target)
    assert contents(target) == {"b": "2"}
    assert intake.notes == []


@pytest.mark.parametrize("goal", ["/etc/passwd", "../outside", "folder/file", "..", "."])
def test_a_link_out_of_its_folder_is_left_out(goal: str, source: Path, target: Path) -> None:
    write(source.parent, outside="secret")
    (source / "link").symlink_to(goal)
    intake = take_in(source, target)
    assert contents(target) == {}
    assert "it is a link out of its folder" in only_note(intake)


def test_a_link_to_a_file_beside_it_becomes_a_copy(source: Path, target: Path) -> None:
    write(source, real="1")
    (source / "link").symlink_to("real")
    take_in(source, target)
    assert contents(target) == {"real": "1", "link": "1"}
    assert not (target / "link").is_symlink()


def test_a_link_to_a_link_is_left_out(source: Path, target: Path) -> None:
    (source / "first").symlink_to("/etc/passwd")
    (source / "second").symlink_to("first")
    take_in(source, target)
    assert contents(target) == {}


def test_a_link_to_nothing_is_left_out(source: Path, target: Path) -> None:
    (source / "link").symlink_to("nowhere")
    assert "a link to nothing" in only_note(take_in(source, target))


def test_a_folder_that_is_a_link_is_not_entered(source: Path, target: Path) -> None:
    (source / "etc").symlink_to("/etc")
    take_in(source, target)
    assert list(target.iterdir()) == []


def test_a_named_pipe_is_left_out_and_holds_nobody_up(source: Path, target: Path) -> None:
    os.mkfifo(source / "pipe")
    assert "neither a file nor a folder" in only_note(take_in(source, target))


@pytest.mark.parametrize("name", [b"\xff", b"new\nline", b"esc\x1b[2J", b"back\\slash"])
def test_a_name_that_can_not_be_trusted_is_left_out(name: bytes, source: Path, target: Path) -> None:
    Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_text("1")
    note = only_note(take_in(source, target))
    assert "was left out: its name" in note
    assert note.isprintable()
    assert list(target.iterdir()) == []


def test_a_huge_file_is_left_out_and_the_rest_is_taken(source: Path, target: Path) -> None:
    write(source, small="1")
    with (source / "huge").open("wb") as stream:
        stream.truncate(submission.MAX_FILE + 1)
    assert "larger than 20 MiB" in only_note(take_in(source, target))
    assert contents(target) == {"small": "1"}


def test_what_the_lab_asks_for_comes_first_when_there_is_too_much(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "MAX_TOTAL", 10)
    write(source, a="123456789", train="1234")
    intake = take_in(source, target, first=("train",))
    assert contents(target) == {"train": "1234"}
    assert "larger than" in only_note(intake)


@pytest.mark.parametrize("kind", ["files", "folders", "links"])
def test_there_is_an_end_to_how_many_names_are_looked_at(
    kind: str, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "MAX_FILES", 20)
    for number in range(50):
        path = source / f"{number:03}"
        {"files": path.touch, "folders": path.mkdir, "links": lambda path=path: path.symlink_to("/etc")}[kind]()
    intake = take_in(source, target)
    assert len(list(target.iterdir())) <= 20
    assert len(intake.notes) <= 21
    assert "more than 20 files" in intake.notes[-1]


def test_there_is_an_end_to_how_deep_it_goes(source: Path, target: Path) -> None:
    deepest = source.joinpath(*["d"] * 30)
    deepest.mkdir(parents=True)
    write(deepest, a="1")
    assert "folders deep" in only_note(take_in(source, target))


def test_a_path_that_is_too_long_is_left_out(source: Path, target: Path) -> None:
    folder = source
    for _ in range(8):
        folder = folder / ("d" * 200)
        folder.mkdir()
    assert "its name is too long" in only_note(take_in(source, target))


def test_a_folder_can_be_given_as_a_descriptor(source: Path, target: Path) -> None:
    write(source, a="1")
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    take_in(descriptor, target)
    os.close(descriptor)  # it stayed open
    assert contents(target) == {"a": "1"}


def test_the_fingerprint_follows_from_the_content_alone(source: Path, target: Path) -> None:
    write(source, a="1", b="2", other="x")
    take_in(source, target)
    first = fingerprint(target, ("a", "b"))
    write(target, other="y")
    assert fingerprint(target, ("a", "b")) == first
    write(target, b="3")
    assert fingerprint(target, ("a", "b")) != first
    assert fingerprint(target, ("a", "b", "missing")) != fingerprint(target, ("a", "b"))


def test_a_folder_that_can_be_graded_is_no_error(source: Path) -> None:
    write(source, a="1")
    examine(source)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "There is no folder"),
        (lambda path: path.mkdir(), "is empty"),
        (lambda path: path.write_text(""), "is a file"),
        (lambda path: path.symlink_to(path), "can't be opened"),
    ],
)
def test_what_can_not_be_a_submission_is_said_at_once(make: object, says: str, tmp_path: Path) -> None:
    make(tmp_path / "work")  # type: ignore[operator]
    with pytest.raises(SubmissionError, match=says) as caught:
        examine(tmp_path / "work")
    assert caught.value.exit_code == 2
