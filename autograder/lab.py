"""A lab as its ``lab.toml`` describes it, and where to find it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autograder.errors import GraderError, UsageError

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "labs"
SOLUTIONS = ROOT / "solutions"
VISIBLE_ONLY = "visible-only"  # a file beside checks that are not all of a lab's


class Lab(BaseModel):
    """One project of the course.

    Attributes:
        id: ``lab-01-serving``.
        title: what it is about.
        services: the real systems that it runs, by their names in ``autograder.services``.
        first: the command of the student's service that the checks begin with, of the first of ``services``; empty
            where they begin with something else.
        files: what a student hands in.
        deadline: seconds that one grading run may take before the machine is to blame.
        skills: the titles of the twelve skills by number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^lab-\d\d-[a-z]+$")]
    title: str
    services: tuple[str, ...]
    first: tuple[str, ...] = ()
    files: tuple[str, ...]
    deadline: Annotated[float, Field(gt=0)]
    skills: dict[int, str]

    @property
    def short(self) -> str:
        """``lab-01``."""
        return self.id[:6]

    @property
    def folder(self) -> Path:
        return LABS / self.id

    @property
    def checks(self) -> str:
        """The name of the package that holds its checks."""
        return "autograder.checks." + self.id.replace("-", "_")

    @property
    def visible_only(self) -> bool:
        """Whether only the visible ones of its checks are here, as in what students get."""
        return (ROOT / self.checks.replace(".", "/") / VISIBLE_ONLY).is_file()


def labs() -> list[str]:
    """The ids of the labs that are here."""
    return sorted(folder.name for folder in LABS.glob("lab-*") if (folder / "lab.toml").is_file())


def load_lab(name: str) -> Lab:
    """Finds a lab by ``lab-01-serving``, ``lab-01``, ``01`` or ``1``.

    Raises:
        UsageError: there is no such lab.
        GraderError: its ``lab.toml`` is not what it should be.
    """
    number = re.fullmatch(r"(?:lab-)?0?(\d{1,2})", name.strip("/"))
    for lab_id in labs():
        if lab_id == name.strip("/") or (number and lab_id.startswith(f"lab-{int(number[1]):02}-")):
            return read_lab(LABS / lab_id)
    raise UsageError(f"There is no lab named “{name}”.", f"One of: {', '.join(labs()) or 'none is here'}.")


def read_lab(folder: Path) -> Lab:
    """Reads ``folder/lab.toml``. Raises GraderError when it is not valid."""
    try:
        return Lab.model_validate(tomllib.loads((folder / "lab.toml").read_text("utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise GraderError(
            f"{folder.name}/lab.toml can't be used: {error}.",
            "",
            "Get the file back with `git checkout -- labs`.",
        ) from error
