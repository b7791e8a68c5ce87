"""The tables of the command line's decisions, from figures made up for the test, and the commands at their boundary."""

import pytest

from benchmarks.trust import commands
from benchmarks.trust.tables import commands_table
from kdbench.errors import MeasurementError
from kdbench.judge.target import load_target

MACHINE = {"seconds": 30.0, "others_cores": 0.0, "stolen_cores": 0.0, "preemptions_per_s": 1.5}


def run(condition, code=0, unreachable=1):
    codes = {commands_table.TARGET: code, "unreachable": unreachable}
    facts = {"condition": condition, "seconds": 40.0, "exit_codes": codes}
    return {"kind": "run", **facts, "machine": MACHINE, "commit": "c0ffee"}


def comparison(ratio, half):
    estimate = {"value": ratio, "low": ratio * (1 - half), "high": ratio * (1 + half)}
    return {"kind": "bench", "models": ["a", "b"], "ratio": estimate, "machine": MACHINE, "commit": "c0ffee"}


def cells(repeats, name):
    text = commands_table.section({"repeats": repeats, "settings": {"budget_s": 10.0}})
    (row,) = [line.strip("| ").split(" | ")[1:] for line in text.splitlines() if line.startswith(f"| {name} |")]
    return row


def test_runs_that_all_decide_meet_the_goal():
    row = cells([run("idle"), run("idle", code=1), run("steady")], "idle")
    assert row == ["2", "40.0 s", "1 READY, 1 NOT READY, 0 undecided", "2 of 2", "met"]


@pytest.mark.parametrize("undecided", [run("idle", code=2), run("idle", unreachable=2), run("idle", unreachable=0)])
def test_one_run_without_a_verdict_or_with_a_wrong_one_misses_it(undecided):
    assert cells([run("idle"), undecided], "idle")[-1] == "**missed**"


def test_eleven_correct_and_narrow_intervals_of_twelve_meet_the_goals():
    narrow = [*(comparison(10.0, 0.05) for _ in range(11)), comparison(11.0, 0.05)]
    assert cells(narrow, "a : b")[-2:] == ["11 of 12: met", "5.0 %: met"]


def test_wide_or_wrong_intervals_miss_them():
    wrong = [comparison(ratio, 0.1) for ratio in (8.0, 8.0, 12.0, 12.0)]
    assert cells(wrong, "a : b")[-2:] == ["0 of 4: **missed**", "10 %: **missed**"]


def test_a_command_runs_in_its_folder_with_a_cache_and_a_lock_of_its_own(tmp_path):
    ended = commands._kdbench(["list", "targets"], tmp_path)
    assert commands_table.TARGET in ended.stdout


def test_a_command_that_fails_ends_the_experiment_with_its_message(tmp_path):
    with pytest.raises(MeasurementError, match=r"kdbench ready ended with exit code 3: .*nowhere"):
        commands._kdbench(["ready", "nowhere", "--target", commands_table.TARGET], tmp_path, allowed=(0, 1, 2))


def test_the_target_that_no_model_meets_is_one(tmp_path):
    (tmp_path / "unreachable.toml").write_text(commands.UNREACHABLE)
    (criterion,) = load_target(str(tmp_path / "unreachable.toml")).criteria
    (limit,) = criterion.limits
    assert (limit.metric, limit.rule, limit.value) == ("latency_p50_ns", "max", 1000.0)
