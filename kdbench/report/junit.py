"""A comparison as JUnit XML, which CI systems show as tests: one case for each number.

A number that could not be judged is an `error`, which is what a test that could not be decided is there, and which CI
systems count against the build. `skipped` would show as a pass with a grey mark: a missing number never passes.
"""

import re
from xml.etree import ElementTree as ET

from kdbench.report.comparison import change_in_words, explanations, metric_in_words, model_in_words, verdict_line
from kdbench.report.portable import portable
from kdbench.verdicts import Change, Compared, Comparison

_ELEMENT: dict[Change, str] = {"regressed": "failure", "inconclusive": "error"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no character of XML 1.0


def junit(comparison: Comparison) -> str:
    """Return the document; it depends on nothing but the comparison.

    It has what both common schemas require, Jenkins' and that of Windy Road for Ant: a host and times are asked for,
    and neither means anything here.
    """
    outcomes = [row.outcome for row in comparison.rows]
    suite = ET.Element(
        "testsuite",
        {
            "name": "kdbench compare",
            "package": "kdbench",
            "id": "0",
            "hostname": "localhost",
            "timestamp": comparison.created[:19],
            "tests": str(len(outcomes) + len(comparison.identical)),
            "failures": str(outcomes.count("regressed")),
            "errors": str(outcomes.count("inconclusive")),
            "time": "0",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("base", comparison.base), ("new", comparison.new), ("overall", comparison.overall)):
        ET.SubElement(properties, "property", {"name": name, "value": _text(value)})
    for row in comparison.rows:
        _case(suite, model_in_words(row), metric_in_words(row), row)
    for model in comparison.identical:
        _case(suite, model, "the same file")
    said = [verdict_line(comparison), *comparison.notes, *explanations(comparison)]
    ET.SubElement(suite, "system-out").text = _text("\n".join(said))
    ET.SubElement(suite, "system-err")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, model: str, name: str, row: Compared | None = None) -> None:
    case = ET.SubElement(suite, "testcase", {"classname": _text(model), "name": _text(name), "time": "0"})
    if row is not None and row.outcome in _ELEMENT:
        message = "; ".join(part for part in (change_in_words(row), row.reason) if part)
        told = ET.SubElement(case, _ELEMENT[row.outcome], {"message": _text(message), "type": row.outcome})
        told.text = _text("\n".join(part for part in (message, row.remedy) if part))


def _text(text: str) -> str:
    """Return text as XML may hold it and others may read it: without control characters, without paths."""
    return _FORBIDDEN.sub("", portable(text))
