"""Students' images and the engine: what hostile Dockerfiles can't do, what is looked through, what is left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.errors import ImageNotFound
from pods.places import PLACES, Grader

from autograder.errors import GraderError
from autograder.pods import Build, MiB
from autograder.pods.docker.builder import Builder
from autograder.pods.docker.engine import Engine, filters_of, labels, of_pod, remove, remove_images, sweep
from autograder.pods.docker.making import message
from autograder.pods.docker.runtime import DockerRuntime
from autograder.pods.docker.talk import Made

KEY = b"planted-key-1"
HALVES = "printf planted- > {0} && printf key-1 >> {0}"  # the needle is in no line of the Dockerfile
DOCKER = next(place for place in PLACES if place.docker)
Make = Callable[..., Made]


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    """A lock that is held, as a run's own."""
    path = tmp_path / "pod-of-this-test.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield path
    os.close(descriptor)


@pytest.fixture
def builder(runtime: DockerRuntime, lock: Path, tmp_path: Path) -> Iterator[Builder]:
    submission = tmp_path / "submission"
    submission.mkdir()
    yield Builder(runtime.engine, runtime.images["python"].id, labels(lock), submission, 20_000)
    remove(*of_pod(runtime.engine, lock))
    remove_images(runtime.engine, filters_of(lock))


@pytest.fixture
def make(builder: Builder) -> Make:
    """Builds an image of lines between FROM and CMD."""
    numbers = iter(range(1, 100))

    def make(*lines: str, **how: object) -> Made:
        text = "\n".join(["FROM python:3.11-slim", "WORKDIR /app", *lines, 'CMD ["python"]'])
        extra = {"Dockerfile": text.encode(), "requirements.txt": b"fastapi\nuvicorn[standard]\n"}
        return builder.make(message(next(numbers), Build(extra=extra, needles=(KEY,), **how)))  # type: ignore[arg-type]

    return make


# -- hostile steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "how", "says"),
    [
        (
            "sleep 600",
            {"seconds": 4},
            "line 3: RUN sleep 600: it was still running when the RUN commands had taken 4 seconds",
        ),
        ("yes", {}, "printed more than 8 MiB"),
        ("python -c 'while True: __import__(\"os\").fork()'", {"seconds": 8}, "line 3: RUN python"),
        ("sh -c ':() { : | : & }; while true; do :; done'", {"seconds": 8}, "line 3: RUN"),
        ("i=0; while head -c 20000000 /dev/zero > /x$i; do i=$((i + 1)); done", {}, "wrote more than|File size"),
        ("i=0; while [ $i -lt 99 ]; do truncate -s 60M /x$i; i=$((i + 1)); done", {}, "wrote more than 64 MiB"),
        ("head -c 1000000000 /dev/zero > /x", {}, "ended with exit code|wrote more than"),
        ("python -c 'x = bytearray(1 << 30)'", {"memory": 256 * MiB}, "used more than 256 MiB of memory"),
    ],
    ids=["sleeps", "prints", "forks", "forks-in-a-shell", "many-files", "holes", "one-file", "memory"],
)
def test_a_hostile_step_ends_with_a_problem_and_leaves_no_image(
    make: Make, engine: Engine, lock: Path, step: str, how: dict[str, object], says: str
) -> None:
    made = make(f"RUN {step}", **({"added_size": 64 * MiB} | how))
    assert made.problem
    assert re.search(says, made.problem), made.problem
    assert len(made.log) < 2 * MiB
    containers, _ = of_pod(engine, lock)
    assert containers == []
    assert engine.answers()


def test_a_step_has_no_network_and_few_rights(make: Make) -> None:
    made = make(
        "RUN ls /sys/class/net; cat /proc/net/route; grep -E 'CapEff|NoNewPrivs' /proc/self/status; ls /var/run"
    )
    assert made.problem == ""
    said = made.log.partition("Step 3/")[2].splitlines()[1:]
    assert said[0] == "lo"
    assert len([line for line in said if "\t" in line and line[0].isalpha()]) <= 3  # the routes' own heading
    assert "CapEff:\t00000000000000db" in said
    assert "NoNewPrivs:\t1" in said
    assert not any("docker" in line for line in said)


def test_what_a_step_needs_a_network_for_is_said(make: Make) -> None:
    code = "import urllib.request as u; u.urlopen('http://packages.invalid/')"
    made = make(f'RUN python -c "{code}"')
    assert "The grader has no network" in made.problem


# -- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["RUN true"], False),
        (["RUN " + HALVES.format("/app/key")], True),
        (["RUN " + HALVES.format("/app/key"), "RUN rm /app/key"], True),
        (["RUN " + HALVES.format("/app/key") + " && rm /app/key"], False),  # it never got into a layer
        (["RUN mkdir -p /new/deep && " + HALVES.format("/new/deep/key")], True),
        (["RUN " + HALVES.format("/etc/motd")], True),  # a file of the base image
        (["RUN chmod 700 /usr/share"], False),
        (
            [
                "RUN for i in $(seq 300); do echo $i > /etc/x$i; done",
                "RUN " + HALVES.format("/etc/x7"),
                "RUN rm /etc/x7",
            ],
            True,
        ),
        (["FROM python AS b", "RUN " + HALVES.format("/key"), "FROM python", "RUN true"], False),
        (["FROM python AS b", "RUN " + HALVES.format("/key"), "FROM python", "COPY --from=b /key /app/"], True),
        (["FROM python AS b", "RUN " + HALVES.format("/key"), "FROM python", "COPY --from=b /etc/motd /app/"], False),
        (["FROM python AS b", "RUN " + HALVES.format("/key"), "FROM b", "RUN rm /key"], True),
    ],
)
def test_what_a_step_writes_is_looked_through(make: Make, lines: list[str], found: bool) -> None:
    made = make(*lines)
    assert made.problem == ""
    assert bool(made.found) is found


# -- what the course's image offers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ["RUN pip install -r requirements.txt"],
        ["RUN pip install --no-cache-dir --upgrade pip && pip install --user -r requirements.txt"],
        [
            "RUN python -m venv /v",
            'ENV PATH="/v/bin:$PATH"',
            "RUN pip install -r requirements.txt && python -m fastapi -h",
        ],
        ["RUN pip install --prefix=/install -r requirements.txt", "FROM python", "COPY --from=0 /install /usr/local"],
        ["RUN curl --version && uvicorn --version && fastapi --version && gunicorn --version"],
        ["RUN useradd -m app && chown -R app /app", "USER app", "RUN test $(id -un) = app"],
        ["ARG A=1", "ENV B=2", "RUN test $A$B = 12", "ARG A=3", "RUN test $A$B = 32"],
    ],
)
def test_a_usual_step_works_without_a_network(make: Make, lines: list[str]) -> None:
    made = make("COPY requirements.txt .", *lines)
    assert made.problem == "", made.log
    assert "A" not in made.env


# -- what is left ----------------------------------------------------------------------------------------------------


def test_no_layer_is_taken_from_another_build(make: Make, builder: Builder, engine: Engine) -> None:
    step = "RUN python -c \"import secrets; open('/app/random', 'w').write(secrets.token_hex())\" && cat /app/random"
    logs = [make(step).log for _ in range(2)]
    assert logs[0] != logs[1]
    assert len(set(builder.images.values())) == 2


def test_nothing_is_left_of_a_pods_images(engine: Engine) -> None:
    text = b"FROM python AS a\nRUN echo 1 > /one\nFROM python\nWORKDIR /app\nCOPY --from=a /one .\nRUN true\nCMD true"
    with DOCKER.grader() as grader:
        assert grader.pod.build(Build(extra={"Dockerfile": text})).problem == ""
        assert images_of(engine, grader)
    assert images_of(engine, grader) == []


def test_a_killed_graders_images_are_cleaned_up_after(engine: Engine) -> None:
    with DOCKER.grader() as grader:
        assert grader.pod.build(Build(extra={"Dockerfile": b"FROM python\nRUN true\nCMD true"})).ok
        grader.process.send_signal(signal.SIGKILL)
        grader.process.wait()
        assert images_of(engine, grader)
        sweep(engine)
        assert images_of(engine, grader) == []


def images_of(engine: Engine, grader: Grader) -> list[str]:
    found = engine.client.api.images(all=True, filters={"label": ["model-deployment.pod"]})
    return [image["Id"] for image in found if str(grader.temporary) in str(image["Labels"])]


def test_an_engine_that_fails_is_nobodys_mistake(builder: Builder) -> None:
    builder.base = "sha256:" + "0" * 64
    with pytest.raises(GraderError), contextlib.suppress(ImageNotFound):
        builder.make(message(1, Build(extra={"Dockerfile": b"FROM python\nCMD true"})))
