"""A report: all verdicts of one submission, and everything rendered from them."""

from autograder.report.model import Evidence, Finding, Report, Result, Verdict, report_schema

__all__ = ["Evidence", "Finding", "Report", "Result", "Verdict", "report_schema"]
