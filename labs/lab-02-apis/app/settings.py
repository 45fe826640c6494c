"""The configuration: it comes from the environment, never from a file in the image. Complete as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What differs from one deployment to the next.

    Attributes:
        api_key: what callers must send; the app does not start without one.
        port: where to listen.
        model_server_url: the model server's REST address.
        model_server_grpc: its gRPC address, for those who prefer that.
        model_name: the model's name there.
        model_timeout: seconds that one prediction may take, retries included.
        retry_backoff: seconds that the first retry waits at most; the second waits at most twice as long.
        max_batch: the most images in one request.
    """

    api_key: str
    port: int = 8000
    model_server_url: str = "http://localhost:8501"
    model_server_grpc: str = "localhost:8500"
    model_name: str = "digits"
    model_timeout: float = 2.0
    retry_backoff: float = 0.1
    max_batch: int = 128


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises SystemExit when there is no key."""
    if not environment.get("API_KEY"):
        raise SystemExit("API_KEY is not set: choose a key, and start again with API_KEY=… in the environment")
    return Settings(
        api_key=environment["API_KEY"],
        port=int(environment.get("PORT", Settings.port)),
        model_server_url=environment.get("MODEL_SERVER_URL", Settings.model_server_url).rstrip("/"),
        model_server_grpc=environment.get("MODEL_SERVER_GRPC", Settings.model_server_grpc),
        model_name=environment.get("MODEL_NAME", Settings.model_name),
        model_timeout=float(environment.get("MODEL_TIMEOUT", Settings.model_timeout)),
        retry_backoff=float(environment.get("RETRY_BACKOFF", Settings.retry_backoff)),
        max_batch=int(environment.get("MAX_BATCH", Settings.max_batch)),
    )
