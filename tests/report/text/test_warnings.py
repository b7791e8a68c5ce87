from kdbench.report.text.warnings import grouped_warnings
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
    assert [(group.code, [(reason.models, reason.message) for reason in group.reasons]) for group in groups] == [
        ("load", [((), "before"), ((), "meanwhile")]),
        ("unstable", [(("t",), "sessions differ"), (("s",), "blocks differ")]),
        ("throttled", [((), "hot")]),
        ("throttled", [((), "stopped")]),
    ]


def test_a_warning_of_many_models_is_one_reason_with_the_range_of_its_quantities(sample):
    def group(count, **more):
        warnings = [Diagnostic(code="near_floor", message=f"3 of {n} µs", model=f"m{n}") for n in range(10, 10 + count)]
        (only,) = grouped_warnings(sample.model_copy(update={"warnings": (*warnings, *more.get("run", ()))}))
        return only

    (reason,) = group(11).reasons
    assert (reason.named, reason.others) == (("m10", "m11", "m12"), 8)
    assert reason.message == "3 of 10 to 20 µs"
    (reason,) = group(4).reasons
    assert (reason.named, reason.others) == (("m10", "m11", "m12", "m13"), 0)
    about_models, about_run = group(2, run=[Diagnostic(code="near_floor", message="3 of 9 µs")]).reasons
    assert (about_models.models, about_run.models, about_run.message) == (("m10", "m11"), (), "3 of 9 µs")


def test_a_record_without_warnings_has_no_grouped_warnings(sample):
    assert grouped_warnings(sample.model_copy(update={"warnings": ()})) == []
