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
    ### BEGIN SOLUTION (silent)
    400: {"model": Problem, "description": "the body is not UTF-8"},
    401: {"model": Problem, "description": "there is no X-API-Key"},
    403: {"model": Problem, "description": "the X-API-Key is wrong"},
    413: {"model": Problem, "description": "more images than one request may have"},
    422: {"model": InvalidRequest, "description": "the request is not what this document asks for"},
    502: {"model": Problem, "description": "the model server answered with an error, or with nonsense"},
    503: {"model": Problem, "description": "the model server can't be reached; see Retry-After"},
    504: {"model": Problem, "description": "the model server was too slow"},
    ### END SOLUTION
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
    ### BEGIN SOLUTION (silent)
    app.add_middleware(RequestLog, versions=versions)
    ### END SOLUTION

    def require_key(given: Annotated[str | None, Security(API_KEY)]) -> None:
        """Refuse whoever does not have the key: 401 without one, 403 with a wrong one."""
        ### BEGIN SOLUTION
        if given is None:
            raise HTTPException(401, "send the header X-API-Key", {"WWW-Authenticate": "X-API-Key"})
        # As bytes, since letters beyond ASCII are an error otherwise; and in a time that tells nothing about the key.
        if not hmac.compare_digest(given.encode(), settings.api_key.encode()):
            raise HTTPException(403, "this X-API-Key is not known")
        ### END SOLUTION

    @app.get("/health/live")
    async def live() -> Health:
        """Whether this process works. It says nothing about the model server: restarting us would not mend that."""
        ### BEGIN SOLUTION
        return Health(status="alive")
        ### END SOLUTION

    @app.get("/health/ready", responses={503: {"model": Health}})
    async def ready() -> JSONResponse:
        """Whether requests can be answered now, which takes the model server too: 200, or 503."""
        ### BEGIN SOLUTION
        if await app.state.model_server.ready():
            return JSONResponse(Health(status="ready").model_dump())
        return JSONResponse(Health(status="not ready").model_dump(), 503)
        ### END SOLUTION

    @app.post("/predict", responses=ERRORS, dependencies=[Depends(require_key)])
    async def predict(body: PredictRequest, request: Request) -> PredictResponse:
        """Read handwritten digits: one call to the model server, however many images there are."""
        ### BEGIN SOLUTION
        if len(body.images) > settings.max_batch:
            raise HTTPException(413, f"{len(body.images)} images; at most {settings.max_batch} go into one request")
        answer = await app.state.model_server.predict(body.images)
        versions.latest = str(answer.version)
        request.state.model_version = answer.version
        return PredictResponse(
            predictions=[Prediction(digit=row.index(max(row)), probabilities=row) for row in answer.probabilities],
            model_version=answer.version,
            request_id=request.state.request_id,
        )
        ### END SOLUTION

    ### BEGIN SOLUTION (silent)
    @app.exception_handler(UpstreamError)
    async def no_prediction(_: Request, error: UpstreamError) -> JSONResponse:
        headers = {"Retry-After": "1"} if isinstance(error, Unavailable) else None
        return JSONResponse(Problem(detail=str(error)).model_dump(), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own handler repeats the input, and can't: a NaN has no place in JSON, so its 422 becomes a 500.
        problems = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()[:MOST_PROBLEMS]]
        return JSONResponse({"detail": problems}, 422)

    ### END SOLUTION

    return app
