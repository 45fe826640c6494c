"""A report as JUnit XML, which CI systems show: one test suite a lab, one test case a check.

passed is a bare test case, failed a ``<failure>``, blocked and not run a ``<skipped>``, error an ``<error>``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from autograder.report.model import Report, Result, Verdict
from autograder.report.wording import caveats, explanation, load_summary, plain

__all__ = ["junit_xml"]

_ELEMENT = {
    Verdict.FAILED: "failure",
    Verdict.BLOCKED: "skipped",
    Verdict.NOT_RUN: "skipped",
    Verdict.ERROR: "error",
}


def junit_xml(report: Report) -> str:
    """The report as an XML document; characters that XML forbids are replaced by visible ones."""
    counts = {
        "tests": str(len(report.results)),
        "failures": str(report.count(Verdict.FAILED)),
        "errors": str(report.count(Verdict.ERROR)),
        "skipped": str(report.count(Verdict.BLOCKED) + report.count(Verdict.NOT_RUN)),
        "time": f"{report.seconds:.3f}",
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(
        suites, "testsuite", {"name": plain(report.lab), "timestamp": plain(report.started), **counts}
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", name=plain(name), value=plain(value))
    for result in report.results:
        suite.append(_case(report, result))
    if said := [*caveats(report), *report.notes]:
        ET.SubElement(suite, "system-out").text = plain("\n".join(said))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _properties(report: Report) -> dict[str, str]:
    return {
        "submission": report.submission,
        "score": str(report.score),
        "max_score": str(report.max_score),
        "graded": str(report.graded).lower(),
        "complete": str(report.complete).lower(),
        "seed": str(report.seed),
        "runtime": report.runtime,
        "isolation": " ".join(report.isolation),
        **{f"version of {name}": version for name, version in report.versions.items()},
    }


def _case(report: Report, result: Result) -> ET.Element:
    lab, _, name = result.check.partition("/")
    case = ET.Element(
        "testcase",
        classname=f"{lab}.skill-{result.skill:02d}",
        name=f"{name}: {plain(result.title)}",
        time=f"{result.seconds:.3f}",
    )
    if element := _ELEMENT.get(result.verdict):
        saw, expected, hint = explanation(report, result)
        said = ET.SubElement(case, element, type=result.verdict.value, message=saw)
        said.text = "\n".join(
            text for text in (saw, expected and f"Expected: {expected}", hint and f"Hint: {hint}") if text
        )
    if result.evidence:
        ET.SubElement(case, "system-out").text = "\n\n".join(
            f"--- {plain(evidence.title)}\n"
            + (load_summary(evidence) if evidence.kind == "load" else plain(evidence.text))
            for evidence in result.evidence
        )
    return case
