"""What a sweep's record keeps of the warnings of its parts."""

from kdbench.results.records import Diagnostic
from kdbench.workflows.sweeping.merging import _about_parts, _Collected


def test_equal_warnings_of_many_parts_are_counted_beside_the_first_ones_and_those_of_models_are_all_kept():
    collected = _Collected()
    for part in range(10):
        busy = Diagnostic(code="busy", message=f"other work kept {part} cores busy", remedy="wait")
        virtual = Diagnostic(code="virtual", message="a virtual machine", remedy="")
        collected._add_warnings(
            [busy, virtual, Diagnostic(code="busy", message="its call", remedy="wait", model=f"m{part}")]
        )
    collected._add_warnings([Diagnostic(code="busy", message="all of them", remedy="stop it")])

    kept = [*collected.warnings.values(), *_about_parts(collected)]
    busy = [one.message for one in kept if (one.code, one.remedy, one.model) == ("busy", "wait", None)]
    assert busy == [
        *(f"other work kept {n} cores busy" for n in range(3)),
        "7 more such warnings are in parts/*/record.json",
    ]
    assert [one.model for one in kept if one.model] == [f"m{n}" for n in range(10)]
    assert [one.message for one in kept if one.code == "virtual"] == ["a virtual machine"]
    assert [one.message for one in kept if one.remedy == "stop it"] == ["all of them"]
