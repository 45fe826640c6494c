"""The recorded answers of a real TensorFlow Serving 2.20, and how an answer is compared with them.

Bodies are compared as JSON with numbers to 1e-6 relative (a batch of one and of many differ in the last digit in the
real server too), status and Content-Type exactly, error texts exactly up to what names an internal of the session.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "recorded"
_RELATIVE: Final = 1e-6
_INTERNAL: Final = re.compile(
    r"(?<=variable )Variable\w*|\{\{[^}]*\}\}|__inference_\w+|0x[0-9a-f]+|\w+\.cc:\d+|localhost/\w+"
)
"""Names of nodes and functions, addresses, source lines, resources: not the same in any two sessions."""


@dataclass(frozen=True)
class Recording:
    """One line of a recording: what was sent (or watched) and what came back."""

    file: str
    index: int
    line: dict[str, Any]

    @property
    def id(self) -> str:
        """A name for reports, such as `s1_one_input-12-s1.predict-top_array`."""
        name = re.sub(r"[^\w.:/%+-]+", "_", f"{self.line['scenario']}-{self.line['name']}")
        return f"{self.file}-{self.index}-{name[:60]}"

    @property
    def scenario(self) -> str:
        """The scenario, e.g. `s5a.v1`."""
        return str(self.line["scenario"])

    @property
    def name(self) -> str:
        """The name within the scenario."""
        return str(self.line["name"])

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the server that answered."""
        return tuple(self.line.get("server_flags") or ())

    @property
    def is_request(self) -> bool:
        """Whether a request was sent and answered over a connection."""
        response = self.line.get("response") or {}
        return "request" in self.line and response.get("status") is not None

    def request_bytes(self) -> bytes:
        """The request, byte for byte."""
        request = self.line["request"]
        if "raw" in request:
            return str(request["raw"]).encode("latin-1")
        body = self._request_body(request)
        headers = "".join(f"{name}: {value}\r\n" for name, value in request["headers"])
        if "chunked" not in headers and re.search(r"(?im)^content-length: \d+", headers):
            headers = re.sub(r"(?im)^(content-length: )\d+", rf"\g<1>{len(body)}", headers)
        start = f"{request['method']} {request['path']} {request.get('http_version', 'HTTP/1.1')}\r\n"
        return (start + headers + "\r\n").encode("latin-1") + body

    def _request_body(self, request: dict[str, Any]) -> bytes:
        note = request.get("body_note", "")
        if note.startswith("json.dumps"):
            return json.dumps({"instances": [[1.0, 2.0, 3.0]] * (5 * 1024 * 1024 // 17)}).encode()
        if "20 MiB" in note:
            return b'{"instances": "' + b"a" * (20 << 20) + b'"}'
        if request.get("body_b64"):
            return base64.b64decode(request["body_b64"])
        return str(request.get("body") or "").encode("utf-8", "surrogateescape")


@cache
def recordings(file: str) -> tuple[Recording, ...]:
    """All lines of one recorded file (its name without `.jsonl`)."""
    text = (FOLDER / f"{file}.jsonl").read_text("utf-8")
    return tuple(Recording(file, index, json.loads(line)) for index, line in enumerate(text.splitlines()))


def recorded_body(response: dict[str, Any]) -> bytes:
    """The body of a recorded answer, as far as it was kept."""
    if response.get("body_b64"):
        return base64.b64decode(response["body_b64"])
    return str(response["body"]).encode("utf-8", "surrogateescape")


def differences(recorded: dict[str, Any], status: int, headers: dict[str, str], body: bytes) -> list[str]:
    """How an answer differs from the recorded one; empty if it does not.

    Args:
        headers: names in lower case.
    """
    found = []
    if status != recorded["status"]:
        found.append(f"status {status} instead of {recorded['status']}")
    expected_headers = {name.lower(): value for name, value in recorded["headers"]}
    for name in (
        "content-type",
        "connection",
        *(name for name in expected_headers if name.startswith("access-")),
    ):
        if headers.get(name) != expected_headers.get(name):
            found.append(f"{name}: {headers.get(name)!r} instead of {expected_headers.get(name)!r}")
    if ("content-length" in headers) != ("content-length" in expected_headers):
        found.append(f"content-length {'present' if 'content-length' in headers else 'missing'}")
    if "truncated_to" in recorded:
        if abs(len(body) - recorded["length"]) > 0.02 * recorded["length"]:
            found.append(f"a body of {len(body)} bytes instead of {recorded['length']}")
        body = body[: recorded["truncated_to"]]
    difference = _body_difference(recorded_body(recorded), body)
    if difference:
        found.append(difference)
    return found


def _body_difference(expected: bytes, body: bytes) -> str | None:
    if expected == body:
        return None
    try:
        wanted, got = (json.loads(text.decode("utf-8", "surrogateescape")) for text in (expected, body))
    except ValueError:
        wanted, got = (text.decode("utf-8", "surrogateescape") for text in (expected, body))
    if not same(wanted, got):
        return f"body {body[:1500]!r} instead of {expected[:1500]!r}"
    # The order of keys is random, and with it which line ends in a comma.
    layout = [
        sorted(line.rstrip(b",") for line in re.sub(rb"[^\s\[\]{}:,]+", b"x", text).split(b"\n"))
        for text in (expected, body)
    ]
    if layout[0] != layout[1] and b"error" not in expected:
        return f"layout {body[:700]!r} instead of {expected[:700]!r}"
    return None


def same(wanted: Any, got: Any) -> bool:
    """Whether two JSON values are the same by the rules above."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(same(wanted[key], got[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(same(*pair) for pair in zip(wanted, got, strict=True))
    if isinstance(wanted, float) and isinstance(got, float):
        if math.isnan(wanted) or math.isnan(got):
            return math.isnan(wanted) and math.isnan(got)
        return math.isclose(wanted, got, rel_tol=_RELATIVE)
    if isinstance(wanted, str) and isinstance(got, str):
        return wanted == got or _INTERNAL.sub("…", wanted) == _INTERNAL.sub("…", got)
    return type(wanted) is type(got) and wanted == got
