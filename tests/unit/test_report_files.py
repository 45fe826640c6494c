"""results.json and junit.xml: in their formats, complete, and never a plain zero for what was not graded."""

from __future__ import annotations

import errno
import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from report_samples import hostile, realistic

from autograder.errors import MachineError
from autograder.report import Report, Verdict
from autograder.report.gradescope import results
from autograder.report.junit import junit_xml
from autograder.report.write import write_reports

# Gradescope's documented format, https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format,
# closed (nothing that it does not know), and what the course promises on top (issue 2, point 8).
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "simple_format", "html", "md", "ansi"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["score", "tests", "output", "execution_time", "extra_data"],
    "additionalProperties": False,
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number", "minimum": 0},
        "output": {"type": "string"},
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {
            "type": "object",
            "required": ["lab", "seed", "runtime", "isolation", "versions", "graded"],
        },
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "score", "max_score", "status", "output", "extra_data"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "name_format": FORMAT,
                    "number": {"type": "string", "pattern": r"^\d+\.\d+$"},
                    "score": {"type": "number", "minimum": 0},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "output": {"type": "string"},
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {
                        "type": "object",
                        "required": ["check", "skill", "verdict"],
                        "properties": {
                            "check": {"type": "string", "pattern": r"^lab-\d\d/[a-z0-9-]+$"},
                            "skill": {"type": "integer", "minimum": 1, "maximum": 12},
                            "verdict": {"enum": [verdict.value for verdict in Verdict]},
                        },
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("report", [realistic(), hostile()], ids=["realistic", "hostile"])
def test_results_are_in_gradescope_s_format(report: Report) -> None:
    jsonschema.validate(json.loads(json.dumps(results(report))), SCHEMA)


def test_every_check_is_in_the_results_with_its_points() -> None:
    found = results(realistic())
    assert len(found["tests"]) == 13
    assert found["score"] == sum(test["score"] for test in found["tests"]) == 44
    assert sum(test["max_score"] for test in found["tests"]) == 100


def test_an_error_never_looks_like_a_plain_zero() -> None:
    found = results(realistic())
    assert found["extra_data"]["graded"] is False
    assert found["output"].startswith("Not fully graded")
    (test,) = [test for test in found["tests"] if test["extra_data"]["verdict"] == "error"]
    assert test["name"].startswith("[error] ")
    assert test["output"].startswith("Not graded")


def test_a_graded_report_says_nothing_of_errors() -> None:
    passed = tuple(r.model_copy(update={"verdict": Verdict.PASSED}) for r in realistic().results)
    found = results(realistic().model_copy(update={"results": passed}))
    assert found["extra_data"]["graded"] is True
    assert found["output"].startswith("Lab 1: serving a model with TensorFlow Serving: 100 of 100 points")


def test_a_blocked_test_says_what_it_waits_for() -> None:
    (test, _) = [test for test in results(realistic())["tests"] if test["extra_data"]["verdict"] == "blocked"]
    assert test["status"] == "failed"
    assert "it needs “Column format equals the model's own answer”" in test["output"]


def test_long_evidence_is_cut_at_its_start() -> None:
    output = results(hostile())["tests"][0]["output"]
    assert "16000 characters left out" in output


def cases(report: Report) -> list[ET.Element]:
    return list(ET.fromstring(junit_xml(report)).iter("testcase"))


def test_junit_has_each_verdict_in_its_element() -> None:
    elements = {
        case.get("name", "").split(":")[0]: [child.tag for child in case if child.tag != "system-out"]
        for case in cases(realistic())
    }
    assert elements["saved-model"] == []
    assert elements["column-format"] == ["failure"]
    assert elements["random-weights"] == elements["watcher"] == ["skipped"]
    assert elements["two-models"] == ["error"]


def test_junit_counts_its_cases() -> None:
    suite = ET.fromstring(junit_xml(realistic())).find("testsuite")
    assert suite is not None
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "13", "failures": "3", "errors": "1", "skipped": "3"}


def test_junit_of_a_hostile_report_is_xml() -> None:
    failure = cases(hostile())[0].find("failure")
    assert failure is not None
    assert "NUL:\\x00" in (failure.text or "")
    assert "<script>alert(1)</script>" in (failure.text or "")


def test_the_three_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    written = write_reports(hostile(), tmp_path / "new" / "out")
    assert sorted(os.listdir(tmp_path / "new" / "out")) == sorted(written)
    assert sorted(written) == ["junit.xml", "report.html", "results.json"]
    assert json.loads(written["results.json"].read_text("utf-8"))["score"] == 0


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    write_reports(hostile(), tmp_path)
    write_reports(realistic(), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text("utf-8"))["score"] == 44


def test_a_full_disk_is_one_machine_error_and_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reports(realistic(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    calls = iter([None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def fsync(descriptor: int) -> None:
        if error := next(calls):
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MachineError, match="No space left on device"):
        write_reports(hostile(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_a_file_is_one_machine_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(MachineError, match="can't be written"):
        write_reports(realistic(), tmp_path / "out")
