"""Requests made from an API's own OpenAPI document, and whether the answers keep to it.

The document is the student's, and may be anything. So it is read in a process of its own, with a deadline and a limit
on memory; ``explore`` starts it and reads one JSON object from it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from autograder.errors import GraderError

CASES = 25  # for each operation, of fitting and of unfitting requests
SECONDS = 120.0
ANSWER_SECONDS = 20.0
MEMORY = 2 << 30
LARGEST_DOCUMENT = 1 << 20


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


def explore(document: bytes, url: str, headers: dict[str, str], seed: int) -> Explored:
    """Tries an API with requests that fit its document, and with some that don't.

    Args:
        document: its OpenAPI document.
        url: where it listens.
        headers: what every request has beside what the document asks for.
        seed: makes the requests; the same seed makes the same ones.

    Raises:
        GraderError: the process failed by itself.
    """
    if len(document) > LARGEST_DOCUMENT:
        return Explored("", f"The document has {len(document):,} bytes; nobody would read it.")
    job = {"document": document.decode("utf-8", "replace"), "url": url, "headers": headers, "seed": seed}
    argv = [sys.executable, "-P", "-m", "autograder.checking.contract"]
    try:
        ended = subprocess.run(argv, input=json.dumps(job).encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Explored("", f"The requests that the document describes did not come to an end in {SECONDS:g} seconds.")
    try:
        return Explored(**json.loads(ended.stdout))
    except (ValueError, TypeError) as error:
        said = ended.stderr[-1500:].decode("utf-8", "replace")
        if "MemoryError" in said or "RecursionError" in said or ended.returncode < 0:
            return Explored("", "The document is so nested, or so large, that no request could be made from it.")
        raise GraderError(f"schemathesis failed: {said}") from error


def main() -> int:
    """Reads a job from standard input, writes an ``Explored`` to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    job = json.load(sys.stdin)
    print(json.dumps(asdict(_explore(job))))
    return 0


def _explore(job: dict[str, Any]) -> Explored:
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
    summary: list[str] = []
    try:
        schema = schemathesis.openapi.from_dict(json.loads(job["document"]))
        for found in schema.get_all_operations():
            if isinstance(found, Err):
                return Explored("\n".join(summary), f"An operation of the document can't be read: {found.err()}")
            operation = found.ok()
            seen = _try_operation(operation, job, checks)
            summary.append(f"{operation.method.upper()} {operation.path}: {seen.summary}")
            if seen.problem:
                return Explored("\n".join(summary), seen.problem, seen.curl, seen.answer)
    except Exception as error:  # schemathesis is the same in every run: what it stumbles over is the document
        said = f"{type(error).__name__}: {error}"[:600]
        return Explored("\n".join(summary), f"No request can be made from the document: {said}")
    return Explored("\n".join(summary))


def _try_operation(operation: Any, job: dict[str, Any], checks: list[Any]) -> Explored:
    """The first problem of one operation, with the smallest request that hypothesis finds for it."""
    import hypothesis
    import requests
    from schemathesis import GenerationMode
    from schemathesis.core.failures import FailureGroup

    session = requests.Session()
    session.trust_env = False
    statuses: dict[int, int] = {}
    last: list[Explored] = []

    def attempt(case: Any) -> None:
        try:
            response = case.call(base_url=job["url"], session=session, headers=job["headers"], timeout=ANSWER_SECONDS)
        except requests.RequestException as error:
            curl = case.as_curl_command(headers=job["headers"])
            last[:] = [Explored("", f"There was no answer: {type(error).__name__}.", curl)]
            raise AssertionError from error
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            failure = group.exceptions[0]
            said = f"{getattr(failure, 'title', type(failure).__name__)}: {getattr(failure, 'message', failure)}"
            curl = case.as_curl_command(headers=job["headers"])
            last[:] = [Explored("", said[:1200], curl, f"{response.status_code} {response.text[:1500]}")]
            raise AssertionError from group

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            settings: Any = hypothesis.settings(
                max_examples=CASES,
                database=None,
                deadline=None,
                derandomize=False,
                print_blob=False,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            run: Any = settings(hypothesis.given(strategy)(attempt))  # type: ignore[no-untyped-call]
            seeded: Any = hypothesis.seed(job["seed"])(run)
            seeded()
        except AssertionError:
            found = last[-1]
            return Explored("a problem", found.problem, found.curl, found.answer)
        except hypothesis.errors.Unsatisfiable:
            continue  # nothing unfitting can be sent to a route without parameters
    told = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return Explored(told or "nothing to try")


if __name__ == "__main__":
    sys.exit(main())
