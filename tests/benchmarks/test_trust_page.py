"""The page of results, from figures made up for the test."""

import json

import pytest

from benchmarks.trust.tables import page
from benchmarks.trust.tables.markdown import percent, table

ENVIRONMENT = {"host": {"cpu": "a processor", "cores_usable": 4, "governor": None}, "libraries": {"kdbench": "9.9"}}
MACHINE = {"seconds": 30.0, "others_cores": 0.25, "stolen_cores": 0.0, "preemptions_per_s": 1.5}


def answer(ratio: float, half: float) -> dict:
    return {"ratio": ratio, "low": ratio * (1 - half), "high": ratio * (1 + half)}


def repeat_of(pair: str, ratio: float, half: float) -> dict:
    ours = {
        **answer(ratio, half),
        "sessions": [{"log_ratio": 1.0, "p50_ns": {"t": 1e5, "s": 1e5}}] * 9,
        "replayed": [{"precision": 0.05, "reached": True, "sessions": 5, **answer(ratio, 2 * half)}],
    }
    rivals = {"naive": {"ratio": 0.9 * ratio, "p50_ns": [1.0, 1.0]}}
    return {"pair": pair, "order": [], "methods": {**rivals, "kdbench": ours}, "machine": MACHINE, "commit": "c0ffee"}


@pytest.fixture
def results(tmp_path):
    """Write both results; of ten conv intervals nine hold and are narrow, of the dense ones none does."""
    good = [repeat_of("conv", 5.0, 0.01) for _ in range(9)] + [repeat_of("conv", 5.2, 0.01)]
    bad = [repeat_of("dense", ratio, 0.06) for ratio in (4.0, 6.0)]
    write(tmp_path / "coverage.json", {"budget_s": 20.0, "cores": [3]}, good + bad)
    p50s = [("784-50-10", 5000.0, 7000.0), ("vgg11_bn", 2.2e6, 2.0e6), ("null", 3000.0, 5000.0)]
    pairs = [{"model": m, "p50_ns": {"kdbench": k, "LoadGen": g}} for m, k, g in p50s for _ in range(12)]
    peers = [{**pair, "machine": MACHINE, "commit": "c0ffee"} for pair in pairs]
    write(tmp_path / "peer.json", {"seconds": 2.0, "cores": [3]}, peers)
    return tmp_path


def write(path, settings, repeats):
    path.write_text(json.dumps({"settings": settings, "environment": ENVIRONMENT, "repeats": repeats}))


def test_goals_are_told_as_met_or_missed(results):
    text = page.write(results).read_text()
    conv, dense = text.split("### ")[1:3]
    assert "9 of 10 (60 to 98 %); goal 90 %: met." in conv
    assert "Median half-width: 1.0 %; goal below 2.0 %: met." in conv
    assert "0 of 2 (0 to 66 %); goal 90 %: **missed**." in dense
    assert "Median half-width: 6.0 %; goal below 5.0 %: **missed**." in dense


def test_every_method_stands_beside_kdbench(results):
    text = page.write(results).read_text()
    assert "| kdbench | 5.020× |  |" in text
    assert "| naive | 4.518× | -10 % |" in text


def test_an_earlier_stop_has_a_row_of_its_own(results):
    text = page.write(results).read_text()
    assert "| 5.0 %, reached by 10 of 10 | 5 | 9 of 10 (60 to 98 %) | 2.0 % |" in text


def test_the_peer_is_judged_by_model(results):
    text = page.write(results).read_text()
    assert "**missed**, it holds for 1 of 2 models" in text
    assert "| 784-50-10 | 5.00 µs | 7.00 µs | -2.00 µs (-2.00 µs to -2.00 µs) | -29 % | 10.0 µs | met |" in text
    assert "| vgg11_bn | 2.20 ms | 2.00 ms | +200 µs (+200 µs to +200 µs) | +10 % | 40.0 µs | **missed** |" in text
    assert "| null (computes nothing) | 3.00 µs | 5.00 µs | -2.00 µs (-2.00 µs to -2.00 µs) | -40 % |  |  |" in text


def test_one_result_alone_makes_a_page(results):
    (results / "coverage.json").unlink()
    text = page.write(results).read_text()
    assert "## Coverage" not in text
    assert "## The peer" in text


def test_the_machine_and_notes_are_told(results):
    (results / "notes.md").write_text("## Why\n\nBecause.\n")
    text = page.write(results).read_text()
    assert "| processor | a processor |" in text
    assert "governor" not in text
    assert "commit c0ffee" in text
    assert text.endswith("## Why\n\nBecause.\n")


def test_what_others_did_is_told(results):
    text = " ".join(page.write(results).read_text().split())
    others = "kept 0.25 cores busy (at most 0.25), preempted these processes 1.5 times a second (at most 1.5)"
    assert text.count(others) == 2


def test_a_table_says_what_is_a_number():
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| :--- | ---: |\n| x | 1 |"
    assert percent(None) == "n/a"


def test_results_of_another_machine_follow_with_its_name(results):
    other = json.loads((results / "coverage.json").read_text())
    other["environment"]["host"]["cpu"] = "another processor"
    (results / "coverage-other.json").write_text(json.dumps(other))
    text = page.write(results).read_text()
    assert text.count("## Coverage") == 2
    assert text.index("## The machine of coverage.json") < text.index("## The machine of coverage-other.json")
    assert "| processor | another processor |" in text
