"""The comparison of two records: what is compared at all, and its outcome."""

import itertools

import numpy as np
import pytest
from judge.compare.small_runs import AT, HOST, around, both, card, latency, only, record

from kdbench.errors import InputError
from kdbench.judge.compare.records import compare
from kdbench.judge.compare.thresholds import Thresholds
from kdbench.results.records import measured, missing


@pytest.mark.parametrize("host", [{**HOST, "cpu": "Other CPU"}, {**HOST, "cores_physical": 8}, {}])
def test_another_machine_never_passes(host):
    def record_on(where, size):
        return record(
            latency("student", 1000.0),
            measured("student", "peak_memory_bytes", 5e7, axes=AT, n=3),
            measured("student", "size_bytes", size),
            host=where,
        )

    comparison = compare(record_on(HOST, 1000), record_on(host, 1000))
    assert {row.metric: row.outcome for row in comparison.rows} == {
        "latency_p50_ns": "inconclusive",
        "peak_memory_bytes": "inconclusive",
        "size_bytes": "same",
    }
    assert comparison.overall == "inconclusive"
    assert all("another machine" in row.reason for row in comparison.rows if row.outcome == "inconclusive")
    assert compare(record_on(HOST, 1000), record_on(host, 2000)).overall == "regressed"


@pytest.mark.parametrize(
    "new",
    [
        (),
        (missing("student", "latency_p50_ns", "killed by signal 9", status="error", axes=AT),),
        (measured("student", "latency_p50_ns", 500.0, axes=AT, unstable="sessions differ by 31 %"),),
        (latency("student", 500.0, evidence="estimated"),),
        (measured("student", "latency_p50_ns", 500.0, axes=AT),),
        (measured("student", "latency_p50_ns", 500.0, axes={**AT, "threads": 2}, interval=around(500.0, 0.01)),),
    ],
    ids=["missing", "failed", "unstable", "estimated", "without an interval", "at other axes"],
)
def test_what_is_not_known_never_passes(new):
    sound = record(latency("student", 1000.0))
    for pair in ((sound, record(*new)), (record(*new), sound)):
        comparison = compare(*pair)
        assert [row.outcome for row in comparison.rows] == ["inconclusive"]
        assert comparison.rows[0].reason
        assert comparison.exit_code == 2


def test_the_prediction_for_an_example_is_not_compared():
    """Reports show the first sample that standardization ranks right: a student may learn it, and forget another."""

    def run(right):
        example = {"sample": 7, "class": 2, "beside": "alone"}
        top1 = measured("student", "top1", 0.9, n=360, interval=around(0.9, 0.01))
        return record(top1, measured("student", "top1", right, axes=example, n=1))

    for base, new in ((1.0, 0.0), (0.0, 1.0)):
        comparison = compare(run(base), run(new))
        assert [row.axes for row in comparison.rows] == [{}]
        assert not any("sample" in note for note in comparison.notes)


def test_what_neither_has_is_left_out_and_named_if_it_was_asked_for():
    bare = record(
        measured("student", "size_bytes", 1000), missing("student", "energy_j", "no counter", axes=AT), models=None
    )
    comparison = compare(bare, bare)
    assert [row.metric for row in comparison.rows] == ["size_bytes"]
    assert comparison.notes == ()
    comparison = compare(bare, bare, metrics=["size_bytes", "energy_j"])
    assert comparison.notes == ("energy_j: neither has a number",)


def test_what_failed_in_both_is_no_pass():
    broken = record(
        missing("student", "latency_p50_ns", "killed by signal 9", status="error", axes=AT),
        measured("student", "size_bytes", 1000),
    )
    assert [row.outcome for row in compare(broken, broken).rows] == ["inconclusive", "same"]


def test_nothing_to_compare_is_no_pass():
    assert compare(record(), record()).overall == "inconclusive"


def test_estimated_energy_gates_only_where_it_is_asked_for():
    of = record(
        measured("student", "size_bytes", 1000), measured("student", "energy_j", 0.1, axes=AT, evidence="estimated")
    )
    assert compare(of, of).overall == "same"
    assert compare(of, of).notes == ("energy_j is estimated, and decides nothing",)
    assert compare(of, of, metrics=["energy_j"]).overall == "inconclusive"


def test_energies_of_two_meters_are_not_compared():
    base, new = (
        record(
            measured("student", "energy_j", 0.1, axes=AT, interval=around(0.1, 0.01), source=source),
            models=(card("student", source[0]),),
        )
        for source in ("a meter", "b meter")
    )
    row = only(compare(base, new), "energy_j")
    assert (row.outcome, row.reason) == ("inconclusive", "metered by a meter and by b meter")


def test_axes_that_one_record_has_alone_are_told():
    wide = {**AT, "batch": 128}
    base = record(latency("student", 1000.0), latency("student", 9000.0).model_copy(update={"axes": wide}))
    comparison = compare(base, record(latency("student", 1000.0)))
    assert [row.outcome for row in comparison.rows] == ["same"]
    assert "batch 128: the base only" in comparison.notes[0]


def test_a_threshold_can_only_make_it_milder():
    severity = {"regressed": 2, "inconclusive": 1, "improved": 0, "same": 0}
    for ratio, half in itertools.product((3.5, 4.5, 4.8, 5.0, 5.2, 6.0), (0.002, 0.02, 0.1)):
        records = both(1000.0, 1000.0, 5.0, ratio, half)
        outcomes = [
            only(compare(*records, thresholds=Thresholds(relative=share))).outcome for share in np.linspace(0, 0.9, 46)
        ]
        graded = [severity[outcome] for outcome in outcomes]
        assert graded == sorted(graded, reverse=True)


def test_the_worst_of_all_is_the_outcome():
    def of(size, macs):
        return record(measured("student", "size_bytes", size), measured("student", "macs", macs))

    assert compare(of(100, 100), of(100, 50)).overall == "improved"
    assert compare(of(100, 100), of(200, 50)).overall == "regressed"
    assert compare(of(100, 100), of(100, 100)).exit_code == 0
    assert compare(of(100, 100), of(200, 100)).exit_code == 1


def test_a_model_that_is_gone_never_passes():
    size = measured("student", "size_bytes", 100)
    two = (card("student"), card("lost", "1"))
    base = record(size, measured("lost", "size_bytes", 100), models=two)
    result = compare(base, record(size))
    assert (result.overall, result.lost, result.exit_code) == ("inconclusive", ("lost",), 2)
    assert compare(base, record(size), models={"student": "student"}).overall == "same"
    result = compare(record(size), base)
    assert (result.overall, result.added) == ("same", ("lost",))


def test_a_metric_without_a_better_direction_or_unknown_is_refused():
    with pytest.raises(InputError, match="unknown metric 'top2'"):
        compare(record(), record(), metrics=["top2"])
    with pytest.raises(InputError, match="latency_ratio is of a model and its teacher"):
        compare(record(), record(), metrics=["latency_ratio"])
