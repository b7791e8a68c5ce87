"""JUnit XML of `kdbench compare` and of `pytest --junitxml`, validated against the schema of Jenkins' xUnit plug-in."""

import json
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from libraries import require

from kdbench.report.render.junit import junit
from kdbench.results.comparisons import ComparedMetric, Comparison

require("xmlschema")

ROW = {"base_model": "student", "new_model": "student", "metric": "top1", "unit": "share", "threshold": 0.5}
CONTROL = "a name \x00 with \x1b, <tags>, \"quotes\" & 'more'"
CHECK = """
from kdbench.testing.check_results import CheckResult

def test_limit(request):
    for what, passed in (("size_bytes", True), ("top1", False)):
        result = CheckResult("a \\x1b<model>.onnx", what, "1 kB", "at most 2 kB", "PASS", passed, "", "", {})
        request.node.user_properties.append(result.to_property())

def test_failing():
    assert 0
"""


def comparison(*outcomes, **fields):
    rows = tuple(ComparedMetric(**ROW, outcome=outcome, reason=CONTROL) for outcome in outcomes)
    values = {"base": CONTROL, "new": "b", "overall": "same", "created": "2026-01-02T03:04:05+00:00", "rows": rows}
    return Comparison(**{**values, **fields})


@pytest.fixture(scope="module")
def schema():
    """The schema of Jenkins' plug-in."""
    import xmlschema

    return xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


@pytest.mark.parametrize(
    "compared",
    [
        comparison("same", "regressed", "inconclusive", "improved"),
        comparison(lost=("gone",), identical=("teacher",)),
        comparison(overall="inconclusive"),
    ],
    ids=["all outcomes", "lost and identical", "nothing"],
)
def test_a_comparison_is_valid(compared, schema):
    schema.validate(junit(compared))


def test_the_schema_refuses_what_jenkins_refuses(schema):
    text = junit(comparison("same"))
    assert not schema.is_valid(text.replace("<testcase", "<testcase extra='1'"))
    properties = '<properties><property name="a" value="1" /></properties>'
    assert not schema.is_valid(text.replace('time="0" />', f'time="0">{properties}</testcase>'))


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_a_session_with_checks_is_valid_and_holds_them(pytester, schema, workers):
    if workers:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    pytester.makepyfile(test_checks=CHECK)
    plugin = () if list(entry_points(group="pytest11", name="kdbench")) else ("-p", "kdbench.pytest_plugin")
    pytester.runpytest_subprocess(*plugin, "--junitxml=out.xml", *workers)
    text = (pytester.path / "out.xml").read_text("utf-8")
    schema.validate(text)
    held = [json.loads(it.get("value")) for it in ET.fromstring(text).iter("property") if it.get("name") == "kdbench"]
    assert sorted((it["test"], it["what"]) for it in held) == [
        ("test_checks.py::test_limit", "size_bytes"),
        ("test_checks.py::test_limit", "top1"),
    ]
