"""The client, with nothing but the standard library."""

import argparse
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request


class ApiError(Exception):
    pass


class Refused(ApiError):
    pass


class Later(ApiError):
    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def ask(url: str, images: object, left: float) -> dict:
    headers = {"Content-Type": "application/json", "X-API-Key": os.environ.get("API_KEY", "")}
    request = urllib.request.Request(f"{url}/predict", json.dumps({"images": images}).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=left) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = f"{error.code}: {error.read(300).decode('utf-8', 'replace')}"
        if error.code == 503:
            raise Later(said, float(error.headers.get("Retry-After", 1))) from error
        raise Refused(said) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            raise Later(str(error.reason), 0.2) from error
        raise ApiError(str(error.reason)) from error
    except (OSError, ValueError) as error:
        raise ApiError(f"no answer that can be read: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("command", choices=("predict",))
    options = parser.parse_args()
    images = json.load(sys.stdin)
    end = time.monotonic() + options.timeout
    attempt = 1
    while True:
        try:
            print(json.dumps(ask(options.url, images, end - time.monotonic())))
            return 0
        except ApiError as error:
            pause = getattr(error, "seconds", 0.0) * random.uniform(1, 1.2)
            if not isinstance(error, Later) or attempt == 3 or time.monotonic() + pause > end:
                print(json.dumps({"error": type(error).__name__, "message": str(error)}))
                return 1
        time.sleep(pause)
        attempt += 1


if __name__ == "__main__":
    sys.exit(main())
