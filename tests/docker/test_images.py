"""The images: found by what they are made of, never fetched while grading, carried in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autograder.errors import UsageError
from autograder.pods.docker.engine import Engine
from autograder.pods.images import build, catalogue
from autograder.pods.images.catalogue import CATALOGUE, Image, find, look, needed, platform_of


class Pretended:
    """An engine that has just these images."""

    def __init__(self, *known: str, architecture: str = "amd64") -> None:
        self.known, self.architecture, self.images = known, architecture, self

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
        pytest.skip(f"{name} is not here: make images")
    output = engine.client.containers.run(found.id, argv, remove=True, network_mode="none", stderr=True)
    assert said in output.decode()


def test_images_travel_in_one_file(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = CATALOGUE["nginx"]
    found = look(engine.client, image, platform_of(engine.client))
    if found is None:
        pytest.skip("nginx is not here: make images")
    monkeypatch.setattr(build, "CATALOGUE", {"nginx": image})
    said: list[str] = []
    build.save(engine.client, tmp_path / "images.tar", said.append)
    assert found.reference in said[-1]
    engine.client.images.remove(found.reference)
    assert look(engine.client, image, platform_of(engine.client)) is None
    build.load(engine.client, tmp_path / "images.tar", said.append)
    assert find(engine.client, ["nginx"])["nginx"].id == found.id
