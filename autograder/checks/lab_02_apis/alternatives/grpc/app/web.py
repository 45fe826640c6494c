"""Starlette's own middleware class, routes on the app, models with annotated types."""

import hmac
import json
import os
import re
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

from annotated_types import Ge, Le, Len
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Strict
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware

from app.backend import Backend, NoPrediction

Pixel = Annotated[float, Strict(), Ge(0), Le(16)]


class Body(BaseModel):
    model_config = {"extra": "forbid", "json_schema_extra": {"example": {"images": [[0.5] * 64]}}}
    images: Annotated[list[Annotated[list[Pixel], Len(64, 64)]], Len(1)]


class Guess(BaseModel):
    digit: Annotated[int, Ge(0), Le(9)]
    probabilities: Annotated[list[float], Len(10, 10)]


class Guesses(BaseModel):
    model_config = {"protected_namespaces": ()}
    predictions: list[Guess]
    model_version: int
    request_id: str


class Sorry(BaseModel):
    detail: Any
    code: int


class Everything(BaseHTTPMiddleware):
    version = "unknown"

    async def dispatch(self, request: Request, call_next) -> Response:
        asked = request.headers.get("X-Request-ID")
        request.state.request_id = asked if asked and re.fullmatch("[A-Za-z0-9_-]{1,64}", asked) else uuid4().hex
        request.state.model_version = None
        response = await call_next(request)
        if request.state.model_version is not None:
            Everything.version = request.state.model_version
        told = {"request_id": request.state.request_id, "model_version": Everything.version}
        response.headers["X-Request-ID"] = told["request_id"]
        response.headers["X-Model-Version"] = str(told["model_version"])
        told |= {"method": request.method, "path": request.url.path, "status": response.status_code}
        print(json.dumps(told), flush=True)
        return response


def make() -> FastAPI:
    key = os.environ["API_KEY"].encode()
    largest = int(os.environ.get("MAX_BATCH", "128"))

    @asynccontextmanager
    async def life(app: FastAPI):
        app.state.backend = Backend()
        yield
        await app.state.backend.channel.close(grace=None)

    app = FastAPI(lifespan=life, title="Digits over gRPC")
    app.add_middleware(Everything)

    async def allowed(request: Request) -> None:
        given = request.headers.get("X-API-Key")
        if given is None:
            raise HTTPException(401, "no key")
        if not hmac.compare_digest(given.encode(), key):
            raise HTTPException(403, "not this key")

    @app.get("/health/live", response_class=Response)
    async def live() -> Response:
        return Response("yes", media_type="text/plain")

    @app.get("/health/ready", responses={503: {"description": "not yet"}})
    async def ready(response: Response) -> bool:
        found = await app.state.backend.ready()
        response.status_code = 200 if found else 503
        return found

    sorry = {status: {"model": Sorry} for status in (400, 401, 403, 413, 422, 502, 503, 504)}

    @app.post("/predict", responses=sorry, dependencies=[Depends(allowed)])
    async def predict(body: Body, request: Request) -> Guesses:
        if len(body.images) > largest:
            raise HTTPException(413, f"{largest} images at most")
        rows, version = await app.state.backend.predict(body.images)
        request.state.model_version = version
        found = [Guess(digit=max(enumerate(row), key=lambda one: one[1])[0], probabilities=row) for row in rows]
        return Guesses(predictions=found, model_version=version, request_id=request.state.request_id)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"detail": error.detail, "code": error.status_code}, error.status_code)

    @app.exception_handler(NoPrediction)
    async def none(_: Request, error: NoPrediction) -> JSONResponse:
        headers = {"Retry-After": "1"} if error.status == 503 else {}
        return JSONResponse({"detail": str(error), "code": error.status}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        detail = [{"loc": list(one["loc"]), "why": one["msg"]} for one in error.errors()[:3]]
        return JSONResponse({"detail": detail, "code": 422}, 422)

    return app
