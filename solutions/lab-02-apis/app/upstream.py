"""The model server, seen from the API: one shared client, a deadline, and retries where they are safe."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx

from app.settings import Settings

ATTEMPTS = 3


class UpstreamError(Exception):
    """There is no prediction, and the caller is not to blame.

    Attributes:
        status: what the API answers.
    """

    status = 502


class Unavailable(UpstreamError):
    """503: the model server can't be reached, or says that it is not available. It may be back in a moment."""

    status = 503


class TooSlow(UpstreamError):
    """504: the whole answer was not there in time."""

    status = 504


class BadAnswer(UpstreamError):
    """502: the model server answered with an error, or with something that is no prediction."""


@dataclass(frozen=True)
class Answer:
    """The probabilities for each image, and the version of the model that gave them."""

    probabilities: list[list[float]]
    version: int


class ModelServer:
    """One model on a model server. Made once, when the app starts, and shared by all requests."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._version: int | None = None  # which one to ask; `None` before the first look at the model's status
        self._looked = 0.0  # when the last look was, `time.monotonic`: one a second is enough
        ### BEGIN SOLUTION (silent)
        # No timeout of the client's own: it would start anew with every byte. `predict` has a deadline for all of it.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=20)
        self._client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)
        ### END SOLUTION

    async def close(self) -> None:
        """Close the connections."""
        ### BEGIN SOLUTION (silent)
        await self._client.aclose()
        ### END SOLUTION

    async def ready(self) -> bool:
        """Whether a version of the model is there to answer."""
        ### BEGIN SOLUTION
        try:
            async with asyncio.timeout(self._settings.model_timeout):
                await self._look()
        except (UpstreamError, TimeoutError, httpx.TransportError):
            return False
        return True
        ### END SOLUTION

    async def predict(self, images: list[list[float]]) -> Answer:
        """Ask the model, in one call for all images.

        Makes three attempts at most, and only tries again where that is safe and can help: when no connection was to be
        had, when it broke before an answer, or when the model server says 503. Waits a random time before each retry.

        Raises:
            UpstreamError: one of its subclasses, within `model_timeout` seconds.
        """
        ### BEGIN SOLUTION
        try:
            async with asyncio.timeout(self._settings.model_timeout):
                return await self._try(images)
        except TimeoutError:
            raise TooSlow(f"the model server took longer than {self._settings.model_timeout:g} seconds") from None
        ### END SOLUTION

    ### BEGIN SOLUTION (silent)
    async def _try(self, images: list[list[float]]) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._ask(images)
            except httpx.TransportError as error:
                problem = Unavailable(f"the model server can't be reached ({type(error).__name__})")
            except Unavailable as error:
                problem = error
            if attempt < ATTEMPTS:
                await asyncio.sleep(random.uniform(0, self._settings.retry_backoff * 2 ** (attempt - 1)))
        raise problem

    async def _ask(self, images: list[list[float]]) -> Answer:
        """One attempt. A :predict does not say which version it was, so the version is named in the question."""
        version = await self._current()
        answer = await self._client.post(f"{self._model}/versions/{version}:predict", json={"instances": images})
        if answer.status_code == 404:
            self._version = None  # it has been replaced since we looked
            raise Unavailable(f"version {version} of the model is gone")
        _require(answer)
        try:
            rows = [[float(number) for number in row] for row in answer.json()["predictions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer("the model server's answer holds no predictions") from error
        if len(rows) != len(images) or any(len(row) != 10 for row in rows):
            raise BadAnswer("the model server's answer does not fit the question")
        return Answer(rows, version)

    @property
    def _model(self) -> str:
        return f"{self._settings.model_server_url}/v1/models/{self._settings.model_name}"

    async def _current(self) -> int:
        """The version to ask, looked up once a second at most."""
        if self._version is None or time.monotonic() - self._looked > 1:
            await self._look()
        assert self._version is not None
        return self._version

    async def _look(self) -> None:
        answer = await self._client.get(self._model)
        if answer.status_code == 404:
            raise Unavailable("the model server does not have the model")
        _require(answer)
        try:
            states: list[dict[str, Any]] = answer.json()["model_version_status"]
            there = [int(state["version"]) for state in states if state["state"] == "AVAILABLE"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer("the model server's status can't be read") from error
        if not there:
            raise Unavailable("no version of the model is loaded")
        self._version, self._looked = max(there), time.monotonic()

    ### END SOLUTION


### BEGIN SOLUTION (silent)
def _require(answer: httpx.Response) -> None:
    if answer.status_code == 503:
        raise Unavailable("the model server says that it is not available")
    if answer.status_code != 200:
        raise BadAnswer(f"the model server answered {answer.status_code}")


### END SOLUTION
