"""The outcome of ``graphopt check`` for machines: JUnit XML and a Markdown summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from graphopt.analysis.check import Check

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # fixed: by XML 1.0


def junit(check: Check) -> str:
    """A test suite with a test case for each limit, as CI systems read it."""
    failures = sum(not criterion.passed for criterion in check.criteria)
    counts = {"tests": str(len(check.criteria)), "failures": str(failures)}
    suite = ElementTree.Element("testsuite", {"name": "graphopt check", **counts})
    for criterion in check.criteria:
        names = {"classname": _text(check.model), "name": _text(criterion.name)}
        case = ElementTree.SubElement(suite, "testcase", names)
        if criterion.passed:
            ElementTree.SubElement(case, "system-out").text = _text(criterion.text)
        else:
            ElementTree.SubElement(case, "failure", {"message": _text(criterion.text)})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"


def markdown(check: Check) -> str:
    """A table for the summary of a pipeline run."""
    verdict = "passed" if check.passed else "FAILED"
    lines = [
        f"### graphopt check: {verdict}",
        "",
        f"`{_cell(check.model)}` against `{_cell(check.baseline)}`",
    ]
    lines += ["", "| limit | | measured |", "|---|---|---|"]
    for criterion in check.criteria:
        mark = "ok" if criterion.passed else "**failed**"
        lines.append(f"| {_cell(criterion.name)} | {mark} | {_cell(criterion.text)} |")
    lines += [f"\nwarning: {_cell(text)}" for text in check.warnings]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return _FORBIDDEN.sub("?", value)


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
