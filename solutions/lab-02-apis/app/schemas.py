"""What goes in and out of the API, as types: FastAPI validates with them and writes the OpenAPI document from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PIXELS = 64

### BEGIN SOLUTION (silent)
# Strict: "3" and true are no numbers. A NaN is none either, though Python's JSON reader lets it through.
Pixel = Annotated[float, Field(strict=True, ge=0, le=16, allow_inf_nan=False)]
Image = Annotated[list[Pixel], Field(min_length=PIXELS, max_length=PIXELS)]

EXAMPLE = [[0.0] * 28 + [8.0, 16.0, 16.0, 8.0] + [0.0] * 32]
### END SOLUTION


class PredictRequest(BaseModel):
    """Images to read: 64 raw pixels each, row by row, from 0 to 16."""

    ### BEGIN SOLUTION (silent)
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"images": EXAMPLE}]})

    images: Annotated[list[Image], Field(min_length=1)]
    ### END SOLUTION


class Prediction(BaseModel):
    """What the model makes of one image: the likeliest digit, and the probability of each digit from 0 to 9."""

    ### BEGIN SOLUTION (silent)
    digit: Annotated[int, Field(ge=0, le=9)]
    probabilities: list[float]
    ### END SOLUTION


class PredictResponse(BaseModel):
    """One prediction for each image, in the order of the request, and who made them."""

    ### BEGIN SOLUTION (silent)
    model_config = ConfigDict(protected_namespaces=())

    predictions: list[Prediction]
    model_version: int
    request_id: str
    ### END SOLUTION


class Health(BaseModel):
    """Whether the API is alive, or ready."""

    status: Literal["alive", "ready", "not ready"]


class Problem(BaseModel):
    """Why there is no prediction."""

    detail: str


class FieldProblem(BaseModel):
    """What is wrong with one field of a request.

    Attributes:
        loc: the way to it: `["body", "images", 0, 63]`.
        msg: a sentence for people.
        type: a word for programs.
    """

    loc: list[str | int]
    msg: str
    type: str


class InvalidRequest(BaseModel):
    """422: the request was understood, and is not what the document asks for."""

    detail: list[FieldProblem]
