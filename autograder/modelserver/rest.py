"""TensorFlow Serving's REST API: which request is meant, and its answer.

A small request to a model known to be fast is answered at once in the event loop's thread; everything else runs in a
pool of `--rest_api_num_threads` threads with a deadline, so that the server stays responsive.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from . import jsonout
from .errors import HTTP_STATUS, StatusError, invalid_argument
from .examples import examples_input
from .http import Head, Response, error_page
from .inference import Inference, example_signature, input_size
from .jsonexact import PredictInput
from .jsonin import predict_input
from .jsontext import error_document, quoted
from .manager import Manager, State
from .metrics import Metrics
from .protos import SignatureDefMap
from .servable import Servable, Signature
from .session import RunMode

_PREDICTION: Final = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.IGNORECASE
)
_VALID_TARGET: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?#]|%[0-9A-Fa-f]{2})*")
_HTML: Final = (("Content-Type", "text/html; charset=ISO-8859-1"),)
_PLAIN_TEXT: Final = (("Content-Type", "text/plain"),)
_CORS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_PREDICTIONS: Final = ("classify", "regress", "predict")
_STATE_NAMES: Final = {state: state.name for state in State}
_LARGE_BODY: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path means; `verb` is "" for status and None for a path that means nothing."""

    verb: str | None
    model: str = ""
    version: int | None = None
    label: str | None = None
    problem: str | None = None


class RestApi:
    """Answers requests from a manager's servables."""

    def __init__(
        self,
        manager: Manager,
        inference: Inference,
        metrics: Metrics,
        *,
        threads: int,
        timeout_ms: int,
        metrics_path: str | None,
        cors: bool,
        always_pool: bool,
    ) -> None:
        """
        Args:
            threads: how many requests may run in the pool at once; below one, as many as there are CPUs.
            timeout_ms: after it a run is cancelled; 0 or less: never.
            metrics_path: where the metrics are, or None.
            cors: whether answers carry the headers for scripts from other origins.
            always_pool: never answer in the event loop's thread (batching waits for other requests).
        """
        self._manager = manager
        self._inference = inference
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(threads if threads > 0 else os.cpu_count(), thread_name_prefix="rest")
        self._pool_mode = RunMode(timeout_ms)
        self._inline_mode = RunMode(inline=True)
        self._metrics_path = metrics_path
        self._extra = _CORS if cors else ()
        self._headers = (*self._extra, ("Content-Type", "application/json"))
        self._always_pool = always_pool

    def close(self) -> None:
        """Ends the pool."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def handle(self, head: Head, body: bytes) -> Response | Any:
        """The answer to a request, or an awaitable of it."""
        if head.route is None:
            head.route = self._route(head)
        route: Response | Callable[[bytes], Response | Any] = head.route
        return route if isinstance(route, Response) else route(body)

    # Which request is meant. The result is kept with the request's head.

    def _route(self, head: Head) -> Response | Callable[[bytes], Response | Any]:
        target = re.sub(r"^https?://[^/]*", "", head.target) or "/"
        if not _VALID_TARGET.fullmatch(target):
            return error_page(400)
        path = unquote(re.split(r"[?#]", target, maxsplit=1)[0], errors="surrogateescape")
        if self._metrics_path is not None and path == self._metrics_path:
            return lambda _: self._metrics_page(target)
        if not target.lower().startswith("/v1/"):
            return error_page(404)
        if head.method == "OPTIONS":
            allowed = re.search("https?://", head.headers.get("origin", "")) is not None
            return Response(200 if allowed else 400, b"", self._extra, trailing=_HTML)
        meant = _target(head.method, target)
        if meant.verb in _PREDICTIONS:
            return lambda body: self._prediction(meant, body)
        return lambda _: self._answer(meant, lambda: self._about_model(meant))

    def _metrics_page(self, target: str) -> Response:
        if target != self._metrics_path:
            text = f"Unexpected path: {target}. Should be {self._metrics_path}"
            return Response(400, text.encode("utf-8", "surrogateescape"), (*self._extra, *_PLAIN_TEXT))
        return Response(200, self._metrics.text(), (*self._extra, *_PLAIN_TEXT))

    # Status and metadata.

    def _answer(self, target: _Target, work: Callable[[], bytes]) -> Response:
        """Runs `work`, counts the request and turns an error into its answer."""
        start = time.perf_counter()
        try:
            body = work()
        except StatusError as error:
            return self._failed(target, error)
        return self._succeeded(target, body, start)

    def _succeeded(self, target: _Target, body: bytes, start: float) -> Response:
        microseconds = int((time.perf_counter() - start) * 1e6)
        self._metrics.request_count.add(target.model, "OK")
        api = target.verb if target.verb in _PREDICTIONS else ""
        self._metrics.request_latency.observe(microseconds, target.model, api, "REST")
        return Response(200, body, self._headers)

    def _failed(self, target: _Target, error: StatusError) -> Response:
        self._metrics.request_count.add(target.model, error.code.name)
        # A version that is no int64 is refused before the real server has a body to fill.
        body = b"" if error.message == target.problem and target.verb is not None else error_document(error.message)
        return Response(HTTP_STATUS[error.code], body, self._headers)

    def _about_model(self, target: _Target) -> bytes:
        if target.problem is not None:
            raise invalid_argument(target.problem)
        if not target.model:
            raise invalid_argument("Missing model name in request.")
        return self._metadata(target) if target.verb == "metadata" else self._status(target)

    def _status(self, target: _Target) -> bytes:
        entries = []
        for status in self._manager.statuses(target.model, target.version):
            code, message = (status.error.code.name, status.error.message) if status.error else ("OK", "")
            entries.append(
                f'  {{\n   "version": "{status.version}",\n   "state": "{status.state.name}",\n   "status": {{\n'
                f'    "error_code": "{code}",\n    "error_message": {quoted(message)}\n   }}\n  }}'
            )
        versions = ",\n".join(entries)
        return f'{{\n "model_version_status": [\n{versions}\n ]\n}}\n'.encode("utf-8", "surrogateescape")

    def _metadata(self, target: _Target) -> bytes:
        servable = self._manager.servable(target.model, target.version, target.label)
        try:
            signatures = SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            return jsonout.metadata_document(target.model, servable.version, signatures)
        finally:
            servable.release()

    # Predict, classify, regress.

    def _prediction(self, target: _Target, body: bytes) -> Response | Any:
        if target.problem is not None:
            return self._failed(target, invalid_argument(target.problem))
        if self._always_pool or len(body) > _LARGE_BODY or target.verb != "predict":
            return self._in_pool(self._complete, target, body)
        start = time.perf_counter()
        held: list[Servable] = []
        try:
            request = predict_input(body, lambda name: self._input_types(target, name, held))
            servable = held[0]
            signature = servable.signature(request.signature_name)
            if not (servable.inline_allowed and signature.is_cheap(input_size(request.tensors))):
                pending, held = (servable, signature, request), []
                return self._in_pool(self._finish, target, pending, start)
            outputs = self._inference.predict(servable, signature, request.tensors, self._inline_mode)
            return self._succeeded(target, _predict_document(request, outputs), start)
        except StatusError as error:
            return self._failed(target, error)
        finally:
            for servable in held:
                servable.release()

    async def _in_pool(self, work: Callable[..., Response], *arguments: Any) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _finish(self, target: _Target, pending: tuple[Servable, Signature, PredictInput], start: float) -> Response:
        """Runs a parsed request, in a thread of the pool."""
        servable, signature, request = pending
        try:
            learns = servable.inline_allowed and signature.is_worth_learning(input_size(request.tensors))
            mode = self._inline_mode if learns and not self._always_pool else self._pool_mode
            outputs = self._inference.predict(servable, signature, request.tensors, mode)
            return self._succeeded(target, _predict_document(request, outputs), start)
        except StatusError as error:
            return self._failed(target, error)
        finally:
            servable.release()

    def _complete(self, target: _Target, body: bytes) -> Response:
        """Parses and runs a request, in a thread of the pool."""
        return self._answer(
            target,
            lambda: self._examples(target, body) if target.verb != "predict" else self._predict(target, body),
        )

    def _predict(self, target: _Target, body: bytes) -> bytes:
        held: list[Servable] = []
        try:
            request = predict_input(body, lambda name: self._input_types(target, name, held))
            signature = held[0].signature(request.signature_name)
            return _predict_document(
                request, self._inference.predict(held[0], signature, request.tensors, self._pool_mode)
            )
        finally:
            for servable in held:
                servable.release()

    def _examples(self, target: _Target, body: bytes) -> bytes:
        name, examples = examples_input(body)
        servable = self._manager.servable(target.model, target.version, target.label)
        try:
            signature = example_signature(servable, name)
            if target.verb == "classify":
                return jsonout.classifications(self._inference.classify(servable, signature, examples, self._pool_mode))
            return jsonout.regressions(self._inference.regress(servable, signature, examples, self._pool_mode))
        finally:
            servable.release()

    def _input_types(self, target: _Target, signature_name: str, held: list[Servable]) -> dict[str, int]:
        """The inputs of the signature; the servable found stays acquired, in `held`."""
        held.append(self._manager.servable(target.model, target.version, target.label))
        return held[0].signature(signature_name).inputs


def _predict_document(request: PredictInput, outputs: dict[str, Any]) -> bytes:
    return jsonout.predictions(outputs) if request.row_format else jsonout.outputs_document(outputs)


def _target(method: str, path: str) -> _Target:
    if method == "POST" and (found := _PREDICTION.fullmatch(path)):
        model, version, label, verb = found.groups()
        if verb in _PREDICTIONS:
            return _with_version(verb, model, version, label)
    elif method == "GET" and (found := _MODEL.fullmatch(path)):
        model, version, label, metadata = found.groups()
        return _with_version("metadata" if metadata == "metadata" else "", model or "", version, label)
    return _Target(None, problem=f"Malformed request: {method} {path}")


def _with_version(verb: str, model: str, version: str | None, label: str | None) -> _Target:
    name = unquote(model, errors="surrogateescape")
    if version is not None and int(version) >= 2**63:
        return _Target(verb, problem=f"Failed to convert version: {version} to numeric.")
    wanted = unquote(label, errors="surrogateescape") if label is not None else None
    return _Target(verb, name, int(version) if version is not None else None, wanted)
