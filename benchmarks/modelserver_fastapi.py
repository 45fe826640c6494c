"""The plain way to serve a model: FastAPI, TensorFlow, one worker. `modelserver.py` compares with it.

Usage: python modelserver_fastapi.py SAVED_MODEL_FOLDER PORT
"""

from __future__ import annotations

import sys

import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
loaded = tf.saved_model.load(sys.argv[1])
signature = loaded.signatures["serving_default"]
(name,) = signature.structured_input_signature[1]


class Instances(BaseModel):
    """A request in row format."""

    instances: list[list[float]]


@app.post("/v1/models/m:predict")
def predict(request: Instances) -> dict[str, list[list[float]]]:
    """The model's answer to each row."""
    outputs = signature(**{name: tf.constant(request.instances, tf.float32)})
    return {"predictions": next(iter(outputs.values())).numpy().tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
