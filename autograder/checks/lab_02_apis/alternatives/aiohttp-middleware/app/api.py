import contextlib
import hmac
import math
from typing import Annotated

from fastapi import APIRouter, Body, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict, field_validator

from app import config
from app.model import Model, Trouble
from app.outer import Named, request_id

router = APIRouter()


class Images(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    images: list[list[float]]

    @field_validator("images")
    @classmethod
    def fit(cls, images):
        if not images:
            raise ValueError("no images")
        for image in images:
            if len(image) != 64:
                raise ValueError("an image has 64 pixels")
            if not all(math.isfinite(pixel) and 0 <= pixel <= 16 for pixel in image):
                raise ValueError("a pixel is a number from 0 to 16")
        return images


class One(BaseModel):
    digit: int
    probabilities: list[float]


class Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    predictions: list[One]
    model_version: int
    request_id: str


class Message(BaseModel):
    detail: str | list[dict]


class Denied(Exception):
    def __init__(self, status, why):
        self.status, self.why = status, why


def known(key: str | None = Depends(APIKeyHeader(name="X-API-Key", auto_error=False))):
    if key is None:
        raise Denied(401, "a key is needed")
    if not hmac.compare_digest(key.encode(), config.KEY.encode()):
        raise Denied(403, "another key is needed")


@router.get("/health/live", status_code=200)
async def alive():
    return "alive"


@router.get("/health/ready", response_class=Response, responses={503: {"description": "not yet"}})
async def is_ready(request: Request):
    there = await request.app.state.model.is_ready()
    return Response(status_code=200 if there else 503)


EXAMPLE = {"a blank image": {"value": {"images": [[0.0] * 64]}}}
PROBLEMS = {status: {"model": Message} for status in (400, 401, 403, 413, 422, 502, 503, 504)}


@router.post("/predict", response_model=Answer, responses=PROBLEMS, dependencies=[Depends(known)])
async def predict(request: Request, response: Response, body: Annotated[Images, Body(openapi_examples=EXAMPLE)]):
    if len(body.images) > config.MAX_BATCH:
        raise Denied(413, "too many images")
    rows, version = await request.app.state.model.predict(body.images)
    response.headers["X-Model-Version"] = str(version)
    predictions = [{"digit": row.index(max(row)), "probabilities": row} for row in rows]
    return {"predictions": predictions, "model_version": version, "request_id": request_id.get()}


def denied(_, error):
    return JSONResponse({"detail": error.why}, error.status)


def troubled(_, error):
    return JSONResponse({"detail": str(error)}, error.status, {"Retry-After": "3"} if error.status == 503 else None)


def invalid(_, error):
    told = [{"loc": list(one["loc"]), "msg": one["msg"]} for one in error.errors()]
    return JSONResponse({"detail": told[:20]}, 422)


@contextlib.asynccontextmanager
async def lifespan(app):
    async with Model() as app.state.model:
        yield


inner = FastAPI(
    lifespan=lifespan, exception_handlers={Denied: denied, Trouble: troubled, RequestValidationError: invalid}
)
inner.include_router(router)
api = Named(inner)
