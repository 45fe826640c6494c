import asyncio
import os
import random

import grpc

from app.tensors import is_available, predict_answer, predict_request, status_request

MODEL = os.environ.get("MODEL_NAME", "digits")
SECONDS = float(os.environ.get("MODEL_TIMEOUT", "2"))
BACKOFF = float(os.environ.get("RETRY_BACKOFF", "0.1"))
STATUS = {grpc.StatusCode.DEADLINE_EXCEEDED: 504, grpc.StatusCode.UNAVAILABLE: 503, grpc.StatusCode.NOT_FOUND: 503}


class NoPrediction(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Backend:
    def __init__(self) -> None:
        target = os.environ.get("MODEL_SERVER_GRPC", "localhost:8500")
        # gRPC would try three times by itself, and wait longer and longer before it connects again.
        options = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 2000), ("grpc.enable_http_proxy", 0)]
        self.channel = grpc.aio.insecure_channel(target, options)
        self.ask = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self.look = self.channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")

    async def ready(self) -> bool:
        try:
            return is_available(await self.look(status_request(MODEL), timeout=SECONDS))
        except (grpc.RpcError, ValueError, IndexError):
            return False

    async def predict(self, images: list[list[float]]) -> tuple[list[list[float]], int]:
        request = predict_request(MODEL, images)
        end = asyncio.get_running_loop().time() + SECONDS
        for attempt in (0, 1, 2):
            left = end - asyncio.get_running_loop().time()
            try:
                rows, version = predict_answer(await self.ask(request, timeout=max(left, 0.001)))
                if len(rows) != len(images):
                    raise ValueError("not one prediction for each image")
                return rows, version
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or attempt == 2:
                    status = STATUS.get(error.code(), 502)
                    raise NoPrediction(status, f"the model server: {error.code().name}") from error
            except ValueError as error:
                raise NoPrediction(502, str(error)) from error
            await asyncio.sleep(random.uniform(0, BACKOFF * (attempt + 1)))
        raise AssertionError
