"""The API itself: its routes, its errors, and what it says about them in its OpenAPI document."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader

from app.requestlog import RequestLog, Versions
from app.schemas import Health, InvalidRequest, Prediction, PredictRequest, PredictResponse, Problem
from app.settings import Settings
from app.upstream import ModelServer, Unavailable, UpstreamError

# What POST /predict may answer beside 200, for the document.
ERRORS: dict[int | str, dict[str, Any]] = {
    # YOUR CODE HERE
}
API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False)
MOST_PROBLEMS = 10  # a body can have thousands of wrong fields: the first few say enough


def create_app(settings: Settings) -> FastAPI:
    """Make the app. The model server's client is opened when it starts, and closed when it ends."""
    versions = Versions()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.model_server = ModelServer(settings)
        yield
        await app.state.model_server.close()

    app = FastAPI(title="Digits", version="1.0", lifespan=lifespan)
    # YOUR CODE HERE

    def require_key(given: Annotated[str | None, Security(API_KEY)]) -> None:
        """Refuse whoever does not have the key: 401 without one, 403 with a wrong one."""
        # YOUR CODE HERE
        raise NotImplementedError("main.py: a part is still to be written")

    @app.get("/health/live")
    async def live() -> Health:
        """Whether this process works. It says nothing about the model server: restarting us would not mend that."""
        # YOUR CODE HERE
        raise NotImplementedError("main.py: a part is still to be written")

    @app.get("/health/ready", responses={503: {"model": Health}})
    async def ready() -> JSONResponse:
        """Whether requests can be answered now, which takes the model server too: 200, or 503."""
        # YOUR CODE HERE
        raise NotImplementedError("main.py: a part is still to be written")

    @app.post("/predict", responses=ERRORS, dependencies=[Depends(require_key)])
    async def predict(body: PredictRequest, request: Request) -> PredictResponse:
        """Read handwritten digits: one call to the model server, however many images there are."""
        # YOUR CODE HERE
        raise NotImplementedError("main.py: a part is still to be written")

    # YOUR CODE HERE

    return app
