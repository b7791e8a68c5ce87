"""A comparison as JUnit XML, which CI systems show as tests: one case for each value.

A value that could not be judged is an `error`, which CI systems count against the build. `skipped` would look like a
pass, and a missing value never passes.
"""

from xml.etree import ElementTree as ET

from kdbench.characters import visible
from kdbench.report.cells import portable
from kdbench.report.text.comparison import change_text, explanations, metric_text, model_text, verdict_line
from kdbench.results.comparisons import Change, Comparison

_ELEMENT: dict[Change, str] = {"regressed": "failure", "inconclusive": "error"}


def junit(comparison: Comparison) -> str:
    """Return the document; it depends only on the comparison.

    It conforms to both common schemas, Jenkins' and Windy Road's for Ant; the host and times that they require are
    constants.
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
            "timestamp": _text(comparison.created[:19]),
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
        case = _case(suite, model_text(row), metric_text(row))
        _add_outcome(case, row.outcome, "; ".join(filter(None, (change_text(row), row.reason))), row.remedy)
    for model in comparison.identical:
        _case(suite, model, "the same file")
    for model in comparison.lost:
        _add_outcome(_case(suite, model, "any value"), "inconclusive", "the new run does not have this model")
    if nothing:  # without any case, CI would report a pass
        _add_outcome(_case(suite, "kdbench compare", "any value"), "inconclusive", "nothing to compare")
    output = [verdict_line(comparison), *comparison.notes, *explanations(comparison)]
    ET.SubElement(suite, "system-out").text = _text("\n".join(output))
    ET.SubElement(suite, "system-err")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, model: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": _text(model), "name": _text(name), "time": "0"})


def _add_outcome(case: ET.Element, outcome: Change, message: str, remedy: str = "") -> None:
    """Add failure or error to a case, unless it passed."""
    if outcome in _ELEMENT:
        node = ET.SubElement(case, _ELEMENT[outcome], {"message": _text(message), "type": outcome})
        node.text = _text("\n".join(filter(None, (message, remedy))))


def _text(text: str) -> str:
    """Return text without paths, and with control characters, which XML forbids, as their codes."""
    return visible(portable(text))
