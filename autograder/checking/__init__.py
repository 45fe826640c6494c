"""What a check is made of: the decorator, the ways to fail, and waiting for a condition.

A check is a function whose docstring is the sentence that the student reads:

    @check("hot-swap", skill=8, points=10, needs=[own_answer], hint="Rename a complete folder into place.")
    def hot_swap(server, load, evidence):
        "A new version takes over without one failed request."

Its parameters are pytest fixtures. It passes when it returns, fails when it raises ``CheckFailed`` (or when an
``assert`` does not hold), and every other exception is our own fault: the verdict *error*.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from autograder.errors import CheckFailed
from autograder.waiting import fail, polling

if TYPE_CHECKING:
    from autograder.report.model import Evidence, LoadPoint

__all__ = ["Check", "CheckFailed", "EvidenceBox", "check", "check_of", "clean", "fail", "polling"]

MOST_OF_TITLE = 200  # characters, as in ``Evidence``
F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True)
class Check:
    """What the decorator knows of a check.

    Attributes:
        name: its stable name within the lab, ``hot-swap``.
        skill: the number of the skill that it belongs to.
        points: what it is worth.
        title: its docstring's first sentence.
        hint: the next step for a student whose work fails it.
        needs: the names of the checks that must pass first.
        after: the names of the checks that must be over first, however they end: it changes what they look at.
        visible: whether students get it with the lab.
        last: it runs after those that it shares services with: it leaves them in a state that these should not meet,
            or can do with whatever state they leave. Those that wait for something slow come later still.
    """

    name: str
    skill: int
    points: int
    title: str
    hint: str
    needs: tuple[str, ...]
    after: tuple[str, ...]
    visible: bool
    last: bool


def check(
    name: str,
    *,
    skill: int,
    points: int,
    hint: str,
    needs: Iterable[Callable[..., None]] = (),
    after: Iterable[Callable[..., None]] = (),
    visible: bool = False,
    last: bool = False,
) -> Callable[[F], F]:
    """Makes a function a check. See ``Check`` for the parameters; ``needs`` and ``after`` take the functions."""

    def decorate(function: F) -> F:
        title = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        if not title:
            raise TypeError(f"The check {name} has no docstring: it is what a student reads.")
        needed, before = (tuple(check_of(other).name for other in others) for others in (needs, after))
        function.__check__ = Check(name, skill, points, title, hint, needed, before, visible, last)  # type: ignore[attr-defined]
        return function

    return decorate


def check_of(function: Callable[..., Any]) -> Check:
    """The description of a decorated function. Raises TypeError for any other."""
    found = getattr(function, "__check__", None)
    if not isinstance(found, Check):
        raise TypeError(f"{function!r} is not a check.")
    return found


@dataclass
class EvidenceBox:
    """Collects what a check wants to show, whatever its verdict becomes."""

    items: list[Evidence] = field(default_factory=list)

    def text(self, title: str, text: str) -> None:
        self._add(title, text=clean(text))

    def log(self, title: str, text: str) -> None:
        self._add(title, kind="log", text=clean(text))

    def http(self, title: str, request: str, answer: str) -> None:
        self._add(title, kind="http", text=f"{clean(request, 4000)}\n\n{clean(answer, 8000)}")

    def load(self, title: str, points: Iterable[LoadPoint]) -> None:
        self._add(title, kind="load", load=tuple(thin(list(points), 600)))

    def _add(self, title: str, **fields: Any) -> None:
        from autograder.report.model import Evidence  # and with it pydantic, which is not needed at the beginning

        self.items.append(Evidence(title=_short(title), **fields))


def _short(title: str) -> str:
    """A title that a report can hold; some of them quote a command of the student's."""
    title = clean(title)
    return title if len(title) <= MOST_OF_TITLE else title[: MOST_OF_TITLE - 1] + "…"


def thin(points: list[LoadPoint], most: int) -> list[LoadPoint]:
    """At most ``most`` points of a load, for a plot: failures and changes of the answer first, the rest evenly."""
    step = max(1, 2 * len(points) // most)
    kept = [
        point
        for index, point in enumerate(points)
        if index % step == 0 or point.failed or point.answer != points[index - 1].answer
    ]
    return kept[:: max(1, -(-len(kept) // most))]


def clean(text: str, most: int = 12_000) -> str:
    """Text that any report can hold; of a long one the end, which is where logs say what happened."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", "�")
    return text if len(text) <= most else "[…]\n" + text[-most:]
