"""The model server, asked with requests: a session a thread, since a session is no good for two at a time."""

import json
import os
import random
import threading
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

URL = os.environ.get("MODEL_SERVER_URL", "http://localhost:8501").rstrip("/")
MODEL = f"{URL}/v1/models/{os.environ.get('MODEL_NAME', 'digits')}"
TIMEOUT = float(os.environ.get("MODEL_TIMEOUT", "2"))
BACKOFF = float(os.environ.get("RETRY_BACKOFF", "0.1"))
_own = threading.local()


class Failed(Exception):
    """No prediction; ``status`` is what the caller is told."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class TryAgain(Exception):
    """It may work in a moment."""


def session() -> requests.Session:
    if not hasattr(_own, "session"):
        _own.session = requests.Session()
        _own.session.trust_env = False
        _own.session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
    return _own.session


def call(method: str, url: str, body: dict | None, end: float) -> tuple[int, dict]:
    """One request, until its last byte or until ``end``."""
    left = end - time.monotonic()
    if left <= 0:
        raise Failed(504, "no time left for the model server")
    try:
        with session().request(method, url, json=body, stream=True, timeout=left) as answer:
            content = bytearray()
            # What has come so far: iter_content would wait until a piece is full.
            while piece := answer.raw.read1(1 << 16):
                content += piece
                if time.monotonic() > end:
                    raise Failed(504, "the model server's answer did not come to its end")
    except (requests.Timeout, ReadTimeoutError):
        raise Failed(504, "the model server is too slow") from None
    except (requests.RequestException, HTTPError):
        raise TryAgain("the model server can't be reached") from None
    if answer.status_code == 503:
        raise TryAgain("the model server is not available")
    try:
        found = json.loads(content)
    except ValueError:
        raise Failed(502, "the model server talks nonsense") from None
    return answer.status_code, found


def newest(end: float) -> int:
    """The version that answers now."""
    status, told = call("GET", MODEL, None, end)
    if status == 200:
        there = [int(one["version"]) for one in told["model_version_status"] if one["state"] == "AVAILABLE"]
        if there:
            return max(there)
    raise TryAgain("the model server has no version of the model")


def ready() -> bool:
    try:
        return newest(time.monotonic() + TIMEOUT) > 0
    except (Failed, TryAgain):
        return False


def once(images: list[list[float]], end: float) -> tuple[list[list[float]], int]:
    version = newest(end)
    status, told = call("POST", f"{MODEL}/versions/{version}:predict", {"inputs": images}, end)
    if status == 404:
        raise TryAgain("the version has just been replaced")
    if status != 200 or "outputs" not in told:
        raise Failed(502, f"the model server failed: {status}")
    return told["outputs"], version


def predict(images: list[list[float]]) -> tuple[list[list[float]], int]:
    """Probabilities for each image, and the version that gave them. Raises Failed."""
    end = time.monotonic() + TIMEOUT
    pause = BACKOFF
    for last in (False, False, True):
        try:
            return once(images, end)
        except TryAgain as error:
            if last:
                raise Failed(503, str(error)) from None
        time.sleep(max(0.0, min(random.uniform(0, pause), end - time.monotonic())))
        pause *= 2
    raise AssertionError
