"""What a comparison says: on the terminal, in a pull request, to a CI system."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from kdbench.report.render.junit import junit
from kdbench.report.render.terminal import one_table
from kdbench.report.text.comparison import comparison_table, markdown, remarks, sentence, verdict_line
from kdbench.results.comparisons import ComparedMetric, Comparison
from kdbench.results.records import Interval

AT = {"provider": "cpu", "threads": 1, "batch": 1}
GOLDEN = Path(__file__).parents[1] / "golden" / "comparison.md"


def row(metric="latency_p50_ns", outcome="same", **changes):
    unit = {"top1": "share", "latency_p50_ns": "ns", "size_bytes": "bytes", "energy_j": "J"}[metric]
    values = {"base_model": "student-kd", "new_model": "student-kd", "metric": metric, "unit": unit, "threshold": 0.05}
    return ComparedMetric(**{**values, "outcome": outcome, **changes})


SLOWER = row(
    outcome="regressed",
    axes=AT,
    base=226_000.0,
    new=274_000.0,
    change=1.212,
    interval=Interval(low=1.19, high=1.237),
    n=60,
    way="paired",
)
WORSE = row(
    "top1",
    "inconclusive",
    base=0.9778,
    new=0.975,
    change=-0.28,
    interval=Interval(low=-1.5, high=0.94),
    threshold=0.5,
    way="paired",
    reason="too uncertain: a change worse than the threshold is not ruled out",
    remedy="score more test images",
)
UNKNOWN = row(
    "energy_j",
    "inconclusive",
    axes=AT,
    reason="taken on another machine: cpu A|B <1> → C",
    remedy="measure both side by side with --remeasure",
)
BESIDE = row(
    axes={**AT, "batch": 128},
    base=31e6,
    new=30e6,
    change=0.99,
    interval=Interval(low=0.97, high=1.01),
    way="anchored",
    anchor="teacher",
)
SAME_FILE = row(
    axes=AT, base_model="teacher", new_model="teacher", base=1e6, new=1.2e6, change=1.0, way="anchored",
    anchor="teacher", reason="the same file: a difference comes from the machine",
)  # fmt: skip
SMALLER = row(
    "size_bytes",
    "improved",
    base_model="student-hint",
    new_model="student-q8",
    base=381_000.0,
    new=99_000.0,
    change=0.26,
    threshold=0.01,
    way="exact",
)


def comparison(*rows, overall="regressed", **changes):
    values = {
        "base": "digits of 2025-06-01T12:00:00+00:00, kdbench 0123abc, on Example CPU",
        "new": "digits of 2025-06-02T12:00:00+00:00, kdbench 4567def, on Example CPU",
        "created": "2025-06-02T13:00:00+00:00",
        "overall": overall,
        "rows": rows,
    }
    return Comparison(**{**values, **changes})


@pytest.fixture
def full():
    return comparison(
        SMALLER,
        SAME_FILE,
        BESIDE,
        WORSE,
        UNKNOWN,
        SLOWER,
        lost=("student-old",),
        added=("student-fresh",),
        notes=("other software versions, which may be the cause: torch 2.4 → 2.5",),
    )


def test_the_comment_is_as_it_was_reviewed(full):
    assert markdown(full) == GOLDEN.read_text()


def test_the_comments_table_is_a_table(full):
    lines = [line for line in markdown(full).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert markdown(full).count("<details>") == markdown(full).count("</details>") == 2


def test_a_comment_of_many_values_has_the_worst_ones_and_fits(full):
    for name, shortest in (("model", 200), ("model-" * 40, 100)):
        many = [SAME_FILE.model_copy(update={"new_model": f"{name}-{number}"}) for number in range(2000)]
        text = markdown(comparison(*many, *full.rows))
        lines = [line for line in text.splitlines() if line.startswith("|")][2:]
        assert shortest <= len(lines) <= 200
        assert len(text) <= 60_000
        assert f"Shown are {len(lines)} of {2000 + len(full.rows):,} values" in text
        assert [line.split()[1] for line in lines[:5]] == ["✗", "?", "?", "✓", "✓"]


def test_the_worst_comes_first(full):
    outcomes = [row.cells[0].text for row in comparison_table(full).rows]
    assert outcomes == ["✗ regressed", *["? inconclusive"] * 2, "✓ improved", *["✓ same"] * 2]


def test_inconclusive_change_has_reason_and_remedy(full):
    assert comparison_table(full).footnotes == (
        "Too uncertain: a change worse than the threshold is not ruled out. Score more test images.",
        "Taken on another machine: cpu A|B <1> → C. Measure both side by side with --remeasure.",
    )


def test_the_verdict_names_what_got_worse(full):
    assert verdict_line(full) == (
        "✗ REGRESSED: Of 6 values of 3 models, 1 got worse: student-kd, Latency p50, batch 1, 1 thread: "
        "+21.2 % [+19.0, +23.7]. Missing models: student-old."
    )


@pytest.mark.parametrize(
    ("rows", "overall", "text"),
    [
        ((BESIDE,), "same", "Of 1 value of 1 model, none is worse by more than its threshold."),
        (
            (WORSE,),
            "inconclusive",
            "could not be judged, and none is known to be worse: student-kd, Top-1: -0.28 points",
        ),
        ((SMALLER, BESIDE), "improved", "student-hint → student-q8, Model size: -74.0 %."),
        ((SLOWER,) * 5, "regressed", "; and 2 more."),
        ((), "inconclusive", "Nothing to compare."),
    ],
)
def test_the_verdict_in_a_sentence(rows, overall, text):
    assert text in sentence(comparison(*rows, overall=overall))


def test_files_that_are_the_same_are_named():
    compared = comparison(overall="same", remeasured=True, identical=("teacher", "student-kd"))
    assert verdict_line(compared) == "✓ SAME: Nothing changed: the files are the same."
    assert remarks(compared) == ["Identical files, not measured: teacher, student-kd."]
    assert "|" not in markdown(compared)


def test_long_lists_of_models_are_cut(full):
    many = full.model_copy(update={"lost": (), "added": tuple(f"m{number}" for number in range(30))})
    assert remarks(many)[0].endswith("m7, and 22 more.")


@pytest.mark.parametrize("width", [100, 140])
def test_the_table_fits_the_terminal(full, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(one_table(comparison_table(full)))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any("regressed" in line and "student-kd" in line for line in lines)


def test_junit_has_a_case_for_every_number_and_calls_what_is_not_known_an_error(full):
    suite = ET.fromstring(junit(full)).find("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "7",
        "failures": "1",
        "errors": "3",
    }
    cases = suite.findall("testcase")
    assert len(cases) == 7
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert (failed.get("classname"), failed.get("name")) == ("student-kd", "Latency p50, batch 1, 1 thread")
    assert failed.find("failure").get("message") == "+21.2 % [+19.0, +23.7]"
    errors = [case.find("error").get("message") for case in cases if case.find("error") is not None]
    assert "taken on another machine: cpu A|B <1> → C" in errors
    assert "the new run does not have this model" in errors


def test_junit_is_in_the_order_that_the_schemas_ask_for(full):
    root = ET.fromstring(junit(full))
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    order = [child.tag for child in suite]
    assert order == ["properties", *["testcase"] * 7, "system-out", "system-err"]
    # What the schema of Windy Road requires, which is the strictest in use.
    assert {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "id", "package"} == set(
        suite.keys()
    )
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}", suite.get("timestamp"))
    for case in suite.findall("testcase"):
        assert set(case.keys()) == {"classname", "name", "time"}
        assert all(set(node.keys()) == {"message", "type"} for node in case)


def test_junit_holds_what_xml_cannot_and_depends_on_nothing_else(full):
    odd = full.model_copy(update={"base": 'a "quoted" & <tagged> \x00\x1b name in /home/somebody/runs/a'})
    assert junit(odd) == junit(odd)
    properties = {p.get("name"): p.get("value") for p in ET.fromstring(junit(odd)).iter("property")}
    assert properties["base"] == 'a "quoted" & <tagged> \\x00\\x1b name in a'


def test_missing_model_is_named_if_nothing_else_changed():
    compared = comparison(BESIDE, overall="inconclusive", lost=("student-old",))
    assert verdict_line(compared) == (
        "? INCONCLUSIVE: Of 1 value of 1 model, none is worse by more than its threshold. Missing models: student-old."
    )
    assert "student-old. A missing model never passes" in remarks(compared)[0]


def test_junit_of_nothing_is_no_pass():
    suite = ET.fromstring(junit(comparison(overall="inconclusive"))).find("testsuite")
    (case,) = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert case.find("error").get("message") == "nothing to compare"


def test_metric_text_includes_its_axes():
    axes = {"class": "3", "provider": "cpu"}
    table = comparison_table(comparison(row("top1", axes=axes, base=0.5, new=0.5), overall="same"))
    assert table.title == "What changed at cpu provider"
    assert table.rows[0].cells[2].text == "Top-1, class 3"


def test_junit_has_a_case_for_a_file_that_is_the_same():
    suite = ET.fromstring(junit(comparison(overall="same", identical=("teacher",)))).find("testsuite")
    (case,) = suite.findall("testcase")
    assert (case.get("classname"), case.get("name"), len(case)) == ("teacher", "the same file", 0)
