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
        # YOUR CODE HERE

    async def close(self) -> None:
        """Close the connections."""
        # YOUR CODE HERE

    async def ready(self) -> bool:
        """Whether a version of the model is there to answer."""
        # YOUR CODE HERE
        raise NotImplementedError("upstream.py: a part is still to be written")

    async def predict(self, images: list[list[float]]) -> Answer:
        """Ask the model, in one call for all images.

        Makes three attempts at most, and only tries again where that is safe and can help: when no connection was to be
        had, when it broke before an answer, or when the model server says 503. Waits a random time before each retry.

        Raises:
            UpstreamError: one of its subclasses, within `model_timeout` seconds.
        """
        # YOUR CODE HERE
        raise NotImplementedError("upstream.py: a part is still to be written")

    # YOUR CODE HERE


# YOUR CODE HERE
