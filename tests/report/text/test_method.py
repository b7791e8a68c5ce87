from kdbench.report.text.method import grouped_warnings
from kdbench.results.records import Diagnostic


def test_warnings_are_grouped_by_code_and_remedy_in_order(sample):
    quiet, cool = "measure when the machine is otherwise idle", "let it cool"
    warnings = (
        Diagnostic(code="load", message="before", remedy=quiet),
        Diagnostic(code="unstable", message="sessions differ", remedy="measure again", model="t"),
        Diagnostic(code="load", message="meanwhile", remedy=quiet),
        Diagnostic(code="throttled", message="hot", remedy=cool),
        Diagnostic(code="throttled", message="stopped", remedy="raise the limit"),
        Diagnostic(code="unstable", message="blocks differ", remedy="measure again", model="s"),
    )
    groups = grouped_warnings(sample.model_copy(update={"warnings": warnings}))
    assert [(c.code, c.reasons) for c in groups] == [
        ("load", ((None, "before"), (None, "meanwhile"))),
        ("unstable", (("t", "sessions differ"), ("s", "blocks differ"))),
        ("throttled", ((None, "hot"),)),
        ("throttled", ((None, "stopped"),)),
    ]


def test_a_record_without_warnings_has_no_grouped_warnings(sample):
    assert grouped_warnings(sample.model_copy(update={"warnings": ()})) == []
