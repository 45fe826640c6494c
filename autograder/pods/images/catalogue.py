"""The one list of images: a system's public image, pinned, and the substitute that is built from packages.

A substitute's tag carries a hash of all that it is made from: a changed lock file or model server asks for a new
image, and an old one is never taken for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.errors import MachineError

if TYPE_CHECKING:
    from docker import DockerClient

PACKAGE = Path(__file__).resolve().parents[2]
RECIPES = Path(__file__).with_name("recipes")
LOCK = PACKAGE.parent / "requirements.lock"
AMD64, ARM64 = "linux/amd64", "linux/arm64"
OURS = "model-deployment"


class ImagesMissing(MachineError):
    """The engine answers, but lacks images.

    Attributes:
        titles: of what.
    """

    def __init__(self, titles: list[str]) -> None:
        self.titles = titles
        super().__init__(
            f"Docker has no image for {' and '.join(titles)}.",
            "Images are fetched or built before anything is graded.",
            "Run `make images`; in a room without a network, `make images-load`.",
        )


@dataclass(frozen=True)
class Image:
    """One system's image.

    Attributes:
        name: what the course calls the system.
        title: what people call it.
        public: its public image, pinned; empty where the course makes its own.
        platforms: what the public image was made for. Another platform gets the substitute, never emulation.
        substitute: what takes its place, in a few words; empty when nothing can.
        base: what the substitute's recipe starts from: a public image, or the name of another image of ours.
        ingredients: the files and folders that the substitute is made from, beside its recipe.
    """

    name: str
    title: str
    public: str = ""
    platforms: tuple[str, ...] = (AMD64, ARM64)
    substitute: str = ""
    base: str = ""
    ingredients: tuple[Path, ...] = ()

    @property
    def tag(self) -> str:
        """The substitute's tag, ``model-deployment/tfserving:0123456789ab``."""
        digest = hashlib.sha256(self.base.encode())
        if self.base in CATALOGUE:
            digest.update(CATALOGUE[self.base].tag.encode())
        for top in (RECIPES / self.name, *self.ingredients):
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.is_file() and path.suffix != ".pyc":
                    digest.update(f"{path.relative_to(top.parent)}\0".encode() + path.read_bytes() + b"\0")
        return f"{OURS}/{self.name}:{digest.hexdigest()[:12]}"


BOOKWORM, TRIXIE = "debian:bookworm-slim", "debian:trixie-slim"

CATALOGUE = {
    image.name: image
    for image in (
        Image(
            "python",
            "Python",
            substitute="Python 3.11 with the course's packages",
            base=BOOKWORM,
            ingredients=(LOCK,),
        ),
        Image(
            "tfserving",
            "TensorFlow Serving",
            public="tensorflow/serving:2.20.0",
            platforms=(AMD64,),
            substitute="the embedded model server",
            base="python",
            ingredients=(PACKAGE / "modelserver",),
        ),
        Image(
            "prometheus",
            "Prometheus",
            public="prom/prometheus:v3.5.0",
            substitute="Debian's Prometheus",
            base=TRIXIE,
        ),
        Image("nginx", "nginx", public="nginx:1.28.0", substitute="Debian's nginx", base=TRIXIE),
        Image("grafana", "Grafana", public="grafana/grafana:12.1.0"),
        Image("elasticsearch", "Elasticsearch", public="elasticsearch:9.1.0"),
        Image("kind-node", "Kubernetes in kind", public="kindest/node:v1.32.2"),
    )
}


@dataclass(frozen=True)
class Found:
    """An image that the engine has.

    Attributes:
        image: which of the catalogue.
        id: the engine's name for its content; nothing can be pulled by it.
        reference: its tag.
        real: whether it is the public image, and not the substitute.
    """

    image: Image
    id: str
    reference: str
    real: bool

    def sentence(self) -> str:
        """What a report says of it."""
        if self.real:
            return f"{self.reference} ({self.id[7:19]})"
        if not self.image.public:
            return f"{self.reference}, {self.image.substitute}"
        return f"{self.reference}, {self.image.substitute} in place of {self.image.public}"


def platform_of(client: DockerClient) -> str:
    """The engine's own platform, ``linux/amd64``."""
    version = client.version()
    return f"{version['Os']}/{version['Arch']}"


def look(client: DockerClient, image: Image, platform: str) -> Found | None:
    """The public image if the engine has it for its own platform, otherwise the substitute, otherwise ``None``."""
    from docker.errors import ImageNotFound

    for reference in (image.public, image.tag if image.substitute else ""):
        if not reference:
            continue
        try:
            known = client.images.get(reference)
        except ImageNotFound:
            continue
        if f"{known.attrs['Os']}/{known.attrs['Architecture']}" == platform:
            return Found(image, str(known.id), reference, real=reference == image.public)
    return None


def needed(services: Iterable[str]) -> list[str]:
    """The images that a lab with these services needs: theirs, and the one for programs and the grader's worker."""
    return ["python", *(service for service in services if service in CATALOGUE)]


def find(client: DockerClient, platform: str, names: Iterable[str]) -> dict[str, Found]:
    """The images for the engine's platform, by name. Raises ImagesMissing: nothing is fetched while grading."""
    found, missing = {}, []
    for name in names:
        image = look(client, CATALOGUE[name], platform)
        if image is None:
            missing.append(CATALOGUE[name].title)
        else:
            found[name] = image
    if missing:
        raise ImagesMissing(missing)
    return found
