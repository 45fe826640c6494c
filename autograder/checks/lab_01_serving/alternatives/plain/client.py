#!/usr/bin/env python3
"""TensorFlow Serving's REST API with the standard library alone."""

import contextlib
import getopt
import http.client
import json
import socket
import sys
import threading
import time
import urllib.parse


class ServingError(Exception):
    pass


class InvalidRequest(ServingError):
    pass


class ModelNotFound(ServingError):
    pass


class ServerUnreachable(ServingError):
    pass


class DeadlineExceeded(ServingError):
    pass


class MalformedAnswer(ServingError):
    pass


def exchange(url, timeout, method, path, body=None):
    """Return status and body. A timer hangs up on a server that is not done in time."""
    until = time.monotonic() + timeout
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=timeout)
    try:
        connection.connect()
    except TimeoutError:
        raise DeadlineExceeded(f"{url} did not take the call within {timeout} s") from None
    except OSError as error:
        raise ServerUnreachable(f"{url}: {error}") from error
    line = connection.sock
    hung_up = threading.Event()

    def hang_up():
        hung_up.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), hang_up)
    timer.daemon = True
    timer.start()
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.IncompleteRead as error:
        raise late(hung_up, timeout) or MalformedAnswer(f"the answer breaks off: {error}") from error
    except TimeoutError as error:
        raise DeadlineExceeded(f"no answer within {timeout} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise late(hung_up, timeout) or ServerUnreachable(f"{url}: {error!r}") from error
    finally:
        timer.cancel()
        connection.close()


def late(hung_up, timeout):
    return DeadlineExceeded(f"no complete answer within {timeout} s") if hung_up.is_set() else None


def call(url, timeout, method, path, body=None):
    status, text = exchange(url, timeout, method, "/v1/models/" + path, body)
    if status == 400:
        raise InvalidRequest(text.decode(errors="replace"))
    if status == 404:
        raise ModelNotFound(text.decode(errors="replace"))
    if status != 200:
        raise ServingError(f"{status}: {text.decode(errors='replace')}")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(str(error)) from error
    if not isinstance(answer, dict):
        raise MalformedAnswer("the answer is no JSON object")
    return answer


def describe(url, timeout, model):
    answer = call(url, timeout, "GET", f"{model}/metadata")

    def tensors(side):
        return {
            name: {
                "dtype": tensor["dtype"],
                "shape": [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]],
            }
            for name, tensor in side.items()
        }

    try:
        signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
        return {
            "signature": "serving_default",
            "inputs": tensors(signature["inputs"]),
            "outputs": tensors(signature["outputs"]),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedAnswer(f"no signature in the metadata: {error!r}") from error


def predict(url, timeout, model, instances, form="row", version=None, label=None):
    path = model
    if version:
        path += f"/versions/{version}"
    if label:
        path += f"/labels/{label}"
    question, reply = ("instances", "predictions") if form == "row" else ("inputs", "outputs")
    answer = call(url, timeout, "POST", path + ":predict", json.dumps({question: instances}))
    if not isinstance(answer.get(reply), list):
        raise MalformedAnswer(f"no list of {reply} in the answer")
    return {"predictions": answer[reply]}


def main(argv):
    options, rest = getopt.getopt(argv, "", ["url=", "timeout="])
    options = dict(options)
    url = options.get("--url", "http://localhost:8501")
    timeout = float(options.get("--timeout", 10))
    command = rest.pop(0)
    own, rest = getopt.gnu_getopt(rest, "", ["format=", "version=", "label="])
    own = dict(own)
    (model,) = rest
    try:
        if command == "describe":
            answer = describe(url, timeout, model)
        else:
            form = own.get("--format", "row")
            instances = json.load(sys.stdin)
            answer = predict(url, timeout, model, instances, form, own.get("--version"), own.get("--label"))
    except ServingError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        sys.exit(1)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
