"""A comparison as JUnit XML, which CI systems show as tests: one case for each number.

A number that could not be judged is an `error`, which is what a test that could not be decided is there, and which CI
systems count against the build. `skipped` would show as a pass with a grey mark: a missing number never passes.
"""

import re
from xml.etree import ElementTree as ET

from kdbench.report.portable import portable
from kdbench.report.text.comparison import change_in_words, explanations, metric_in_words, model_in_words, verdict_line
from kdbench.results.comparisons import Change, Comparison

_ELEMENT: dict[Change, str] = {"regressed": "failure", "inconclusive": "error"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no character of XML 1.0


def junit(comparison: Comparison) -> str:
    """Return the document; it depends on nothing but the comparison.

    It has what both common schemas require, Jenkins' and that of Windy Road for Ant: a host and times are asked for,
    and neither means anything here.
    """
    outcomes = [row.outcome for row in comparison.rows]
    nothing = not outcomes and not comparison.identical and not comparison.lost
    suite = ET.Element(
        "testsuite",
        {
            "name": "kdbench compare",
            "package": "kdbench",
            "id": "0",
            "hostname": "localhost",
            "timestamp": comparison.created[:19],
            "tests": str(len(outcomes) + len(comparison.identical) + len(comparison.lost) + nothing),
            "failures": str(outcomes.count("regressed")),
            "errors": str(outcomes.count("inconclusive") + len(comparison.lost) + nothing),
            "time": "0",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("base", comparison.base), ("new", comparison.new), ("overall", comparison.overall)):
        ET.SubElement(properties, "property", {"name": name, "value": _text(value)})
    for row in comparison.rows:
        case = _case(suite, model_in_words(row), metric_in_words(row))
        _told(case, row.outcome, "; ".join(filter(None, (change_in_words(row), row.reason))), row.remedy)
    for model in comparison.identical:
        _case(suite, model, "the same file")
    for model in comparison.lost:
        _told(_case(suite, model, "any number"), "inconclusive", "the new one has no such model")
    if nothing:  # of no cases at all, CI would say that none failed
        _told(_case(suite, "kdbench compare", "any number"), "inconclusive", "there was nothing to compare")
    said = [verdict_line(comparison), *comparison.notes, *explanations(comparison)]
    ET.SubElement(suite, "system-out").text = _text("\n".join(said))
    ET.SubElement(suite, "system-err")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, model: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": _text(model), "name": _text(name), "time": "0"})


def _told(case: ET.Element, outcome: Change, message: str, remedy: str = "") -> None:
    """Add to a case why it is none that passed, if so."""
    if outcome in _ELEMENT:
        told = ET.SubElement(case, _ELEMENT[outcome], {"message": _text(message), "type": outcome})
        told.text = _text("\n".join(filter(None, (message, remedy))))


def _text(text: str) -> str:
    """Return text as XML may hold it and others may read it: without control characters, without paths."""
    return _FORBIDDEN.sub("", portable(text))
