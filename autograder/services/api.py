"""The student's API: one instance of their app, and how to ask it.

An instance is the command of their Dockerfile with an environment of ours. Several run side by side in one pod, each
at a port of its own, which it is told in ``PORT``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autograder.errors import CheckFailed
from autograder.pods import Limits, MiB, Pod, Program, Running
from autograder.pods.building import Built
from autograder.services.http import Answer, ask
from autograder.services.patience import Patience
from autograder.waiting import fail, polling

START_SECONDS = 60.0
LONGEST_PAUSE = 0.25  # seconds between two looks: an app that fails may write a page of log for each
STEADY, STEADY_SECONDS = 10, 2.5  # so many 500s in a row, over so long, don't pass
SERVICE = Limits(seconds=None, cpu_seconds=600, memory=1536 * MiB, processes=256)
USUAL_PORT = 8000
REMEMBERED = 5_000  # answers
WELL = "It starts, and answers GET /health/live with 200."
FAILING = (
    "The app is up, and this route of it fails: the end of the log says where. "
    "`API_KEY=k python -m app` and `curl -i localhost:8000/health/live` show it without the grader."
)
STARTING = (
    "The grader runs the Dockerfile's CMD, with the files that its COPY lines bring. "
    "Does it start in your own folder: `API_KEY=k python -m app`?"
)


@dataclass
class Failures:
    """The 500s that came in a row, up to the last answer.

    Attributes:
        over: seconds after which they don't pass any more.
        moments: when each came, ``time.monotonic``.
    """

    over: float = STEADY_SECONDS
    moments: list[float] = field(default_factory=list)

    def see(self, answer: Answer) -> Answer:
        """Takes note of an answer, and gives it back."""
        if answer.status == 500:
            self.moments.append(time.monotonic())
        else:
            self.moments.clear()
        return answer

    @property
    def steady(self) -> bool:
        """Whether they are so many, over so long, that waiting on is of no use."""
        return len(self.moments) >= STEADY and self.moments[-1] - self.moments[0] >= self.over


@dataclass
class Api:
    """One running instance.

    Attributes:
        running: its process.
        port: where it has to listen.
        key: the key that it was given.
        name: what messages call it.
        patience: how long it may keep us waiting, which it shares with the other instances.
        answers: what it has answered to ``ask`` and ``predict``.
    """

    running: Running
    port: int
    key: str
    name: str
    patience: Patience = field(default_factory=Patience)
    answers: list[Answer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: Any = None, *, seconds: float = 60.0, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request; a POST when there is a body. Raises CheckFailed when the app has taken all the time it has."""
        with self.patience.waiting(seconds) as allowed:
            answer = ask(self.url + path, body, seconds=allowed, headers=headers)
        if answer.late and allowed < seconds:
            fail(
                f"{'GET' if body is None else 'POST'} {path} gave {answer}. "
                f"The app has kept the grader waiting for {self.patience.seconds:g} seconds in all.",
                f"Quick answers: from now on, each has {self.patience.then:g} seconds.",
                "Find out what is slow, and mend that first. It may be the reason why other checks failed, too.",
            )
        with self._lock:
            if len(self.answers) < REMEMBERED:
                self.answers.append(answer)
        return answer

    def predict(self, images: Any, *, seconds: float = 60.0, headers: Mapping[str, str] | None = None) -> Answer:
        """``POST /predict`` with the right key."""
        sent = {"X-API-Key": self.key, **(headers or {})}
        return self.ask("/predict", {"images": images}, seconds=seconds, headers=sent)

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.running.log().strip().splitlines()[-6:])

    def wait_alive(self) -> None:
        """Waits until it answers ``GET /health/live`` with 200.

        Raises:
            CheckFailed: it never does, it has ended, or it fails with 500 again and again. Any other answer, like 503,
                may mean that it is not there yet.
        """
        answer = Answer(0, b"", "nobody has asked", "")
        failures = Failures()

        def look() -> bool | None:
            nonlocal answer
            answer = failures.see(ask(self.url + "/health/live", seconds=10))
            return True if answer.status == 200 else None

        def saw() -> str:
            if not self.running.alive:
                finished = self.running.finished()
                said = finished.tail(8)
                return f"The app {finished.ending()}." + (f" It said:\n{said}" if said else " It said nothing.")
            last = self.last_words()
            if failures.steady:
                return "GET /health/live gave 500; its log " + (f"ends:\n{last}" if last else "is empty.")
            return f"GET {self.url}/health/live gave: {answer}" + (f"\nThe app said last:\n{last}" if last else "")

        def hopeless() -> bool:
            return not self.running.alive or failures.steady

        try:
            polling(
                look,
                seconds=START_SECONDS,
                saw=saw,
                expected=WELL,
                hint=STARTING,
                longest=LONGEST_PAUSE,
                give_up=hopeless,
            )
        except CheckFailed as why:
            if failures.steady and self.running.alive:
                fail(why.saw, why.expected, FAILING)
            if not answer.status and listens(USUAL_PORT):  # perhaps another instance, which left this one no place
                fail(
                    f"The app listens on port {USUAL_PORT}. It was started with PORT={self.port}.",
                    f"It listens on the port that PORT names, and on {USUAL_PORT} when there is none.",
                    "Read PORT in the command that starts uvicorn; settings.py already does.",
                )
            raise


def start_api(pod: Pod, built: Built, port: int, environment: Mapping[str, str], name: str, patience: Patience) -> Api:
    """Starts an instance of the image; comes back at once.

    Args:
        pod: where.
        built: the student's image.
        port: told to the app in ``PORT``.
        environment: what else it is told; ``API_KEY`` must be there.
        name: what messages call it.
        patience: how long it may keep us waiting.
    """
    env = {**built.env, **environment, "PORT": str(port)}
    running = pod.start(Program(built.argv, env=env, cwd=built.workdir, limits=SERVICE, built=built))
    return Api(running, port, environment["API_KEY"], name, patience)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False
