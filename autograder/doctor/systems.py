"""What the labs' systems run on: walls, ports, Docker with its images, the servers of the local runtime."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from autograder.doctor.machine import Finding, Machine, State, some

PORTS = {
    8500: "TensorFlow Serving, gRPC",
    8501: "TensorFlow Serving, REST",
    8000: "your API",
    8080: "nginx",
    9090: "Prometheus",
    3000: "Grafana",
}
LAB_01_PORTS = (8500, 8501)
# What lab 01 runs on in Docker: a public image, or what `make images` builds in its place.
IMAGES = (("model-deployment/python",), ("tensorflow/serving", "model-deployment/tfserving"))
# The namespaces of a pod: mount, uts, ipc, pid, net; and user, which everyone but root needs first.
NAMESPACES, USER_NAMESPACE = 0x6C020000, 0x10000000


def sandbox(machine: Machine) -> Finding:
    if machine.system != "Linux":
        said = "No namespaces on this system: other people's work is graded only in Docker."
        return Finding("Sandbox", "note", said)
    flags = NAMESPACES if machine.user == 0 else NAMESPACES | USER_NAMESPACE
    trial = f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({flags}) and 1)"
    if machine.run(sys.executable, "-I", "-S", "-c", trial)[0] == 0:
        return Finding("Sandbox", "ok", "Namespaces can be made: student programs run behind walls.")
    sudo = "" if machine.user == 0 else "sudo "
    said, mend = "Namespaces can't be made: other people's work is refused.", ""
    for switch, off, value in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "15000"),
    ):
        if machine.read(f"/proc/sys/{switch}").strip() == off:
            said = f"Namespaces are switched off ({switch}): other people's work is refused."
            mend = f"{sudo}sysctl -w {switch.replace('/', '.')}={value}"
            break
    return Finding("Sandbox", "note", said, mend)


def ports(machine: Machine, needed: tuple[int, ...]) -> Iterator[Finding]:
    free = []
    for port, service in PORTS.items():
        held = machine.holder(port)
        if held is None:
            free.append(str(port))
            continue
        if "autograder" in held.command:
            mend = "make down"
        elif held.yours:
            mend = f"kill {held.pid}"
        else:
            mend = f"sudo ss -ltnp 'sport = :{port}'" if machine.system == "Linux" else f"sudo lsof -iTCP:{port}"
        state: State = "problem" if port in needed else "note"
        yield Finding("Ports", state, f"Port {port} ({service}) is taken by {held}.", mend)
    if free:
        yield Finding("Ports", "ok", f"Free: {', '.join(free)}.")


def docker(machine: Machine) -> Iterator[Finding]:
    if not machine.which("docker"):
        mend = machine.install("docker.io", "moby-engine", "--cask docker")
        yield Finding("Docker", "note", "Not found; the labs run without it, on the same systems as processes.", mend)
        return
    code, said = machine.run("docker", "version", "--format", "{{.Server.Version}}")
    if code:
        yield Finding("Docker", "note", *_silent_engine(machine, said))
        return
    yield Finding("Docker", "ok", f"Engine {said.splitlines()[0]} answers.")
    code, said = machine.run("docker", "image", "ls", "--format", "{{.Repository}}")
    here = set(said.split())
    missing = sorted(names[0] for names in IMAGES if here.isdisjoint(names)) if code == 0 else []
    if missing:
        said = f"Images not here yet, so labs run as processes: {some(missing)}."
        yield Finding("Docker", "note", said, "make images")


def _silent_engine(machine: Machine, said: str) -> tuple[str, str]:
    """(what is wrong, the command that mends it) of an engine that does not answer."""
    if "permission denied" in said.lower():
        mend = 'sudo usermod -aG docker "$USER" && newgrp docker'
        return "Its engine runs, but this user may not talk to it.", mend
    if machine.system == "Darwin":
        return "Installed, but its engine does not answer.", "open -a Docker"
    if machine.wsl:
        said = "Its engine does not answer: start Docker Desktop and switch on its WSL integration."
        return said, "sudo service docker start"
    if not machine.which("dockerd"):
        return "The client is here, but no engine answers.", machine.install("docker.io", "moby-engine")
    sudo = "" if machine.user == 0 else "sudo "
    systemd = Path("/run/systemd/system").exists()
    start = f"{sudo}systemctl start docker" if systemd else f"{sudo}service docker start"
    return "Installed, but its engine does not answer.", start


def server(machine: Machine, name: str, labs: str, flag: str, apt: str, dnf: str) -> Finding:
    path = machine.which(name)
    if path:
        found = re.search(r"\d+(\.\d+)+", machine.run(path, flag)[1])
        return Finding(name, "ok", f"{found[0] if found else 'Found'}, for {labs} without Docker.")
    mend = machine.install(apt, dnf, name)
    if mend and Path("/run/systemd/system").exists():  # the package starts its own, on a port that the labs want
        mend += f" && sudo systemctl disable --now {name}"
    return Finding(name, "note", f"Not found; needed for {labs} without Docker.", mend)
