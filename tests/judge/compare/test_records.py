"""The rule, the ways of comparing, and that nothing passes which was not shown."""

import itertools
import math

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.judge.compare.matching import Match, other_runtime
from kdbench.judge.compare.records import compare, compare_matches
from kdbench.judge.compare.strategies import RecordPair
from kdbench.judge.compare.thresholds import Thresholds
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, Pair, RunRecord, measured, missing

AT = {"provider": "cpu", "threads": 1, "batch": 1}
HOST = {"cpu": "Example CPU", "machine": "x86_64", "cores_physical": 4}


def card(name, sha="0", role="student", **changes):
    values = {"file": f"{name}.onnx", "sha256": sha * 64, "input_shape": (1, 8, 8), "classes": 10, "parameters": 9}
    return ModelCard(id=name, name=name, role=role, **{**values, **changes})


def around(value, half):
    """Return the interval half a factor of `1 + half` to both sides."""
    return Interval(low=value / (1 + half), high=value * (1 + half))


def latency(model, ns, half=0.005, **changes):
    return measured(model, "latency_p50_ns", ns, axes=AT, interval=around(ns, half), n=100, **changes)


def speed_up(ratio, half=0.01, teacher="teacher", student="student", metric="latency_ratio"):
    interval = around(ratio, half)
    return Pair(metric=metric, teacher=teacher, student=student, axes=AT, value=ratio, interval=interval, n=9)


def record(*measurements, models=None, pairs=(), host=HOST, libraries=(("onnxruntime", "1.22.0"),), **protocol):
    return RunRecord(
        kind="run",
        name="tiny",
        created="2025-01-01T00:00:00Z",
        command="kdbench run tiny",
        environment=Environment(host=dict(host), libraries=dict(libraries)),
        models=models or (card("student"),),
        measurements=measurements,
        pairs=pairs,
        protocol=protocol,
    )


def both(base_ns, new_ns, base_ratio, new_ratio, half=0.01):
    """Return two records in which the student was retrained and its teacher is the same file."""
    return [
        record(
            latency("teacher", ns * ratio),
            latency("student", ns),
            models=(card("teacher", "a", "teacher"), card("student", sha)),
            pairs=(speed_up(ratio, half),),
        )
        for ns, ratio, sha in ((base_ns, base_ratio, "1"), (new_ns, new_ratio, "2"))
    ]


def only(comparison, metric="latency_p50_ns", model="student"):
    (row,) = [row for row in comparison.rows if (row.metric, row.new_model) == (metric, model)]
    return row


@pytest.mark.parametrize(
    ("new", "outcome"),
    [(1000, "same"), (995, "same"), (1009, "same"), (1010, "same"), (1011, "regressed"), (980, "improved")],
)
def test_what_is_counted_has_no_uncertainty(new, outcome):
    base, after = (record(measured("student", "size_bytes", size)) for size in (1000, new))
    row = only(compare(base, after), "size_bytes")
    assert (row.outcome, row.way, row.interval) == (outcome, "exact", None)
    assert row.change == new / 1000


@pytest.mark.parametrize(
    ("ratio", "half", "outcome"),
    [
        (5.0, 0.01, "same"),
        (5.0 / 1.2, 0.01, "regressed"),
        (5.0 * 1.2, 0.01, "improved"),
        (5.0, 0.05, "inconclusive"),  # may be 7 % slower
        (5.0 / 1.06, 0.02, "regressed"),
        (5.0 / 1.06, 0.05, "inconclusive"),  # 6 % slower, give or take 7 %
        (5.0 / 1.03, 0.005, "same"),  # significant, and small
        (5.0 / 1.045, 0.01, "inconclusive"),  # significant, and perhaps large
    ],
)
def test_a_model_beside_one_that_is_the_same_in_both(ratio, half, outcome):
    row = only(compare(*both(1000.0, 1000.0, 5.0, ratio, half)))
    assert (row.outcome, row.way, row.anchor) == (outcome, "anchored", "teacher")
    assert row.change == pytest.approx(5.0 / ratio)
    assert math.log(row.interval.high / row.change) == pytest.approx(math.sqrt(2) * math.log(1 + half))
    assert bool(row.reason) == (outcome == "inconclusive")


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_an_interval_that_includes_zero_has_no_ratio(low):
    """A record from elsewhere may hold one: it has no logarithm."""
    base, new = both(100, 130, 3.0, 2.5)
    none = Interval(low=low, high=9.0)
    pairs = (new.pairs[0].model_copy(update={"interval": none}),)
    anchored = compare(base, new.model_copy(update={"pairs": pairs}))
    assert only(anchored).outcome == "inconclusive"
    alone = [record(latency("student", 0.0), models=(card("student", sha),)) for sha in "12"]
    assert only(compare(*alone)).outcome == "inconclusive"


def test_what_the_machine_did_between_two_runs_cancels():
    comparison = compare(*both(1000.0, 1400.0, 5.0, 5.0))
    assert {row.outcome for row in comparison.rows} == {"same"}
    assert comparison.overall == "same"
    assert "the state of the machine differed" in comparison.notes[0]
    assert only(comparison, model="teacher").way == "anchored"


def test_a_ratio_is_sound_where_the_sessions_of_its_models_differ():
    base, new = both(1000.0, 1000.0, 5.0, 4.0)
    shaky = [latency("teacher", 5000.0), latency("student", 1250.0, unstable="sessions differ by 31 %")]
    row = only(compare(base, new.model_copy(update={"measurements": tuple(shaky)})))
    assert (row.outcome, row.way) == ("regressed", "anchored")


def test_another_driver_of_a_gpu_may_be_the_cause_so_nothing_is_anchored():
    at = {**AT, "provider": "cuda"}

    def record_on(sha, driver):
        measurement = measured("student", "latency_p50_ns", 1000.0, axes=at, interval=around(1000.0, 0.005))
        cards = (card("teacher", "a", "teacher"), card("student", sha))
        ratio = speed_up(5.0).model_copy(update={"axes": at})
        return record(measurement, models=cards, pairs=(ratio,), host={**HOST, "gpu_driver": driver})

    assert only(compare(record_on("1", "570.1"), record_on("2", "570.1"))).way == "anchored"
    assert only(compare(record_on("1", "570.1"), record_on("2", "580.2"))).way == "separate"


def test_machines_that_do_not_say_what_they_are_may_be_two():
    base, new = (record(latency("student", 1000.0), host={}) for _ in range(2))
    row = only(compare(base, new))
    assert (row.outcome, row.reason) == ("inconclusive", "measured on another machine: the processor is not known")


@pytest.mark.parametrize(
    "changes",
    [{"evidence": "estimated"}, {"interval": None}, {"axes": {**AT, "batch": 128}}],
    ids=["estimated", "without an interval", "at other axes"],
)
def test_a_ratio_that_cannot_be_relied_on_anchors_nothing(changes):
    base, new = both(1000.0, 1000.0, 5.0, 5.0)
    weak = new.model_copy(update={"pairs": (new.pairs[0].model_copy(update=changes),)})
    assert only(compare(base, weak)).way == only(compare(weak, base)).way == "separate"


def test_a_retrained_teacher_is_compared_beside_its_student():
    base, new = (
        record(
            latency("teacher", 5000.0),
            latency("student", 1000.0),
            models=(card("teacher", sha, "teacher"), card("student", "1")),
            pairs=(speed_up(ratio),),
        )
        for sha, ratio in (("a", 5.0), ("b", 6.0))
    )
    row = only(compare(base, new), model="teacher")
    assert (row.outcome, row.anchor) == ("regressed", "student")
    assert row.change == pytest.approx(1.2)


def test_a_throughput_beside_another_model_gets_better_upwards():
    at = {"provider": "cpu", "threads": 1, "mode": "offline"}
    base, new = (
        record(
            measured("student", "max_throughput_per_s", 100.0, axes=at, interval=around(100.0, 0.01)),
            models=(card("teacher", "a", "teacher"), card("student", sha)),
            pairs=(speed_up(ratio, metric="throughput_ratio").model_copy(update={"axes": at}),),
        )
        for sha, ratio in (("1", 5.0), ("2", 6.0))
    )
    row = only(compare(base, new, metrics=["max_throughput_per_s"]), "max_throughput_per_s")
    assert (row.outcome, row.change) == ("improved", pytest.approx(1.2))


@pytest.mark.parametrize(("new", "outcome"), [(1000, "inconclusive"), (1080, "inconclusive"), (1200, "regressed")])
def test_stored_times_are_as_uncertain_as_the_machine_moves_between_runs(new, outcome):
    base, after = (
        record(latency("student", ns), models=(card("student", sha),)) for ns, sha in ((1000, "1"), (new, "2"))
    )
    row = only(compare(base, after))
    assert (row.outcome, row.way) == (outcome, "separate")
    half = math.hypot(math.log(1.005), math.log(1.005), 1.959964 * 0.04, 1.959964 * 0.04)
    assert row.interval.high == pytest.approx(row.change * math.exp(half))
    if outcome == "inconclusive":
        assert "--remeasure" in row.remedy


def test_another_runtime_may_be_the_cause_so_nothing_is_anchored():
    base, new = both(1000.0, 1300.0, 5.0, 5.0)  # both models slower by 30 %
    new = new.model_copy(update={"environment": Environment(host=HOST, libraries={"onnxruntime": "1.23.0"})})
    comparison = compare(base, new)
    assert [(row.outcome, row.way) for row in comparison.rows] == [("regressed", "separate")] * 2
    assert "onnxruntime 1.22.0 → 1.23.0" in comparison.notes[0]


@pytest.mark.parametrize(("fact", "after"), [("engine", "Chromium 2"), ("version", "1.31.0")])
def test_another_browser_may_be_the_cause_of_other_times_in_it(fact, after):
    at = {**AT, "runtime": "onnxruntime-web"}
    facts = {"version": "1.30.0", "engine": "Chromium 1"}
    base, new = (
        record(latency("student", ns).model_copy(update={"axes": at})).model_copy(
            update={"protocol": {"runtimes": {"onnxruntime-web": of}}}
        )
        for ns, of in ((1000.0, facts), (1300.0, {**facts, fact: after}))
    )
    assert other_runtime(base, new, at) == f"{fact} {facts[fact]} → {after}"
    assert other_runtime(base, new, AT) == ""


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


@pytest.mark.parametrize(("new", "outcome"), [(5.1e7, "same"), (5.3e7, "regressed"), (5.2e7, "inconclusive")])
def test_memory_repeats_within_a_per_cent(new, outcome):
    base, after = (
        record(measured("student", "peak_memory_bytes", value, axes=AT, n=3), models=(card("student", sha),))
        for value, sha in ((5e7, "1"), (new + 1.5e6 * (outcome == "regressed"), "2"))
    )
    row = only(compare(base, after), "peak_memory_bytes")
    assert row.outcome == outcome
    assert row.interval.high == pytest.approx(row.change * 1.01 / 0.99)


def side_by_side(metric, base, new, **changes):
    """Return how two models of one record compare, as after measuring both."""
    joint = record(
        measured("old", metric, base, **changes),
        measured("new", metric, new, **changes),
        models=(card("old"), card("new", "1")),
    )
    records = RecordPair(joint, joint, side_by_side=True)
    (row,) = compare_matches(records, [Match(*joint.models)], [metric]).rows
    return row


@pytest.mark.parametrize(
    ("metric", "pair", "outcome"),
    [
        ("latency_p50_ns", "latency_ratio", "regressed"),
        ("energy_j", "energy_ratio", "regressed"),
        ("max_throughput_per_s", "throughput_ratio", "regressed"),
    ],
)
def test_what_ran_in_turns_is_compared_by_its_ratio(metric, pair, outcome):
    low, high = 0.7, 0.9  # the new one is 0.8 times as good
    ratio = Pair(
        metric=pair, teacher="old", student="new", axes=AT, value=0.8, interval=Interval(low=low, high=high), n=9
    )
    alike = [measured(model, metric, 5.0, axes=AT, interval=around(5.0, 0.3)) for model in ("old", "new")]
    joint = record(*alike, models=(card("old"), card("new", "1")), pairs=(ratio,))
    (row,) = compare_matches(RecordPair(joint, joint, side_by_side=True), [Match(*joint.models)], [metric]).rows
    times = (0.8, 0.7, 0.9) if metric == "max_throughput_per_s" else (1 / 0.8, 1 / 0.9, 1 / 0.7)
    assert (row.outcome, row.way) == (outcome, "paired")
    assert (row.change, row.interval.low, row.interval.high) == pytest.approx(times)


def test_what_ran_in_turns_without_a_ratio_to_rely_on_is_inconclusive():
    alike = [latency(model, 1000.0) for model in ("old", "new")]
    ratio = speed_up(1.0, teacher="old", student="new").model_copy(update={"evidence": "estimated"})
    joint = record(*alike, models=(card("old"), card("new", "1")), pairs=(ratio,))
    (row,) = compare_matches(
        RecordPair(joint, joint, side_by_side=True), [Match(*joint.models)], ["latency_p50_ns"]
    ).rows
    assert (row.outcome, row.reason) == ("inconclusive", "estimated, not measured")


def test_unstable_numbers_and_ratios_are_compared_by_their_intervals():
    shaky = {"status": "unstable", "reason": "sessions differ by 31 %"}
    base, new = both(1000.0, 2000.0, 5.0, 2.5)
    unsure = new.model_copy(
        update={
            "measurements": tuple(m.model_copy(update=shaky) for m in new.measurements),
            "pairs": tuple(pair.model_copy(update=shaky) for pair in new.pairs),
        }
    )
    assert only(compare(base, unsure)) == only(compare(base, new))


def test_what_runs_differ_by_is_counted_once():
    """Widened intervals need no more; those of one run get the metric's `run_to_run`, of two runs each."""
    narrow, wide = around(1000.0, 0.001), around(1000.0, 0.3)
    plain, widened = (
        record(measured("student", "latency_p50_ns", 1000.0, axes=AT, interval=interval, within_run=within))
        for interval, within in ((narrow, None), (wide, narrow))
    )
    row = only(compare(plain, plain.model_copy(update={"models": (card("student", "1"),)})))
    assert math.log(row.interval.high) == pytest.approx(1.96 * math.sqrt(2) * 0.04, rel=0.02)
    row = only(compare(widened, widened.model_copy(update={"models": (card("student", "1"),)})))
    assert math.log(row.interval.high) == pytest.approx(math.log(1.3) * math.sqrt(2), rel=0.3)


def test_of_one_run_only_what_it_shows_itself_counts():
    two = [
        measured(
            model, "latency_p95_ns", 1000.0, axes=AT, interval=around(1000.0, 0.3), within_run=around(1000.0, 0.01)
        )
        for model in ("old", "new")
    ]
    joint = record(*two, models=(card("old"), card("new", "1")))
    (row,) = compare_matches(
        RecordPair(joint, joint, side_by_side=True), [Match(*joint.models)], ["latency_p95_ns"]
    ).rows
    assert row.interval.high == pytest.approx(math.exp(math.sqrt(2) * 0.01), rel=0.002)


def test_memory_measured_again_has_no_other_remedy_than_a_threshold():
    row = side_by_side("peak_memory_bytes", 5e7, 5.2e7, axes=AT)
    assert (row.outcome, row.way) == ("inconclusive", "paired")
    assert "--threshold" in row.remedy


def test_only_top1_is_compared_image_by_image():
    row = side_by_side("top5", 0.95, 0.95, interval=Interval(low=0.9, high=0.98), n=100)
    assert (row.outcome, row.way, row.remedy) == ("inconclusive", "separate", "score more test images")


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


def scored(right, n=1000, sha="1", test_set="t", **more):
    """Return a record and its samples of a model that is right on the images of those numbers."""
    correct = np.isin(np.arange(n), list(right))
    share = float(correct.mean())
    z = 1.959964
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    wilson = Interval(low=(centre - half) / (1 + z * z / n), high=(centre + half) / (1 + z * z / n))
    measurement = measured("student", "top1", share, interval=wilson, n=n)
    return record(measurement, models=(card("student", sha),), test_set_sha256=test_set, **more), {
        "student/correct": correct
    }


def compared(base, new, *, samples=True, **options):
    kept = {"base_samples": base[1], "new_samples": new[1]} if samples else {}
    return only(compare(base[0], new[0], **kept, **options), "top1")


def test_accuracies_are_compared_image_by_image():
    base, new = scored(range(900)), scored(range(850), sha="2")
    row = compared(base, new)
    assert (row.outcome, row.way, row.n) == ("regressed", "paired", 1000)
    assert row.change == pytest.approx(-5)
    assert -7 < row.interval.low < row.interval.high < -3.5
    assert compared(new, base).outcome == "improved"


def test_without_the_samples_two_accuracies_are_independent():
    base, new = scored(range(900)), scored(range(890), sha="2")
    paired, apart = compared(base, new), compared(base, new, samples=False)
    assert (paired.way, apart.way) == ("paired", "separate")
    assert apart.change == pytest.approx(paired.change)
    assert apart.interval.high - apart.interval.low > 3 * (paired.interval.high - paired.interval.low)
    assert "samples.npz" in apart.remedy
    unsaid = scored(range(890), sha="2", test_set=None)
    assert compared(base, unsaid).remedy == "score more test images"  # the samples are there


def test_answers_that_are_the_same_are_the_same_however_few():
    row = compared(scored(range(90), n=100), scored(range(90), n=100, sha="2"))
    assert (row.outcome, row.change, row.interval) == ("same", 0, None)
    assert "exactly the same" in row.reason
    other = compared(scored(range(90), n=100), scored(range(1, 91), n=100, sha="2"))
    assert other.outcome == "inconclusive"


@pytest.mark.parametrize("new", [scored(range(900), test_set="u"), scored(range(900), n=1001)])
def test_accuracies_of_different_images_are_not_compared(new):
    row = compared(scored(range(900)), new)
    assert (row.outcome, row.way) == ("inconclusive", None)


def test_the_same_file_on_the_same_images_is_the_same():
    assert compared(scored(range(900)), scored(range(900)), samples=False).outcome == "same"


def test_samples_that_are_not_those_of_the_record_are_not_believed():
    base, new = scored(range(900)), scored(range(890), sha="2")
    assert compared(base, (new[0], scored(range(800))[1])).way == "separate"


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
    with pytest.raises(InputError, match="unknown metric 'latency_ratio'"):
        compare(record(), record(), metrics=["latency_ratio"])


def drawn(rng, true_ratio, sd):
    """Draw a speed-up that scatters by `sd` between runs, and the interval that a run of it has."""
    return true_ratio * math.exp(rng.normal(0, sd))


@pytest.mark.parametrize(("sd", "half"), [(0.005, 0.010), (0.015, 0.046)])  # of reports/trust: conv and dense
def test_no_change_is_seldom_called_a_regression_and_a_slowdown_is_found(sd, half):
    rng = np.random.default_rng(0)
    alarms = detections = 0
    for _ in range(400):
        machine = rng.normal(0, 0.04)
        before, same, slower = (drawn(rng, ratio, sd) for ratio in (5.0, 5.0, 5.0 / 1.2))
        new_ns = 1000.0 * math.exp(machine)
        alarms += only(compare(*both(1000.0, new_ns, before, same, half))).outcome == "regressed"
        detections += only(compare(*both(1000.0, 1.2 * new_ns, before, slower, half))).outcome == "regressed"
    assert alarms <= 0.01 * 400
    assert detections >= 0.95 * 400


def test_stored_times_alone_seldom_raise_a_false_alarm():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        base, new = (
            record(latency("student", 1000 * math.exp(rng.normal(0, 0.04))), models=(card("student", sha),))
            for sha in ("1", "2")
        )
        alarms += compare(base, new).overall == "regressed"
    assert alarms <= 0.04 * 1000


def erring(errors, sha="1", *, test_set="t"):
    """A regression's record and the samples behind it, of the squared errors of a thousand samples."""
    squared = np.asarray(errors) ** 2
    number = measured("student", "rmse", squared.mean() ** 0.5, interval=around(squared.mean() ** 0.5, 0.05), n=1000)
    made = record(number, models=(card("student", sha),), test_set_sha256=test_set)
    return made, {"student/squared-error": squared}


class TestErrors:
    errors = np.random.default_rng(2).normal(size=1000)

    def compared(self, base, new, **options):
        kept = {"base_samples": base[1], "new_samples": new[1]}
        return only(compare(base[0], new[0], **{**kept, **options}), "rmse")

    def test_they_are_compared_sample_by_sample(self):
        worse = self.errors * 1.1 + 0.01 * np.random.default_rng(3).normal(size=1000)
        paired = self.compared(erring(self.errors), erring(worse, "2"))
        assert (paired.outcome, paired.way, paired.n) == ("regressed", "paired", 1000)
        assert paired.change == pytest.approx((worse**2).mean() ** 0.5 / (self.errors**2).mean() ** 0.5)
        apart = self.compared(erring(self.errors), erring(0.94 * worse, "2"), base_samples={}, new_samples={})
        assert (apart.outcome, apart.way) == ("inconclusive", "separate")
        assert apart.interval.high - apart.interval.low > 3 * (paired.interval.high - paired.interval.low)
        assert "samples.npz" in apart.remedy

    def test_the_same_errors_are_the_same(self):
        row = self.compared(erring(self.errors), erring(self.errors, "2"))
        assert (row.outcome, row.change, row.interval) == ("same", 1, None)

    def test_samples_of_another_record_are_not_believed(self):
        base, new = erring(self.errors), erring(self.errors * 1.1, "2")
        assert self.compared(base, (new[0], erring(self.errors * 1.2)[1])).way == "separate"

    def test_errors_on_other_data_are_not_compared(self):
        row = self.compared(erring(self.errors), erring(self.errors, "2", test_set="u"))
        assert (row.outcome, row.way) == ("inconclusive", None)
