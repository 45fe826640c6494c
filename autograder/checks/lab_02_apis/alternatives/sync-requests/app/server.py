"""The routes, as plain functions: FastAPI runs each in a thread of its pool."""

import json
import os
import re
import secrets
import sys
import uuid
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StrictFloat, StrictInt

from app import digits

KEY = os.environ["API_KEY"].encode()
MAX_BATCH = int(os.environ.get("MAX_BATCH", "128"))

Number = StrictInt | StrictFloat
Pixel = Annotated[Number, Field(ge=0, le=16)]
Image = Annotated[list[Pixel], Field(min_length=64, max_length=64)]


class Question(BaseModel, extra="forbid"):
    images: list[Image] = Field(min_length=1, examples=[[[0] * 64]])


class Digit(BaseModel):
    digit: int
    probabilities: list[float]


class Result(BaseModel, protected_namespaces=()):
    predictions: list[Digit]
    model_version: int
    request_id: str


class Error(BaseModel):
    detail: str


class Where(BaseModel):
    loc: list[str | int]
    msg: str


class Errors(BaseModel):
    detail: list[Where]


app = FastAPI(title="Digits, read by threads")
app.state.version = "none"


@app.middleware("http")
async def named(request: Request, go_on):
    given = request.headers.get("x-request-id", "")
    name = given if re.fullmatch(r"[-\w]{1,64}", given, re.ASCII) else str(uuid.uuid4())
    request.state.id = name
    try:
        response = await go_on(request)
    except Exception:
        response = JSONResponse({"detail": "a mistake of ours"}, 500)
    version = getattr(request.state, "version", None) or app.state.version
    response.headers["X-Request-ID"] = name
    response.headers["X-Model-Version"] = str(version)
    told = {"request_id": name, "model_version": version, "method": request.method, "path": request.url.path}
    sys.stdout.write(json.dumps({**told, "status": response.status_code}) + "\n")
    sys.stdout.flush()
    return response


@app.exception_handler(RequestValidationError)
def unfitting(_: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()[:5]]}, 422)


@app.get("/health/live")
def live() -> dict[str, str]:
    return {"status": "alive"}


@app.get("/health/ready", responses={503: {"model": dict[str, str]}})
def ready(response: Response) -> dict[str, str]:
    if digits.ready():
        return {"status": "ready"}
    response.status_code = 503
    return {"status": "waiting for the model server"}


@app.post(
    "/predict",
    responses={422: {"model": Errors}} | {status: {"model": Error} for status in (400, 401, 403, 413, 502, 503, 504)},
)
def predict(question: Question, request: Request, x_api_key: Annotated[str | None, Header()] = None) -> Result:
    if x_api_key is None:
        raise HTTPException(401, "X-API-Key, please")
    if not secrets.compare_digest(x_api_key.encode("utf-8"), KEY):
        raise HTTPException(403, "not with this key")
    if len(question.images) > MAX_BATCH:
        raise HTTPException(413, f"at most {MAX_BATCH} images")
    try:
        rows, version = digits.predict(question.images)
    except digits.Failed as error:
        again = {"Retry-After": "2"} if error.status == 503 else None
        raise HTTPException(error.status, str(error), again) from error
    request.state.version = app.state.version = version
    found = [Digit(digit=max(range(10), key=row.__getitem__), probabilities=row) for row in rows]
    return Result(predictions=found, model_version=version, request_id=request.state.id)
