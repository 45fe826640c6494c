"""What goes in and out of the API, as types: FastAPI validates with them and writes the OpenAPI document from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PIXELS = 64

# YOUR CODE HERE


class PredictRequest(BaseModel):
    """Images to read: 64 raw pixels each, row by row, from 0 to 16."""

    # YOUR CODE HERE


class Prediction(BaseModel):
    """What the model makes of one image: the likeliest digit, and the probability of each digit from 0 to 9."""

    # YOUR CODE HERE


class PredictResponse(BaseModel):
    """One prediction for each image, in the order of the request, and who made them."""

    # YOUR CODE HERE


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
