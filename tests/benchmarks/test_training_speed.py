"""The pure parts of the speed benchmark, and its page from figures made up for the test."""

import json
import math
from contextlib import contextmanager

import pytest

from benchmarks.training import calm, contestants, goals, page, speed
from benchmarks.training.contestants import Contestant
from benchmarks.training.stopwatch import seconds_once, seconds_per_step, timed

ENVIRONMENT = {"host": {"cpu": "a processor", "cores_usable": 4}, "libraries": {"kdbench": "9.9"}}
STEPS_S = {"plain": 0.1, "kd-32": 0.04, "kd": 0.02, "kd-live": 0.04, "hint": 0.03, "labels": 0.019}


def training_loop(batches, seconds, clock):
    """Take `seconds[i]` for step i, of which the loader took nothing."""
    for _, length in zip(batches, seconds, strict=False):
        clock[0] += length


def marks_of(seconds):
    clock, marks = [100.0], []
    training_loop(timed(range(len(seconds)), marks, lambda: clock[0]), seconds, clock)
    return marks


def test_a_step_is_from_asking_for_a_batch_to_asking_for_the_next():
    marks = marks_of([9.0, 3.0, 1.0, 2.0, 1.0, 5.0])
    assert marks == [100.0, 109.0, 112.0, 113.0, 115.0, 116.0, 121.0]
    assert seconds_per_step(marks, warmup=2, steps=3) == pytest.approx(4 / 3)


def test_loading_a_batch_is_part_of_its_step():
    clock, marks = [0.0], []

    def slow_loader():
        for number in range(4):
            clock[0] += 10.0
            yield number

    training_loop(timed(slow_loader(), marks, lambda: clock[0]), [1.0] * 4, clock)
    assert seconds_per_step(marks, warmup=1, steps=2) == 11.0


def test_what_the_first_steps_took_beyond_is_told_apart():
    assert seconds_once(marks_of([9.0, 3.0, 1.0, 1.0, 1.0]), warmup=2, steps=3) == pytest.approx(10.0)


def test_every_batch_is_passed_on():
    assert list(timed("abc", [])) == ["a", "b", "c"]


def repeats(*scales):
    return [{name: {"step_s": scale * seconds} for name, seconds in STEPS_S.items()} for scale in scales]


def test_a_ratio_is_of_one_repeat():
    # The machine is slower in some repeats; within one it is the same for all.
    ratio = goals.ratio(repeats(1, 3, 1, 2, 1, 1, 5), "plain", "kd")
    assert ratio.value == pytest.approx(5.0)
    assert ratio.low == pytest.approx(5.0)
    assert ratio.high == pytest.approx(5.0)


def test_a_ratio_has_an_interval_of_order_statistics():
    some = [{"a": {"step_s": value}, "b": {"step_s": 1.0}} for value in (1, 2, 3, 4, 5, 6, 7, 8)]
    ratio = goals.ratio(some, "a", "b")
    # With n = 8 the second smallest and largest would leave 3.5 % in each tail.
    assert (ratio.low, ratio.value, ratio.high) == (1.0, 4.5, 8.0)


def test_who_was_not_measured_has_no_ratio():
    assert goals.ratio(repeats(1, 1), "torchdistill", "kd") is None
    assert goals.images_per_s(repeats(1, 1), "torchdistill", 64) is None


def test_images_per_second_are_those_of_the_median_repeat():
    assert goals.images_per_s(repeats(1, 2, 100), "kd", 64) == pytest.approx(64 / 0.04)


@pytest.mark.parametrize(("at_least", "below", "above"), [(True, False, True), (False, True, False)])
def test_a_goal_has_a_side(at_least, below, above):
    goal = goals.Goal("", "a", "b", 2.0, at_least)
    assert (goal.met(1.9), goal.met(2.0), goal.met(2.1)) == (below, True, above)


def test_a_cache_pays_when_the_teacher_it_spares_has_taken_as_long():
    assert goals.epochs_to_pay(fill_s=300.0, live_s=50.0, cached_s=30.0) == 15.0
    assert goals.epochs_to_pay(fill_s=300.0, live_s=30.0, cached_s=30.0) == math.inf


def test_rivals_get_the_loader_that_is_fastest_for_them():
    trials = [{"step_s": {"0": 2.0, "1": 1.0, "2": 1.0}}, {"step_s": {"0": 0.1, "1": 1.0, "2": 1.0}}]
    assert speed.best_workers([*trials, trials[0]]) == 1


def test_a_rival_that_is_not_installed_says_so(monkeypatch):
    there, missing = Contestant("a", "m:f", needs="json"), Contestant("b", "m:f", needs="no_such_package")
    monkeypatch.setattr(contestants, "CONTESTANTS", {"there": there, "missing": missing})
    assert contestants.timed_here() == {"there": there}
    assert "pip install no_such_package" in missing.why_not()


def result(count=6):
    work = {"teacher": "big", "student": "small", "batch": 64, "threads": 2, "workers": 1, "warmup": 10, "steps": 30}
    figures = {**repeats(1)[0], "fill": {"images_per_s": 2000.0}}
    figures["kd-compiled"] = {"step_s": 0.021, "once_s": 12.0}
    figures = {name: {**values, "others_cores": 0.25, "tries": 1} for name, values in figures.items()}
    figures["kd"]["tries"] = 3
    return {
        "settings": {
            "threads": 2,
            "steps": 30,
            "libraries": {"pillow": "13"},
            "workloads": {"pair": work},
            "workers_tried": {"pair": [{"pair": "pair", "step_s": {"0": 0.16, "1": 0.1}}] * 3},
        },
        "environment": ENVIRONMENT,
        "repeats": [{"pair": "pair", "found": figures, "commit": "c0ffee"}] * count,
    }


@pytest.fixture
def written(tmp_path):
    (tmp_path / "speed.json").write_text(json.dumps(result()))
    return page.write(tmp_path, "speed.json").read_text()


def test_goals_are_told_as_met_or_missed(written):
    assert (
        "| cached KD over plain cross-entropy | big → small | 1.05× (1.05× to 1.05×) | at most 1.10× | met |" in written
    )
    assert (
        "| plain loop over kdbench, both fp32 | big → small | 2.50× (2.50× to 2.50×) | at least 2.00× | met |"
        in written
    )
    assert "| hint over plain cross-entropy | big → small | 1.58× (1.58× to 1.58×) | at most 1.60× | met |" in written
    assert "| torchdistill over kdbench's defaults | big → small | – | at least 4.00× | not measured |" in written


def test_a_missed_goal_is_seen(tmp_path):
    missed = result()
    for entry in missed["repeats"]:
        entry["found"]["plain"]["step_s"] = 0.07
    (tmp_path / "speed.json").write_text(json.dumps(missed))
    text = page.write(tmp_path, "speed.json").read_text()
    assert (
        "| plain loop over kdbench's defaults | big → small | 3.50× (3.50× to 3.50×) | at least 4.00× | **missed** |"
        in text
    )


def test_what_is_paid_once_is_told(written):
    text = " ".join(written.split())
    # 16 · 50 000 images at 2000 a second; an epoch takes 31.25 s with a live teacher and 15.625 s without.
    assert "that is 6 min 40 s for 16 views of 50,000 images" in text
    assert "pays off after 26 epochs, counted over all students" in text
    assert "Compiling takes 12.0 s and never pays" in text


def test_what_others_disturbed_is_told(written):
    text = " ".join(written.split())
    assert "regardless of its result: 12 of 60. In the median kept timing, other work used 0.25 cores" in text


LIMIT = calm.LIMIT_CORES


@pytest.mark.parametrize(("busy_cores", "tries"), [([0.1], 1), ([LIMIT + 2, LIMIT + 0.1, LIMIT], 3)])
def test_a_timing_that_others_disturbed_is_taken_again(monkeypatch, busy_cores, tries):
    during = iter(busy_cores)

    @contextmanager
    def watched():
        yield {"others_cores": next(during)}

    monkeypatch.setattr(calm, "watched", watched)
    monkeypatch.setattr(calm.psutil, "cpu_percent", lambda _: 0.0)
    result = calm.undisturbed(lambda: {"step_s": 1.0})
    assert result == {"step_s": 1.0, "others_cores": busy_cores[-1], "tries": tries}


def test_nothing_is_timed_before_others_are_done(monkeypatch, capsys):
    looks = iter([90.0, 0.0, 90.0, 0.0, 0.0, 90.0])

    @contextmanager
    def watched():
        yield {"others_cores": 0.0}

    monkeypatch.setattr(calm, "watched", watched)
    monkeypatch.setattr(calm.psutil, "cpu_percent", lambda _: next(looks))
    monkeypatch.setattr(calm.psutil, "cpu_count", lambda: 4)
    assert calm.undisturbed(lambda: {"left": list(looks)})["left"] == [90.0]
    assert "waiting for others, who keep 3.6 cores busy" in capsys.readouterr().out


def test_the_loaders_that_were_tried_are_told(written):
    assert "0: 400, 1: 640." in " ".join(written.split())


def test_the_machine_and_notes_are_told(tmp_path):
    (tmp_path / "speed.json").write_text(json.dumps(result()))
    (tmp_path / "notes.md").write_text("## Why\n\nBecause.\n")
    text = page.write(tmp_path, "speed.json").read_text()
    assert "| processor | a processor |" in text
    assert "kdbench 9.9, pillow 13" in text
    assert "commit c0ffee" in text
    assert text.endswith("## Why\n\nBecause.\n")


def test_too_few_repeats_for_an_interval_have_their_range():
    repeats = [{"plain": {"step_s": step}, "kd": {"step_s": 1.0}} for step in (3.0, 2.0, 2.5)]
    assert page._ratio(repeats, "plain", "kd") == "2.50× (repeats: 2.00× to 3.00×)"
    assert page._ratio(repeats, "plain", "hint") == "–"
