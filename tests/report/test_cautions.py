from kdbench.report.text.method import grouped_warnings
from kdbench.results.records import Diagnostic


def test_what_has_one_remedy_is_said_together_in_the_order_of_the_first(sample):
    quiet, cool = "measure when the machine is otherwise idle", "let it cool"
    warned = (
        Diagnostic(code="load", message="before", remedy=quiet),
        Diagnostic(code="unstable", message="sessions differ", remedy="measure again", model="t"),
        Diagnostic(code="load", message="meanwhile", remedy=quiet),
        Diagnostic(code="throttled", message="hot", remedy=cool),
        Diagnostic(code="throttled", message="stopped", remedy="raise the limit"),
        Diagnostic(code="unstable", message="blocks differ", remedy="measure again", model="s"),
    )
    found = grouped_warnings(sample.model_copy(update={"warnings": warned}))
    assert [(c.code, c.reasons) for c in found] == [
        ("load", ((None, "before"), (None, "meanwhile"))),
        ("unstable", (("t", "sessions differ"), ("s", "blocks differ"))),
        ("throttled", ((None, "hot"),)),
        ("throttled", ((None, "stopped"),)),
    ]


def test_a_record_without_warnings_has_no_grouped_warnings(sample):
    assert grouped_warnings(sample.model_copy(update={"warnings": ()})) == []
