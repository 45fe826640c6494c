"""TensorFlow Serving over HTTP, asynchronously, with httpx."""

import argparse
import asyncio
import json
import sys

import httpx


class ServingError(Exception):
    """Base of all."""

    def as_json(self):
        return json.dumps({"error": self.__class__.__name__, "message": str(self)})


class InvalidRequest(ServingError): ...


class ModelNotFound(ServingError): ...


class ServerUnreachable(ServingError): ...


class DeadlineExceeded(ServingError): ...


class MalformedAnswer(ServingError): ...


BY_STATUS = {400: InvalidRequest, 404: ModelNotFound, 504: DeadlineExceeded}


class DigitsClient:
    def __init__(self, url, timeout):
        self.timeout = timeout
        self.http = httpx.AsyncClient(base_url=url, timeout=None, trust_env=False)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()

    async def fetch(self, method, path, **kwargs):
        try:
            async with asyncio.timeout(self.timeout):
                response = await self.http.request(method, path, **kwargs)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"gave up after {self.timeout} s") from exc
        except httpx.RemoteProtocolError as exc:
            raise MalformedAnswer(str(exc)) from exc
        except httpx.TransportError as exc:
            raise ServerUnreachable(f"{self.http.base_url}: {exc}") from exc
        if response.status_code != 200:
            raise BY_STATUS.get(response.status_code, ServingError)(response.text)
        try:
            payload = response.json()
        except (ValueError, RecursionError) as exc:
            raise MalformedAnswer(f"not JSON: {exc}") from exc
        if not isinstance(payload, dict):
            raise MalformedAnswer(f"expected an object, got {type(payload).__name__}")
        return payload

    async def describe(self, model):
        payload = await self.fetch("GET", f"/v1/models/{model}/metadata")
        try:
            sig = payload["metadata"]["signature_def"]["signature_def"]["serving_default"]
            described = {"signature": "serving_default"}
            for side in ("inputs", "outputs"):
                described[side] = {}
                for name, info in sig[side].items():
                    dims = [int(d["size"]) for d in info["tensor_shape"].get("dim", [])]
                    described[side][name] = {"dtype": info["dtype"], "shape": dims}
            return described
        except (LookupError, TypeError, AttributeError, ValueError) as exc:
            raise MalformedAnswer(f"metadata without a usable signature: {exc!r}") from exc

    async def predict(self, model, rows, fmt, version, label):
        target = f"/v1/models/{model}"
        if version is not None:
            target += f"/versions/{version}"
        if label is not None:
            target += f"/labels/{label}"
        if fmt == "row":
            payload = await self.fetch("POST", target + ":predict", json={"instances": rows})
            found = payload.get("predictions")
        else:
            payload = await self.fetch("POST", target + ":predict", json={"inputs": rows})
            found = payload.get("outputs")
        if not found or not isinstance(found, (list, dict)):
            raise MalformedAnswer("no predictions in the answer")
        return {"predictions": found}


async def do_describe(client, ns):
    return await client.describe(ns.model)


async def do_predict(client, ns):
    return await client.predict(ns.model, json.load(sys.stdin), ns.format, ns.version, ns.label)


async def amain(ns):
    async with DigitsClient(ns.url, ns.timeout) as client:
        return await ns.func(client, ns)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--url", default="http://localhost:8501")
    ap.add_argument("--timeout", type=float, default=20)
    sub = ap.add_subparsers(required=True)
    d = sub.add_parser("describe")
    d.add_argument("model")
    d.set_defaults(func=do_describe)
    p = sub.add_parser("predict")
    p.add_argument("model")
    p.add_argument("--format", default="row", choices=["row", "column"])
    p.add_argument("--version", type=int)
    p.add_argument("--label")
    p.set_defaults(func=do_predict)
    ns = ap.parse_args()
    try:
        result = asyncio.run(amain(ns))
    except ServingError as exc:
        print(exc.as_json())
        raise SystemExit(1) from exc
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
