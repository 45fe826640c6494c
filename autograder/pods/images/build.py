"""Fetches or builds the images of the catalogue, and carries them in one file: ``python -m autograder images …``.

A public image is pulled. Where that fails, the substitute is built from packages: Debian's by a recipe (a
Dockerfile), Python's by uv or pip on this machine, for the engine's platform. Debian's base image itself is made by
mmdebstrap where it can't be pulled either.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.errors import CourseError, GraderError, MachineError, UsageError
from autograder.lab import labs, load_lab
from autograder.pods.images.catalogue import (
    ARM64,
    CATALOGUE,
    LOCK,
    OURS,
    RECIPES,
    Found,
    Image,
    look,
    needed,
    platform_of,
)

if TYPE_CHECKING:
    from docker import DockerClient

Say = Callable[[str], None]
APT = Path("/etc/apt")
SECONDS = 1800  # for one pull or build
KEPT = 24 * 3600  # seconds that an image of an earlier course may stay


def build(client: DockerClient, names: Iterable[str], say: Say) -> int:
    """Makes sure that the images are here; gives how many are not.

    Args:
        client: the engine.
        names: names of the catalogue; none means all.
        say: told what happens, a line each.

    Raises:
        UsageError: there is no such image.
    """
    names = list(names) or list(CATALOGUE)
    if unknown := set(names) - CATALOGUE.keys():
        raise UsageError(f"There is no image {', '.join(sorted(unknown))}.", f"Known are {', '.join(CATALOGUE)}.")
    platform = platform_of(client)
    lacking = []
    for name in names:
        try:
            say(f"{name:<14} {_provide(client, CATALOGUE[name], platform, say).sentence()}")
        except CourseError as error:
            lacking.append(name)
            say(f"{name:<14} not here: {error.saw}")
    for tag in prune(client):
        say(f"{'':<14} removed {tag}, of an earlier course")
    for lab in map(load_lab, labs()):
        if missing := [CATALOGUE[name].title for name in needed(lab.services) if name in lacking]:
            say(f"{lab.id} waits for {' and '.join(missing)}; until then Docker is not used for it.")
        elif not set(needed(lab.services)).isdisjoint(names):
            say(f"{lab.id} has what it needs.")
    return len(lacking)


def _provide(client: DockerClient, image: Image, platform: str, say: Say) -> Found:
    found = look(client, image, platform)
    if found is None:
        if platform in image.platforms:
            refused = pull(client, image.public, platform)
        else:
            refused = f"{image.public} is not made for {platform}"
        if refused and not image.substitute:
            raise MachineError(f"{refused}; nothing takes its place.")
        if refused:
            _substitute(client, image, platform, say)
        found = look(client, image, platform)
    if found is None:
        raise GraderError(f"The engine has no {image.title} for {platform} after all.")
    return found


def pull(client: DockerClient, reference: str, platform: str) -> str:
    """Fetches a public image for the engine's own platform; gives why it can't be had, nothing when it was."""
    from docker.errors import DockerException

    if not reference:
        return "there is no public image"
    try:
        client.images.pull(reference, platform=platform)
    except (DockerException, OSError) as error:
        why = str(getattr(error, "explanation", "") or error).strip().rstrip(".")
        return f"{reference} can't be pulled: {why[-300:]}"
    return ""


def prune(client: DockerClient) -> list[str]:
    """Removes the substitutes of earlier courses; gives their tags.

    Those are images of our names with another hash than today's. One that a container uses stays, and so does one
    that was made in the last day: another checkout on this machine may be at work with it.
    """
    from docker.errors import DockerException

    current = {image.tag for image in CATALOGUE.values() if image.substitute}
    old: list[str] = []
    with contextlib.suppress(DockerException, OSError):  # what stays is removed the next time
        names = tuple(f"{OURS}/{name}:" for name in CATALOGUE)
        for known in client.api.images():
            if time.time() - known["Created"] > KEPT:
                old += [tag for tag in known["RepoTags"] or () if tag.startswith(names) and tag not in current]
    removed: list[str] = []
    for tag in sorted(old, key=_height, reverse=True):
        with contextlib.suppress(DockerException, OSError):  # a container uses it
            client.images.remove(tag)
            removed.append(tag)
    return removed


def _height(tag: str) -> int:
    """How many images of ours one is built upon: those on top have to go first."""
    base = CATALOGUE[tag.partition("/")[2].partition(":")[0]].base
    return 1 + _height(f"{OURS}/{base}:") if base in CATALOGUE else 0


def _substitute(client: DockerClient, image: Image, platform: str, say: Say) -> None:
    """Builds an image by its recipe. Raises MachineError when an ingredient can't be had, GraderError when it fails."""
    from docker.errors import DockerException

    if image.base in CATALOGUE:
        base = _provide(client, CATALOGUE[image.base], platform, say).id
    else:
        base = _debian(client, image.base, platform, say)
    say(f"{image.name:<14} building {image.substitute} …")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(RECIPES / image.name, context, dirs_exist_ok=True)
        for path in image.ingredients:
            if path == LOCK:
                _packages(context / "packages", platform)
            else:
                shutil.copytree(path, context / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            client.images.build(
                path=folder,
                tag=image.tag,
                buildargs={"BASE": base},
                labels={OURS: image.name},
                rm=True,
                forcerm=True,
                timeout=SECONDS,
            )
        except (DockerException, OSError) as error:
            log = getattr(error, "build_log", ())
            said = "".join(str(line.get("stream", "")) for line in log if isinstance(line, dict))
            raise GraderError(f"The image for {image.title} could not be built: {error} {said[-800:]}") from error


def _packages(target: Path, platform: str) -> None:
    """Installs the lock's packages for the image, wherever this machine's own are from. Raises MachineError."""
    machine = "aarch64" if platform == ARM64 else "x86_64"
    uv = shutil.which("uv")
    common = ["--require-hashes", "--no-deps", "--target", str(target), "-r", str(LOCK)]
    if uv:
        argv = [uv, "pip", "install", "--quiet", "--link-mode", "hardlink", "--python-version", "3.11"]
        argv += ["--python-platform", f"{machine}-manylinux_2_28", *common]
    else:
        platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (28, 27, 24, 17)]
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--python-version", "3.11", *platforms]
        argv += [f"--platform=manylinux2014_{machine}", "--implementation", "cp", "--only-binary=:all:", *common]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(
            f"The course's packages could not be installed for {platform}: {done.stderr.strip()[-600:]}",
            "The packages of requirements.lock, from this machine's package index or cache.",
        )
    # Headers to compile against, a sixth of the whole; nothing in the course compiles.
    shutil.rmtree(target / "tensorflow" / "include", ignore_errors=True)


def _debian(client: DockerClient, reference: str, platform: str, say: Say) -> str:
    """Debian's base image: here already, pulled, or made by mmdebstrap. Gives its id. Raises MachineError."""
    from docker.errors import ImageNotFound

    ours = f"{OURS}/{reference}"
    for known in (reference, ours):
        with contextlib.suppress(ImageNotFound):
            return str(client.images.get(known).id)
    refused = pull(client, reference, platform)
    if not refused:
        return str(client.images.get(reference).id)
    program = shutil.which("mmdebstrap")
    if program is None:
        raise MachineError(
            f"{refused}; and there is no mmdebstrap to make it.",
            "",
            "On Debian and Ubuntu: sudo apt install mmdebstrap.",
        )
    suite = reference.partition(":")[2].removesuffix("-slim")
    say(f"{'':<14} making {reference} from packages …")
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "base.tar"
        argv = [program, "--quiet", "--variant=minbase", "--include=ca-certificates", suite, str(tar), debian_mirror()]
        done = subprocess.run([part for part in argv if part], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"{reference} could not be made: {done.stderr.strip()[-600:]}")
        client.api.import_image(str(tar), repository=f"{OURS}/debian", tag=reference.partition(":")[2])
    return str(client.images.get(ours).id)


def debian_mirror(apt: Path = APT) -> str:
    """Where this machine's own apt finds Debian; empty when it does not, and mmdebstrap knows a way itself."""
    files = [*sorted((apt / "sources.list.d").glob("*")), apt / "sources.list"]
    for path in files:
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
                if "debian-archive-keyring" in fields.get("Signed-By", "") and "-security" not in fields["Suites"]:
                    return str(fields["URIs"].split()[0])
        elif found := re.search(r"^deb\s+(?:\[[^]]*\]\s+)?(\S*/debian/?)\s", text, re.MULTILINE):
            return found[1]
    return ""


# -- in one file -----------------------------------------------------------------------------------------------------


def save(client: DockerClient, target: Path, say: Say) -> None:
    """Writes every image that is here into one tar file. Raises MachineError when there is none, or no space."""
    platform = platform_of(client)
    found = [known for image in CATALOGUE.values() if (known := look(client, image, platform))]
    if not found:
        raise MachineError("There is no image to save.", "", "Run `make images` first.")
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("wb") as stream:
            # The library asks for one image at a time; only together do they share their layers in the file.
            api = client.api
            names = {"names": [known.reference for known in found]}
            answer = api._get(api._url("/images/get"), params=names, stream=True, timeout=SECONDS)
            answer.raise_for_status()
            for chunk in answer.iter_content(1 << 20):
                stream.write(chunk)
        os.replace(partial, target)
    except OSError as error:
        raise MachineError(f"{target} could not be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    say(f"{len(found)} images in {target}, {target.stat().st_size / 2**30:.1f} GiB:")
    for known in found:
        say(f"  {known.sentence()}")


def load(client: DockerClient, source: Path, say: Say) -> None:
    """Gives the engine the images of such a file. Raises UsageError when it is none."""
    try:
        with tarfile.open(source) as archive:
            archive.getmember("manifest.json")
        with source.open("rb") as stream:
            for loaded in client.images.load(stream):
                say(f"loaded {', '.join(loaded.tags) or loaded.id}")
    except (OSError, tarfile.TarError, KeyError) as error:
        raise UsageError(f"{source} holds no images: {error}.", "A file that `make images-save` wrote.") from error


def listing(client: DockerClient) -> Iterator[str]:
    """What is here and what is not, a line for each image of the catalogue."""
    platform = platform_of(client)
    for image in CATALOGUE.values():
        found = look(client, image, platform)
        yield f"{image.name:<14} {found.sentence() if found else 'not here'}"
