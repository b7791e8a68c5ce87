"""Earlier runs of a model, kept between runs; nothing that happens to the folder stops a measurement."""

import json

import pytest

from kdbench.measure.earlier_runs import MAX_RUNS, EarlierRuns
from kdbench.statistics import Estimate

AXES = {"provider": "cpu", "threads": 1, "batch": 1}
SHA = "ab" * 32


def run(value):
    return {"latency_p50_ns": Estimate(value, 0.9 * value, 1.1 * value, 100)}


@pytest.fixture
def runs(tmp_path):
    return EarlierRuns(tmp_path / "cache")


def test_runs_are_read_back_oldest_first_apart_for_each_model_and_configuration(runs):
    for value in (100.0, 110.0):
        runs.add(SHA, AXES, run(value))
    runs.add(SHA, {**AXES, "batch": 8}, run(500.0))
    runs.add("cd" * 32, AXES, run(900.0))
    assert runs.for_model(SHA, AXES) == [run(100.0), run(110.0)]
    assert runs.for_model(SHA, {**AXES, "batch": 8}) == [run(500.0)]
    assert runs.for_model("ef" * 32, AXES) == []


def test_runs_teach_how_runs_differ(runs):
    first = runs.spreads(SHA, AXES, run(100.0))["latency_p50_ns"]
    second = runs.spreads(SHA, AXES, run(200.0))["latency_p50_ns"]
    assert (first.runs, second.runs) == (0, 1)
    assert second.deviation > 5 * first.deviation


def test_only_the_newest_runs_are_kept(runs):
    for value in range(1, MAX_RUNS + 6):
        runs.add(SHA, AXES, run(float(value)))
    kept = runs.for_model(SHA, AXES)
    assert (len(kept), kept[0], kept[-1]) == (MAX_RUNS, run(6.0), run(float(MAX_RUNS + 5)))


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "[" * 100_000, '{"cpu-t1-b1": 5}', '{"cpu-t1-b1": [5]}',
        '{"cpu-t1-b1": [{"x": [1, 2]}]}',
        '{"cpu-t1-b1": [{"latency_p50_ns": [1, 2, 3, 4]}]}', '{"cpu-t1-b1": [{"latency_p50_ns": ["1", 1, 1, 4]}]}',
        '{"cpu-t1-b1": [{"latency_p50_ns": [1e999, 1, 1e999, 4]}]}',
        f'{{"cpu-t1-b1": [{{"latency_p50_ns": [1{"0" * 400}, 1, 1{"0" * 400}, 4]}}]}}',
        '{"cpu-t1-b1": [{"latency_p50_ns": [0, 0, 1, 4]}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none_and_is_written_anew(runs, content):
    file = runs.folder / f"{SHA}.json"
    runs.folder.mkdir()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert runs.for_model(SHA, AXES) == []
    runs.add(SHA, AXES, run(100.0))
    assert runs.for_model(SHA, AXES) == [run(100.0)]
    json.loads(file.read_text())


def test_a_folder_that_cannot_be_written_is_as_good_as_an_empty_one(tmp_path):
    (tmp_path / "file").write_text("")
    runs = EarlierRuns(tmp_path / "file/below")
    assert runs.spreads(SHA, AXES, run(100.0))["latency_p50_ns"].runs == 0
    assert runs.for_model(SHA, AXES) == []


def test_without_a_folder_nothing_is_remembered():
    assert EarlierRuns().spreads(SHA, AXES, run(100.0))["latency_p50_ns"].runs == 0


def test_the_users_folder_is_below_their_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    assert EarlierRuns.of_user().folder.parent == tmp_path / "latencies"
