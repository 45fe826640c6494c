"""Requests made from an API's own OpenAPI document, and whether the answers keep to it.

The document is the student's, and may be anything. So it is read in a process of its own, with a deadline and a limit
on memory; ``explore`` starts it and reads one JSON object from it.
"""

from __future__ import annotations

import json
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import requests
import urllib3

from autograder.errors import GraderError

FITTING, UNFITTING = 8, 20  # requests for each operation
SHRINKING = 10  # seconds for the search for a simpler request that goes wrong in the same way
PROCESSOR = 60  # seconds of it; reading a document of some size takes five
WAITING = 150.0  # seconds for all answers together
SECONDS = 400.0  # a machine with little time for us; the two above end what is hostile
ANSWER_SECONDS = 20.0
LARGEST_ANSWER = 16 << 20
MEMORY = 2 << 30
LARGEST_DOCUMENT = 1 << 20
LOADED = b"loaded\n"  # the first line of the process: from here on, what goes wrong is the document's
ENDLESS = f"Making requests from the document, and comparing answers with it, took {PROCESSOR} seconds of computing."
TOO_MUCH = "The document is so nested, or so large, that no request could be made from it."


@dataclass(frozen=True)
class Explored:
    """What came of it.

    Attributes:
        summary: what was tried, a line for each operation.
        problem: what is wrong with one answer, as a sentence; empty when nothing is.
        curl: the request that got it, as a command.
        answer: the answer.
    """

    summary: str
    problem: str = ""
    curl: str = ""
    answer: str = ""

    @property
    def crashed(self) -> bool:
        """Whether the answer is a 5xx."""
        return self.answer.startswith("5")


@dataclass(frozen=True)
class Known:
    """A request that is tried beside those that the document suggests, since it gets an answer of its own.

    Attributes:
        what: a name for it, to begin a sentence with.
        path: where it is posted to.
        body: as it is sent.
        headers: all that it has beside its content type.
    """

    what: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def curl(self, url: str) -> str:
        """It as a command for bash."""
        told = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in self.headers.items())
        text = self.body.decode("utf-8", "backslashreplace")
        data = shlex.quote(text) if text.encode() == self.body else "$" + shlex.quote(text)
        return f"curl -i {url}{self.path} -H 'Content-Type: application/json'{told} --data-binary {data}"


def explore(document: bytes, url: str, headers: Mapping[str, str], seed: int, known: Sequence[Known] = ()) -> Explored:
    """Tries an API with requests that fit its document, and with some that don't.

    Args:
        document: its OpenAPI document.
        url: where it listens.
        headers: what every request has beside what the document asks for.
        seed: makes the requests; the same seed makes the same ones.
        known: requests that come before those, as they are.

    Raises:
        GraderError: the process could not even begin, or the machine let it do too little.
    """
    if len(document) > LARGEST_DOCUMENT:
        return Explored("", f"The document has {len(document):,} bytes; nobody would read it.")
    job = {"document": document.decode("utf-8", "replace"), "url": url, "headers": dict(headers), "seed": seed}
    job["processor"] = PROCESSOR
    job["known"] = [asdict(one) | {"body": one.body.decode("latin-1")} for one in known]
    argv = [sys.executable, "-P", "-m", "autograder.checking.contract"]
    try:
        ended = subprocess.run(argv, input=json.dumps(job).encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise GraderError(
            f"schemathesis did not come to its end in {SECONDS:g} seconds: is the machine busy?"
        ) from error
    if not ended.stdout.startswith(LOADED):
        raise GraderError(f"schemathesis failed: {ended.stderr[-1500:].decode('utf-8', 'replace')}")
    try:
        return Explored(**json.loads(ended.stdout.splitlines()[-1]))
    except (ValueError, TypeError):
        return Explored("", ENDLESS if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else TOO_MUCH)


def main() -> int:
    """Reads a job from standard input, writes an ``Explored`` to standard output."""
    import schemathesis  # noqa: F401

    job = json.load(sys.stdin)
    sys.stdout.buffer.write(LOADED)
    sys.stdout.buffer.flush()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (job["processor"], job["processor"] + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    summary: list[str] = []
    try:
        found = _explore(job, summary)
    except (MemoryError, RecursionError):
        found = Explored("\n".join(summary), TOO_MUCH)
    except BaseException as error:  # schemathesis is the same in every run: what it stumbles over is the document
        said = f"{type(error).__name__}: {error}"[:600]
        found = Explored("\n".join(summary), f"No request can be made from the document: {said}")
    print(json.dumps(asdict(found)))
    return 0


def _explore(job: dict[str, Any], summary: list[str]) -> Explored:
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Err
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    document = json.loads(job["document"])
    if outside := _outside(document):
        return Explored("", f"The document refers to {outside[:200]!r}, which is not in it.")
    schema = schemathesis.openapi.from_dict(document)
    known = [Known(**one | {"body": one["body"].encode("latin-1")}) for one in job["known"]]
    for found in schema.get_all_operations():
        if isinstance(found, Err):
            return Explored("\n".join(summary), f"An operation of the document can't be read: {found.err()}"[:1200])
        operation = found.ok()
        own = [one for one in known if operation.method == "post" and operation.path == one.path]
        seen = _try_known(operation, own, job, checks) or _try_operation(operation, job, checks)
        summary.append(f"{operation.method.upper()} {operation.path}: {seen.summary}")
        if seen.problem:
            return Explored("\n".join(summary), seen.problem, seen.curl, seen.answer)
    return Explored("\n".join(summary))


def _outside(document: Any) -> str:
    """A reference that leads out of the document: nothing else of this machine is read for it."""
    pending = [document]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            target = found.get("$ref")
            if isinstance(target, str) and not target.startswith("#"):
                return target
            pending.extend(found.values())
        elif isinstance(found, list):
            pending.extend(found)
    return ""


class _NoAnswer(BaseException):
    """Ends the search at once: hypothesis would look for a simpler request, and wait as long for each."""


class _Session(requests.Session):
    """Answers with a size and an end; no other server is asked, whatever an answer says."""

    waited = 0.0  # seconds, all sessions together

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if _Session.waited > WAITING:
            raise requests.Timeout
        began = time.monotonic()
        try:
            response = super().send(request, **options | {"stream": True, "timeout": ANSWER_SECONDS})
            with response:
                response._content = self._whole(response, began + ANSWER_SECONDS)
        finally:
            _Session.waited += time.monotonic() - began
        self.cookies.clear()
        return response

    def _whole(self, response: requests.Response, deadline: float) -> bytes:
        """The content, piece by piece as it comes: a byte now and then must not be waited for without end."""
        content = bytearray()
        try:
            while piece := response.raw.read1(1 << 16, decode_content=True):
                content += piece
                if len(content) > LARGEST_ANSWER:
                    raise requests.ConnectionError(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
                if time.monotonic() > deadline:
                    raise requests.Timeout
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(str(error)) from error
        return bytes(content)


def _try_known(operation: Any, known: list[Known], job: dict[str, Any], checks: list[Any]) -> Explored | None:
    """The first of them whose answer contradicts the document."""
    with _Session() as session:
        for one in known:
            headers = {"Content-Type": "application/json", **one.headers}
            try:
                response = session.post(job["url"] + one.path, data=one.body, headers=headers)
            except requests.RequestException as error:
                return Explored("a problem", f"{one.what}: {_no_answer(error)}", one.curl(job["url"]))
            case = operation.Case(body={}, media_type="application/json")
            if problem := _problem(case, response, checks):
                answer = f"{response.status_code} {response.text[:1500]}"
                return Explored("a problem", f"{one.what}: {problem}", one.curl(job["url"]), answer)
    return None


def _try_operation(operation: Any, job: dict[str, Any], checks: list[Any]) -> Explored:
    """The first problem of one operation, with a simple request that has it."""
    import hypothesis
    from hypothesis.internal.conjecture import engine
    from schemathesis import GenerationMode

    engine.MAX_SHRINKING_SECONDS = SHRINKING  # its own five minutes are longer than this process may take
    session = _Session()
    statuses: dict[int, int] = {}
    last: list[Explored] = []

    def attempt(case: Any) -> None:
        try:
            response = case.call(base_url=job["url"], session=session, headers=job["headers"])
        except requests.RequestException as error:
            last[:] = [Explored("", _no_answer(error), case.as_curl_command(headers=job["headers"]))]
            raise _NoAnswer from error
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        if problem := _problem(case, response, checks):
            curl = case.as_curl_command(headers=job["headers"])
            where = f"{operation.method.upper()} {operation.path}"
            last[:] = [Explored("", f"{where}: {problem}", curl, f"{response.status_code} {response.text[:1500]}")]
            raise AssertionError

    for mode, count in ((GenerationMode.POSITIVE, FITTING), (GenerationMode.NEGATIVE, UNFITTING)):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            options = hypothesis.settings(
                max_examples=count,
                database=None,
                deadline=None,
                derandomize=False,
                print_blob=False,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            given: Any = hypothesis.given(strategy)
            hypothesis.seed(job["seed"])(options(given(attempt)))()
        except (AssertionError, _NoAnswer):
            found = last[-1]
            return Explored("a problem", found.problem, found.curl, found.answer)
        except hypothesis.errors.Unsatisfiable:
            continue  # nothing unfitting can be sent to a route without parameters
    told = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return Explored(told or "nothing to try")


def _problem(case: Any, response: Any, checks: list[Any]) -> str:
    """How an answer contradicts the document, as a sentence; empty when it does not."""
    from schemathesis.core.failures import FailureGroup

    try:
        case.validate_response(response, checks=checks)
    except FailureGroup as group:
        return min(_told(failure) for failure in group.exceptions)[:1200]  # of several always the same one
    return ""


def _told(failure: Exception) -> str:
    """A failure in a line or two: of a long message what is wrong, and where in the document that follows from."""
    what, *more = str(getattr(failure, "message", failure)).split("\n\n")
    where = "".join(f" ({paragraph.rstrip(':')})" for paragraph in more if paragraph.startswith("Schema at"))
    return f"{getattr(failure, 'title', type(failure).__name__)}: {what}{where}".rstrip(": ")


def _no_answer(error: requests.RequestException) -> str:
    match error:
        case requests.Timeout() if _Session.waited > WAITING:
            return f"All answers together took more than {WAITING:g} seconds."
        case requests.Timeout():
            return f"There was no whole answer within {ANSWER_SECONDS:g} seconds."
        case requests.ConnectionError() if "larger than" in str(error):
            return f"There was no answer: {error}."
    return f"There was no whole answer ({type(error).__name__}): the connection broke, or was refused."


if __name__ == "__main__":
    sys.exit(main())
