"""`python -m app serve` and `python -m app check`."""

import http.client
import os
import sys

PORT = int(os.environ.get("PORT", 8000))


def check() -> int:
    try:
        connection = http.client.HTTPConnection("localhost", PORT, timeout=1.5)
        connection.request("GET", "/health/live")
        return connection.getresponse().status != 200
    except OSError:
        return 1


def serve() -> int:
    import uvicorn

    uvicorn.Server(uvicorn.Config("app.api:api", host="0.0.0.0", port=PORT, log_level="warning")).run()
    return 0


sys.exit({"check": check, "serve": serve}[sys.argv[1]]())
