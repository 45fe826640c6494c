"""The images: found by what they are made of, never fetched while grading, carried in one file."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autograder.errors import UsageError
from autograder.pods.docker.engine import Engine
from autograder.pods.images import build, catalogue
from autograder.pods.images.catalogue import CATALOGUE, Image, ImagesMissing, find, look, needed, platform_of


class Pretended:
    """An engine that has just these images, can pull nothing, and forgets on request.

    Attributes:
        age: seconds since each was made.
        built: the images that it was asked to build.
    """

    def __init__(self, *known: str, architecture: str = "amd64", age: float = 0.0) -> None:
        self.known, self.architecture, self.age = list(known), architecture, age
        self.images = self.containers = self
        self.api = SimpleNamespace(images=self.listing)
        self.asked: list[tuple[str, str]] = []
        self.built: list[str] = []

    def version(self) -> dict[str, str]:
        return {"Os": "linux", "Arch": self.architecture}

    def listing(self) -> list[dict[str, Any]]:
        return [{"RepoTags": [name], "Created": int(time.time() - self.age)} for name in self.known]

    def pull(self, reference: str, platform: str) -> None:
        from docker.errors import APIError

        self.asked.append((reference, platform))
        raise APIError("no such host", explanation="lookup registry: no such host")

    def build(self, *, tag: str, **_: Any) -> None:
        self.known.append(tag)
        self.built.append(tag)

    def remove(self, tag: str) -> None:
        self.known.remove(tag)

    def get(self, reference: str) -> Any:
        from docker.errors import ImageNotFound

        if reference not in self.known:
            raise ImageNotFound(reference)
        attrs = {"Os": "linux", "Architecture": self.architecture}
        return type("Known", (), {"attrs": attrs, "id": "sha256:0123456789abcdef"})


TFSERVING = CATALOGUE["tfserving"]


def test_a_public_image_comes_first_and_the_report_can_tell() -> None:
    both: Any = Pretended(TFSERVING.public, TFSERVING.tag)
    found = look(both, TFSERVING, "linux/amd64")
    assert found is not None
    assert (found.real, found.reference) == (True, TFSERVING.public)
    only: Any = Pretended(TFSERVING.tag)
    found = look(only, TFSERVING, "linux/amd64")
    assert found is not None
    assert not found.real
    assert found.sentence() == f"{TFSERVING.tag}, the embedded model server in place of {TFSERVING.public}"


def test_an_image_for_another_processor_is_not_emulated() -> None:
    foreign: Any = Pretended(TFSERVING.public, architecture="amd64")
    assert look(foreign, TFSERVING, "linux/arm64") is None


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_public_image_is_only_asked_for_where_it_was_made_for(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow Serving has none for arm64: there the substitute is built at once, and nothing is emulated."""
    monkeypatch.setattr(build, "_packages", lambda target, platform: target.mkdir())
    engine: Any = Pretended("debian:bookworm-slim", architecture=architecture)
    said: list[str] = []
    assert build.build(engine, ["tfserving"], said.append) == 0
    assert engine.built == [CATALOGUE["python"].tag, TFSERVING.tag]
    public = [(TFSERVING.public, "linux/amd64")]
    assert engine.asked == (public if architecture == "amd64" else [])


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
@pytest.mark.parametrize("uv", ["/bin/uv", None])
def test_packages_are_those_for_the_engines_processor(
    architecture: str, machine: str, uv: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Any:
        ran.append(argv)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(build.shutil, "which", lambda name: uv)
    monkeypatch.setattr(build.subprocess, "run", run)
    build._packages(tmp_path, f"linux/{architecture}")
    (argv,) = ran
    platforms = [word for word in argv if "manylinux" in word]
    assert platforms
    assert all(machine in word for word in platforms)


def test_what_can_not_be_had_is_said_and_holds_nothing_else_up() -> None:
    here = [image.tag for image in CATALOGUE.values() if image.substitute]
    engine: Any = Pretended(*here)
    said: list[str] = []
    assert build.build(engine, [], said.append) == 3
    lines = "\n".join(said)
    for name in ("grafana", "elasticsearch", "kind-node"):
        reference = CATALOGUE[name].public
        assert f"{name:<14} not here: {reference} can't be pulled: lookup registry: no such host; " in lines
    assert f"nginx          {CATALOGUE['nginx'].tag}, Debian's nginx in place of" in lines
    assert "lab-01-serving has what it needs." in said
    assert not engine.built


def test_a_lab_that_waits_for_an_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = SimpleNamespace(id="lab-09-looking", services=("grafana",))
    monkeypatch.setattr(build, "labs", lambda: [lab.id])
    monkeypatch.setattr(build, "load_lab", lambda name: lab)
    engine: Any = Pretended(CATALOGUE["python"].tag)
    said: list[str] = []
    build.build(engine, ["python", "grafana"], said.append)
    assert said[-1] == "lab-09-looking waits for Grafana; until then Docker is not used for it."


def test_images_of_earlier_courses_go_when_they_are_a_day_old() -> None:
    current, foreign = CATALOGUE["nginx"].tag, ["nginx:1.28.0", "somebody/nginx:1", "model-deployment/debian:x"]
    earlier = ["model-deployment/python:0123", "model-deployment/nginx:0123", "model-deployment/tfserving:0123"]
    fresh: Any = Pretended(current, *foreign, *earlier, age=3600)
    assert build.prune(fresh) == []
    old: Any = Pretended(current, *foreign, *earlier, age=25 * 3600)
    assert build.prune(old)[0] == "model-deployment/tfserving:0123"  # it stands on python's
    assert old.known == [current, *foreign]


@pytest.fixture
def small_images(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Names for images of a test's own, which are removed after it."""
    ours = f"model-deployment-test-{os.getpid()}"
    for module in (build, catalogue):
        monkeypatch.setattr(module, "OURS", ours)
    monkeypatch.setattr(build, "KEPT", -60)
    yield ours
    for image in engine.client.images.list():
        for tag in image.tags:
            if tag.startswith(ours):
                engine.client.images.remove(tag, force=True)


def small_image(engine: Engine, tag: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(tag.replace("/", "-")), io.BytesIO())
    repository, _, version = tag.partition(":")
    engine.client.api.import_image_from_data(content.getvalue(), repository=repository, tag=version)


def test_an_engine_keeps_what_is_in_use_and_what_is_of_today(engine: Engine, small_images: str) -> None:
    used, stale = f"{small_images}/nginx:used", f"{small_images}/nginx:stale"
    base, top = f"{small_images}/python:stale", f"{small_images}/tfserving:stale"
    today, other = catalogue.CATALOGUE["nginx"].tag, f"{small_images}/mine:1"
    for tag in (used, stale, base, today, other):
        small_image(engine, tag)
    dockerfile = io.BytesIO(f"FROM {base}\nLABEL x=y\n".encode())
    engine.client.images.build(fileobj=dockerfile, tag=top, rm=True)
    box = engine.client.containers.create(used, ["/nothing"], labels={"model-deployment-test": "1"})
    try:
        assert sorted(build.prune(engine.client)) == sorted([stale, base, top])
    finally:
        box.remove(force=True)
    known = {tag for image in engine.client.images.list() for tag in image.tags if tag.startswith(small_images)}
    assert known == {used, today, other}
    assert build.prune(engine.client) == [used]


def test_a_substitute_of_other_ingredients_is_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "RECIPES", tmp_path)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "Dockerfile").write_text("FROM scratch\n")
    ingredient = tmp_path / "lock"
    ingredient.write_text("one")
    image = Image("thing", "Thing", substitute="something", ingredients=(ingredient,))
    first = image.tag
    ingredient.write_text("two")
    assert image.tag != first
    ingredient.write_text("one")
    assert image.tag == first


def test_a_lab_needs_python_and_its_services() -> None:
    assert needed(["tfserving", "cron"]) == ["python", "tfserving"]


def test_every_public_image_is_pinned() -> None:
    for image in CATALOGUE.values():
        assert not image.public or image.public.rpartition(":")[2][:1] in "0123456789v"
        assert image.public or image.substitute


@pytest.mark.parametrize(
    ("name", "text", "url"),
    [
        (
            "sources.list.d/debian.sources",
            "Types: deb\nURIs: http://other.example/\nSuites: x-security\nSigned-By: /k/debian-archive-keyring.gpg\n"
            "\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: x\nSigned-By: /k/debian-archive-keyring.gpg\n",
            "http://mirror.example/debian",
        ),
        (
            "sources.list",
            "# nothing\ndeb [arch=amd64] http://mirror.example/debian x main\n",
            "http://mirror.example/debian",
        ),
        ("sources.list", "deb http://ubuntu.example/ubuntu x main\n", ""),
    ],
)
def test_debian_comes_from_where_this_machine_gets_it(tmp_path: Path, name: str, text: str, url: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert build.debian_mirror(tmp_path) == url


def test_an_unknown_image_and_a_file_without_images_are_said(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image oracle"):
        build.build(engine.client, ["oracle"], print)
    (tmp_path / "images.tar").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="holds no images"):
        build.load(engine.client, tmp_path / "images.tar", print)


@pytest.mark.parametrize(
    ("name", "argv", "said"),
    [
        ("python", ["python", "-c", "import numpy, requests; print('fine')"], "fine"),
        ("tfserving", ["--version"], "TensorFlow ModelServer"),
        ("prometheus", ["--version"], "prometheus, version"),
        ("nginx", ["nginx", "-t"], "successful"),
    ],
)
def test_an_image_holds_what_it_says(engine: Engine, name: str, argv: list[str], said: str) -> None:
    found = look(engine.client, CATALOGUE[name], platform_of(engine.client))
    if found is None:
        assert not os.environ.get("REQUIRE_DOCKER"), f"{name} is not here"
        pytest.skip(f"{name} is not here: make images")
    output = engine.client.containers.run(found.id, argv, remove=True, network_mode="none", stderr=True)
    assert said in output.decode()


def test_images_travel_in_one_file(
    engine: Engine, small_images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A substitute of a test's own, so that nobody's image is missing meanwhile."""
    image = Image("nginx", "nginx", substitute="something small", base="nothing")
    for module in (build, catalogue):
        monkeypatch.setattr(module, "CATALOGUE", {"nginx": image})
    small_image(engine, image.tag)
    first = find(engine.client, engine.platform, ["nginx"])["nginx"].id
    said: list[str] = []
    build.save(engine.client, tmp_path / "images.tar", said.append)
    assert image.tag in said[-1]
    engine.client.images.remove(image.tag)
    with pytest.raises(ImagesMissing, match="no image for nginx"):
        find(engine.client, engine.platform, ["nginx"])
    build.load(engine.client, tmp_path / "images.tar", said.append)
    assert find(engine.client, engine.platform, ["nginx"])["nginx"].id == first
