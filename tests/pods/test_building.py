"""An image from a Dockerfile: what it says and holds, what is wrong with it, and what a program of it sees."""

from __future__ import annotations

import json
import re

import pytest

from autograder.pods import Build, Built, Limits, MiB, Pod, Program, Running

from .dockerfiles import APP, KEY, MISTAKES, RECIPES, Recipe, one
from .places import Grader, Place
from .programs import eventually, printed


def build(pod: Pod, text: str | bytes, more: dict[str, bytes] | None = None) -> Built:
    """Builds the app with a Dockerfile."""
    content = text if isinstance(text, bytes) else text.encode()
    return pod.build(Build(extra=APP | {"Dockerfile": content} | (more or {}), needles=(b"not in there", KEY)))


def program(built: Built, *argv: str, **env: str) -> Program:
    """A program of the image; its own when none is given."""
    limits = Limits(seconds=60)
    return Program(argv or built.argv, env={**built.env, **env}, cwd=built.workdir, limits=limits, built=built)


def seen(pod: Pod, built: Built, *paths: str) -> list[bool]:
    """Whether a program of the image sees files."""
    code = "import json, os, sys; print(json.dumps([os.path.exists(path) for path in sys.argv[1:]]))"
    finished = pod.run(program(built, "python", "-c", code, *paths))
    assert finished.ok, finished.tail()
    found: list[bool] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_dockerfile_means_the_same_everywhere(pod: Pod, place: Place, recipe: Recipe) -> None:
    built = build(pod, recipe.text, recipe.more)
    assert built.problem == ""
    assert built.ok
    assert built.real == place.docker
    assert (built.argv, built.workdir, built.user) == (recipe.argv, recipe.workdir, recipe.user)
    assert built.healthcheck == recipe.health
    assert {name: built.env.get(name) for name in recipe.env} == recipe.env
    assert built.found == ((KEY,) if recipe.leaks else ())
    assert "FROM" in built.log
    assert seen(pod, built, *recipe.holds, *recipe.lacks) == [True] * len(recipe.holds) + [False] * len(recipe.lacks)


@pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_said_with_its_line(pod: Pod, text: str | bytes, says: str) -> None:
    more = {".dockerignore": b"requirements.txt\n"} if "leaves" in says else {}
    built = build(pod, text, more)
    assert not built.ok
    assert built.argv == ()
    assert len(built.problem) < 2000
    assert re.search(says, built.problem, re.DOTALL), built.problem


def test_without_a_dockerfile_that_is_said(pod: Pod) -> None:
    built = pod.build(Build(extra={"dockerfile.txt": b"FROM python"}))
    assert "There is no file Dockerfile." in built.problem


def test_what_is_too_large_is_said(pod: Pod) -> None:
    text = one(copy="COPY . .").encode()
    built = pod.build(Build(extra={"Dockerfile": text, "large": bytes(2 * MiB)}, context_size=MiB))
    assert "build context is larger than 1 MiB" in built.problem
    built = pod.build(
        Build(
            extra={"Dockerfile": one(*["COPY large ."] * 9).encode(), "large": bytes(MiB), "main.py": b""},
            added_size=4 * MiB,
        )
    )
    assert re.search(r"line 8: COPY large \.: the image becomes too large", built.problem)


def test_patterns_that_take_for_ever_elsewhere_do_not_here(pod: Pod) -> None:
    pattern = "a*" * 200 + "b"
    names = {f"{'a' * 200}{number}": b"" for number in range(40)}
    built = build(pod, one(f"COPY {pattern} ."), names | {".dockerignore": (pattern + "\n").encode() * 100})
    assert "no file of the build context is meant by" in built.problem


def test_a_link_in_the_submission_leads_nowhere(pod: Pod) -> None:
    printed(pod, "import os; os.symlink('/etc', 'away'); os.symlink('/etc/passwd', 'passwd')")
    for name in ("away", "away/passwd", "passwd"):
        assert f"no {name} in the build context" in build(pod, one(f"COPY {name} .")).problem
    assert seen(pod, build(pod, one(copy="COPY . .")), "main.py", "away", "passwd") == [True, False, False]


# -- programs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(kept: Grader) -> Built:
    """An image that several tests run programs of."""
    text = one("RUN chmod +x start.sh", "ENV COLOUR=green", 'ENTRYPOINT ["./start.sh"]', copy="COPY . .")
    return build(kept.pod, text, {".dockerignore": b".env"})


def test_a_program_runs_in_the_images_folder_with_its_variables(pod: Pod, app: Built) -> None:
    code = "import os; print(os.path.basename(os.getcwd()), os.environ['COLOUR'], os.environ['MORE'])"
    finished = pod.run(program(app, "./start.sh", "python", "-c", code, MORE="yes"))
    assert finished.stdout.split() == [b"app", b"green", b"yes"]


def test_a_path_of_the_image_leads_there(pod: Pod, app: Built) -> None:
    assert pod.run(program(app, "python", "/app/main.py")).stdout == b"the app\n"
    assert pod.run(program(app, "sh", "-c", "cd /app/pages && cat index.html")).stdout == b"<p>hello</p>"
    path = {"PYTHONPATH": "/app"}
    assert pod.run(program(app, "python", "-c", "import main", **path)).stdout == b"the app\n"


def test_a_command_that_is_not_there_ends_as_in_a_shell(pod: Pod, app: Built) -> None:
    finished = pod.run(program(app, "no-such-command"))
    assert finished.exit_code == 127
    assert b"no-such-command" in finished.stderr
    assert pod.run(program(app, "./main.py")).exit_code == 126  # it is there, but can't be executed


def test_a_file_of_the_submission_that_was_not_copied_is_not_in_the_folder(pod: Pod) -> None:
    built = build(pod, one())
    assert seen(pod, built, "main.py", "start.sh", ".env") == [True, False, False]


@pytest.mark.walled
def test_the_image_can_not_be_written_to_and_tmp_can(pod: Pod, app: Built) -> None:
    code = (
        "import os\n"
        "for folder in ('/', '/app', '/etc', '/usr/local/bin', '/opt', '/var/tmp', '/home'):\n"
        "    try: open(folder + '/probe', 'w'); print(folder)\n"
        "    except OSError: pass\n"
        "open('/tmp/from-the-image', 'w')"
    )
    finished = pod.run(program(app, "python", "-c", code))
    assert finished.ok, finished.tail()
    assert finished.stdout == b""
    assert pod.read("/tmp/from-the-image") == b""


@pytest.mark.walled
def test_a_program_of_an_image_has_the_walls_of_any_other(pod: Pod, app: Built) -> None:
    code = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "privileges": status["NoNewPrivs"],
    "devices": [name for _, name in socket.if_nameindex()],
    "routes": open("/proc/net/route").read().splitlines()[1:],
    "seen": [path for path in ("/root/.ssh", "/var/run/docker.sock") if os.path.exists(path)],
}))
"""
    found = json.loads(pod.run(program(app, "python", "-c", code)).stdout)
    assert set(found["capabilities"]) == {"0" * 16}
    assert found["privileges"] == "1"
    assert (found["devices"], found["routes"], found["seen"]) == (["lo"], [], [])


def test_what_the_image_calls_its_user_changes_nothing(pod: Pod, app: Built) -> None:
    plain = printed(pod, "import os; print(os.getuid())")
    root = build(pod, one("USER root"))
    for built in (app, root):
        assert pod.run(program(built, "python", "-c", "import os; print(os.getuid())")).stdout.decode().strip() == plain


def serving(pod: Pod, built: Built, *argv: str, **env: str) -> Running:
    running = pod.start(program(built, *argv, **env))
    assert eventually(lambda: "ready" in running.log() or not running.alive), running.log()
    assert running.alive, running.log()
    return running


SERVER = """
import os, signal, socket, sys
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", flush=True), sys.exit(7)))
print("ready", flush=True)
while True:
    client, _ = server.accept()
    client.sendall(os.environ["NAME"].encode())
    client.close()
"""
CLIENT = "import os, socket; print(socket.create_connection(('localhost', int(os.environ['PORT']))).recv(9).decode())"


def test_two_of_an_image_run_side_by_side_and_its_health_check_reaches_them(pod: Pod) -> None:
    text = one(
        f"HEALTHCHECK CMD {json.dumps(['python', '-c', CLIENT])}",
        start='CMD ["python", "server.py"]',
        copy="COPY server.py .",
    )
    built = build(pod, text, {"server.py": SERVER.encode()})
    assert built.ok, built.problem
    here = {name: {"PORT": port, "NAME": name} for name, port in (("one", "18431"), ("two", "18432"))}
    running = [serving(pod, built, **env) for env in here.values()]
    for name, env in here.items():
        assert pod.run(program(built, *built.healthcheck, **env)).stdout.decode().strip() == name
    for each in running:
        each.kill("was stopped by the test")
        assert each.finished().ending() == "was stopped by the test"


@pytest.mark.parametrize(
    ("start", "ending"),
    [
        ('CMD ["python", "server.py"]', 7),
        ("CMD python server.py", 143),  # the shell waits, and ends without passing it on
        ("CMD exec python server.py", 7),
        ("CMD python server.py; echo over", 143),
        ('ENTRYPOINT ["./forgets.sh"]\nCMD ["python", "server.py"]', 143),
        ('ENTRYPOINT ["./start.sh"]\nCMD ["python", "server.py"]', 7),
    ],
    ids=["exec", "shell", "shell-exec", "shell-that-waits", "script-that-waits", "script-that-execs"],
)
def test_sigterm_reaches_the_command_and_no_further_than_it_passes_it_on(pod: Pod, start: str, ending: int) -> None:
    more = {"server.py": SERVER.encode(), "forgets.sh": b'#!/bin/sh\n"$@"\necho over\n'}
    built = build(pod, one("RUN chmod 755 *.sh start.sh forgets.sh", start=start, copy="COPY *.py *.sh ./"), more)
    assert built.ok, built.problem
    running = serving(pod, built, PORT="18433", NAME="x")
    running.terminate()
    finished = running.wait(30)
    assert finished is not None
    assert (finished.exit_code, finished.stopped) == (ending, "")
    assert (b"goodbye" in finished.stdout) == (ending == 7)


def test_a_program_of_an_image_is_held_to_its_limits(pod: Pod, app: Built) -> None:
    quick = program(app, "python", "-c", "import time; time.sleep(60)").within(seconds=1)
    assert pod.run(quick).ending() == "was still running after 1 seconds"
