"""The verdict on a run: which models it judges, and its outcome."""

import pytest
from judge.on_a_pi import ACCURATE, FAST, SINGLE, criteria, replaced

from kdbench.errors import InputError
from kdbench.judge.readiness import judge
from kdbench.results.records import Interval, measured, missing


def test_a_model_is_ready_where_all_that_is_required_passes(make_run, on_a_pi):
    verdict = judge(make_run(), on_a_pi(ACCURATE, FAST, {"metric": "size_bytes", "max": 1, "required": False}))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("READY", "student", 0)
    assert verdict.models[0].missing == ()
    assert [c.outcome for c in verdict.models[0].criteria] == ["PASS", "PASS", "PASS", "FAIL"]
    assert verdict.record_hash == make_run().hash()
    assert "Raspberry Pi 5" in verdict.measured_on


def test_a_required_fail_settles_it_whatever_else_is_unknown(make_run, on_a_pi):
    verdict = judge(make_run(), on_a_pi({"metric": "energy_j", "max": 1}, {"metric": "size_bytes", "max": 1}))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("NOT READY", None, 1)
    assert [c.outcome for c in criteria(verdict)] == ["UNKNOWN", "FAIL"]


@pytest.mark.parametrize("open_", [{"metric": "energy_j", "max": 1}, {"metric": "top1", "min": "90 %"}])
def test_what_is_unknown_or_marginal_leaves_it_open(make_run, on_a_pi, open_):
    verdict = judge(make_run(), on_a_pi(FAST, open_))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("INCONCLUSIVE", None, 2)
    assert [c.metric for c in verdict.models[0].missing] == [open_["metric"]]


def test_one_model_that_is_ready_is_enough_and_one_that_may_be_leaves_it_open(make_run, on_a_pi):
    size = {"metric": "size_bytes", "max": "6 MB"}
    base = make_run("small", "large", "unknown")
    large = replaced(base, "large", "size_bytes", measured("large", "size_bytes", 9e6))
    mixed = replaced(large, "unknown", "size_bytes", missing("unknown", "size_bytes", "the file is gone"))
    assert [m.overall for m in judge(mixed, on_a_pi(size)).models] == ["READY", "NOT READY", "INCONCLUSIVE"]
    assert judge(mixed, on_a_pi(size)).overall == "READY"
    assert judge(mixed, on_a_pi(size), ["large", "unknown"]).overall == "INCONCLUSIVE"
    assert judge(mixed, on_a_pi(size), ["large"]).overall == "NOT READY"


def test_teachers_are_no_candidates_unless_they_are_named_or_alone(make_run, make_card, on_a_pi):
    assert [m.model for m in judge(make_run("a", "b"), on_a_pi(FAST)).models] == ["a", "b"]
    assert [m.model for m in judge(make_run(), on_a_pi(FAST), ["teacher"]).models] == ["teacher"]
    alone = make_run(models=(make_card("teacher"),), pairs=(), measurements=())
    assert [m.model for m in judge(alone, on_a_pi(FAST)).models] == ["teacher"]


def test_of_several_seeds_the_one_that_was_timed_is_judged(make_run, make_card, on_a_pi):
    cards = [make_card("teacher"), *(make_card(f"s-seed{n}", name="s", seed=n) for n in range(3))]
    record = make_run("s-seed0", "s-seed1", "s-seed2", models=tuple(cards))
    untimed = [m for m in record.measurements if m.metric != "latency_p50_ns" or m.model == "s-seed1"]
    record = record.model_copy(update={"measurements": tuple(untimed)})
    assert [m.model for m in judge(record, on_a_pi(FAST)).models] == ["s-seed1"]
    assert [m.model for m in judge(record, on_a_pi(FAST), ["s"]).models] == ["s-seed1"]
    assert [m.model for m in judge(record, on_a_pi(FAST), ["s-seed2", "s"]).models] == ["s-seed2", "s-seed1"]
    none = record.model_copy(update={"measurements": ()})
    assert [m.model for m in judge(none, on_a_pi(FAST)).models] == ["s-seed0"]


def test_models_that_share_a_files_name_alone_are_all_judged(make_run, make_card, on_a_pi):
    cards = (make_card("teacher"), make_card("a-net", name="net"), make_card("b-net", name="net"))
    assert len(judge(make_run("a-net", "b-net", models=cards), on_a_pi(FAST)).models) == 2


def test_an_unknown_model_and_a_record_without_any_are_the_users_mistake(make_run, on_a_pi):
    with pytest.raises(InputError) as caught:
        judge(make_run(), on_a_pi(FAST), ["studnet"])
    assert caught.value.hint == "did you mean 'student'?"
    with pytest.raises(InputError, match="no models"):
        judge(make_run(models=(), measurements=(), pairs=()), on_a_pi(FAST))


def test_the_best_is_chosen_by_what_the_target_prefers(make_run, on_a_pi):
    base = make_run("accurate", "quick", "small")
    wide = Interval(low=0.85, high=0.99)
    base = replaced(base, "accurate", "top1", measured("accurate", "top1", 0.95, interval=wide))
    quick = measured("quick", "latency_p50_ns", 1e6, axes=SINGLE, interval=Interval(low=0.9e6, high=1.1e6))
    base = replaced(base, "quick", "latency_p50_ns", quick)
    base = replaced(base, "small", "size_bytes", measured("small", "size_bytes", 1e6))
    best = {
        prefer: judge(base, on_a_pi({"metric": "top1", "min": 0.5}, prefer=[prefer])).best
        for prefer in ("top1", "latency_p50_ns", "size_bytes", "latency_ratio")
    }
    # With equal speed-ups, the first of the record.
    assert best == {"top1": "accurate", "latency_p50_ns": "quick", "size_bytes": "small", "latency_ratio": "accurate"}


def test_a_number_that_cannot_be_relied_on_prefers_nobody(make_run, on_a_pi):
    shaky = measured("a", "latency_p50_ns", 1.0, axes=SINGLE, unstable="it wobbles")
    record = replaced(make_run("a", "b"), "a", "latency_p50_ns", shaky)
    target = on_a_pi({"metric": "top1", "min": 0.5}, prefer=["latency_p50_ns"])
    assert judge(record, target).best == "b"


def test_only_what_is_ready_is_best(make_run, on_a_pi):
    record = replaced(make_run("a", "b"), "a", "size_bytes", measured("a", "size_bytes", 1e9))
    assert judge(record, on_a_pi({"metric": "size_bytes", "max": "10 MB"}, prefer=["top1"])).best == "b"


def test_the_nearest_model_is_the_one_that_lacks_least(make_run, on_a_pi):
    record = replaced(make_run("a", "b"), "a", "size_bytes", measured("a", "size_bytes", 1e9))
    limits = ({"metric": "size_bytes", "max": "10 MB"}, {"metric": "energy_j", "max": 1})
    assert judge(record, on_a_pi(*limits)).nearest.model == "b"
    assert judge(record, on_a_pi(*limits[:1])).nearest.model == "b"
