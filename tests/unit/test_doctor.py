"""The doctor: what it says of machines that we don't have, and that it needs nothing to say it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autograder import doctor
from autograder.doctor import GIB, Finding, Machine, examine, print_findings, systems
from autograder.ports import Holder

MEMINFO = "MemTotal:       16777216 kB\nMemFree:         123456 kB\n"
LOCK = """\
# made by uv
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:0
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:1
Ruamel.YAML==0.18 \\
    --hash=sha256:2
rich==14.0
pywin32==312 ; sys_platform == 'win32' \\
"""


@dataclass(frozen=True)
class Pretended(Machine):
    """A healthy Debian laptop; each test breaks one thing of it."""

    system: str = "Linux"
    processor: str = "x86_64"
    python: tuple[int, ...] = (3, 12, 1)
    user: int = 1000
    free_disk: Callable[[Path], int] = lambda path: 50 * GIB
    holder: Callable[[int], Holder | None] = lambda port: None
    programs: frozenset[str] = frozenset({"make", "git", "uv", "apt-get", "docker", "dockerd", "nginx", "prometheus"})
    files: dict[str, str] = field(default_factory=lambda: {"/proc/meminfo": MEMINFO})
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)

    def which(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.programs else None

    def run(self, *argv: str) -> tuple[int, str]:
        line = " ".join(argv)
        return next((answer for start, answer in self.answers.items() if start in line), (0, "1.2.3"))

    def read(self, path: str) -> str:
        if path.startswith(str(self.root)):
            return super().read(path)
        return self.files.get(path, "")


def found(topic: str, machine: Machine) -> list[Finding]:
    return [finding for finding in examine(machine) if finding.topic == topic]


def problems(machine: Machine) -> list[str]:
    return [finding.topic for finding in examine(machine) if finding.state == "problem"]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course with an environment in step with its lock."""
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    for name, version in (("numpy", "2.4.6"), ("ruamel_yaml", "0.18"), ("rich", "14.0")):
        package(tmp_path, name, version)
    return tmp_path


def package(course: Path, name: str, version: str) -> Path:
    folder = course / ".venv" / "lib" / "python3.12" / "site-packages" / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_a_healthy_machine_has_only_good_findings(course: Path) -> None:
    machine = Pretended(root=course, answers={"image ls": (0, "\n".join(names[-1] for names in systems.IMAGES))})
    assert {finding.state for finding in examine(machine)} == {"ok"}


def test_an_old_python_is_a_problem(course: Path) -> None:
    (finding,) = found("Python", Pretended(root=course, python=(3, 9, 2)))
    assert finding.state == "problem"
    assert finding.said == "This is Python 3.9.2; the course needs 3.11 or later."
    assert "apt-get install -y python3.11" in finding.mend


def test_no_environment_is_a_note_as_make_makes_it(tmp_path: Path) -> None:
    (finding,) = found("Environment", Pretended(root=tmp_path))
    assert (finding.state, finding.mend) == ("note", "make setup")


def test_packages_in_step_are_counted_by_their_normal_names(course: Path) -> None:
    (finding,) = found("Environment", Pretended(root=course))
    assert (finding.state, finding.said) == (
        "ok",
        "Python 1.2.3, 3 packages, in step with requirements.lock.",
    )


def test_a_missing_package_is_a_problem_unless_it_is_for_other_machines(course: Path) -> None:
    folder = next((course / ".venv").rglob("rich-14.0.dist-info"))
    folder.rename(folder.with_name("gone"))
    (finding,) = found("Environment", Pretended(root=course))
    assert finding.state == "problem"
    assert finding.said == "Missing of requirements.lock: rich."


def test_a_changed_package_is_a_note(course: Path) -> None:
    next((course / ".venv").rglob("numpy-2.4.6.dist-info/METADATA")).write_text("Name: numpy\nVersion: 1.26\n")
    (finding,) = found("Environment", Pretended(root=course))
    assert (finding.state, finding.mend) == ("note", "make setup")
    assert "numpy" in finding.said


def test_an_environment_whose_python_is_gone_is_made_anew(course: Path) -> None:
    broken = Pretended(root=course, answers={".venv/bin/python": (127, "No such file or directory")})
    (finding,) = found("Environment", broken)
    assert (finding.state, finding.mend) == ("problem", "rm -rf .venv && make setup")


@pytest.mark.parametrize(("free", "state"), [(0.5, "problem"), (1.5, "ok")])
def test_disk_is_measured_against_what_is_still_to_come(course: Path, free: float, state: str) -> None:
    (finding,) = found("Disk", Pretended(root=course, free_disk=lambda path: int(free * GIB)))
    assert finding.state == state


def test_without_an_environment_its_room_is_needed_too(tmp_path: Path) -> None:
    assert "Disk" in problems(Pretended(root=tmp_path, free_disk=lambda path: 4 * GIB))


def test_a_container_s_limit_counts_as_its_memory(course: Path) -> None:
    files = {"/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": f"{GIB}\n"}
    (finding,) = found("Memory", Pretended(root=course, files=files))
    assert (finding.state, finding.said[:7]) == ("problem", "1.0 GiB")


def test_a_processor_without_avx_is_a_problem(course: Path) -> None:
    files = {"/proc/meminfo": MEMINFO, "/proc/cpuinfo": "processor : 0\nflags\t\t: fpu sse4_2 avx512f\n"}
    assert problems(Pretended(root=course, files=files)) == ["Processor"]


def test_apple_silicon_is_told_of_the_embedded_model_server(course: Path) -> None:
    mac = Pretended(
        root=course,
        system="Darwin",
        processor="arm64",
        answers={"hw.memsize": (0, str(16 * GIB)), "proc_translated": (0, "0")},
    )
    assert "embedded model server" in " ".join(finding.said for finding in found("Processor", mac))
    assert problems(mac) == []


def test_a_translated_python_on_a_mac_is_a_problem(course: Path) -> None:
    answers = {"hw.memsize": (0, str(16 * GIB)), "proc_translated": (0, "1")}
    assert problems(Pretended(root=course, system="Darwin", answers=answers)) == ["Processor"]


@pytest.mark.parametrize(
    ("switch", "value", "mend"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    ],
)
def test_namespaces_that_are_switched_off_are_switched_on(course: Path, switch: str, value: str, mend: str) -> None:
    files = {"/proc/meminfo": MEMINFO, f"/proc/sys/{switch}": f"{value}\n"}
    (finding,) = found("Sandbox", Pretended(root=course, files=files, answers={"unshare": (1, "")}))
    assert (finding.state, finding.mend) == ("note", mend)


def on_8501(command: str) -> Callable[[int], Holder | None]:
    return lambda port: Holder(port, 4242, "python", command, "ada", True) if port == 8501 else None


def test_a_taken_port_is_a_note_where_pods_have_their_own_network(course: Path) -> None:
    (taken, free) = found("Ports", Pretended(root=course, holder=on_8501("python -m http.server")))
    assert (taken.state, taken.mend) == ("note", "kill 4242")
    assert "Port 8501 (TensorFlow Serving, REST) is taken by python (pid 4242, started by you" in taken.said
    assert free.said == "Free: 8500, 8000, 8080, 9090, 3000."


def test_a_taken_port_of_lab_01_is_a_problem_where_they_have_not(course: Path) -> None:
    machine = Pretended(root=course, holder=on_8501("python -m http.server"), answers={"unshare": (1, "")})
    assert problems(machine) == ["Ports"]


def test_a_pod_of_ours_is_taken_down(course: Path) -> None:
    (taken, _) = found("Ports", Pretended(root=course, holder=on_8501("python -m autograder.modelserver")))
    assert taken.mend == "make down"


def test_no_docker_is_a_note(course: Path) -> None:
    (finding,) = found("Docker", Pretended(root=course, programs=frozenset({"make", "dnf"})))
    assert (finding.state, finding.mend) == ("note", "sudo dnf install -y moby-engine")


@pytest.mark.parametrize(
    ("system", "said", "mend"),
    [
        (
            "Linux",
            "permission denied while trying to connect",
            'sudo usermod -aG docker "$USER" && newgrp docker',
        ),
        ("Darwin", "Cannot connect to the Docker daemon", "open -a Docker"),
    ],
)
def test_a_silent_engine_is_a_note_with_its_cure(course: Path, system: str, said: str, mend: str) -> None:
    machine = Pretended(root=course, system=system, answers={"docker version": (1, said), "sysctl": (0, "0")})
    (finding,) = found("Docker", machine)
    assert (finding.state, finding.mend) == ("note", mend)


def test_images_that_are_not_here_are_named(course: Path) -> None:
    (_, finding) = found("Docker", Pretended(root=course, answers={"image ls": (0, "nginx\nmodel-deployment/python")}))
    assert finding.said == "Images not here yet, so labs run as processes: tensorflow/serving."
    assert finding.mend == "make images"


def test_a_course_on_a_windows_disk_is_told_to_move() -> None:
    files = {"/proc/meminfo": MEMINFO, "/proc/version": "Linux version 5.15 Microsoft-standard-WSL2"}
    (finding,) = found("WSL", Pretended(root=Path("/mnt/c/Users/ada/course"), files=files))
    assert (finding.state, finding.mend) == ("note", "cp -r /mnt/c/Users/ada/course ~/ && cd ~/course")


def test_the_exit_code_is_0_with_notes_and_3_with_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("Docker", "note", "Not found.")])
    assert doctor.main() == 0
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("Disk", "problem", "0.1 GiB free.")])
    assert doctor.main() == 3


def test_findings_are_printed_with_the_command_that_mends_them() -> None:
    stream = io.StringIO()
    print_findings([Finding("Disk", "ok", "9 GiB free."), Finding("Docker", "note", "No.", "make it")], stream)
    assert stream.getvalue() == (
        "✓ Disk    9 GiB free.\n• Docker  No.\n          → make it\n\nmake lab-01 can run here.\n"
    )


def test_findings_are_printed_on_an_ascii_stream() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_findings([Finding("Disk", "problem", "Full.", "make room")], stream)
    stream.flush()
    assert raw.getvalue().startswith(b"x Disk  Full.\n        -> make room\n")


def test_it_runs_with_nothing_but_the_standard_library() -> None:
    """``-S`` hides the environment's packages, ``-I`` everything else."""
    code = f"import sys; sys.path.insert(0, {str(doctor.ROOT)!r}); from autograder.doctor import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Python" in done.stdout
    assert "Traceback" not in done.stderr
