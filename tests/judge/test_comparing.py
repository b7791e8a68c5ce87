"""The parts of a comparison: intervals, thresholds, and which model is which."""

import json
from pathlib import Path

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.judge.comparing.matching import match
from kdbench.judge.comparing.shifts import recovered, same_images
from kdbench.judge.comparing.thresholds import Thresholds
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import BETWEEN_RUNS, METRICS
from kdbench.statistics import binomial_share

TRUST = Path(__file__).parents[2] / "reports" / "trust" / "coverage.json"


def test_two_shares_have_newcombes_interval():
    # Newcombe (1998), Statistics in Medicine 17, table II: 56/70 - 48/80 by method 10.
    first, second = binomial_share(56, 70), binomial_share(48, 80)
    low, high = recovered((second.value, second.low, second.high), (first.value, first.low, first.high))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_symmetric_intervals_add_up_in_quadrature():
    assert recovered((10, 7, 13), (20, 16, 24)) == (5, 15)
    assert recovered((0, 0, 0), (1, 1, 1), extra=0.5) == (0.5, 1.5)


def test_paired_answers_against_mcnemars_test():
    # With 20 lost and 4 gained of 1000, McNemar's chi-square (20 - 4)^2 / 24 = 10.7 is beyond 3.84: significant.
    base, new = np.zeros(1000, bool), np.zeros(1000, bool)
    base[:20], new[20:24], base[24:900], new[24:900] = True, True, True, True
    found = same_images(base, new)
    assert found.value == pytest.approx(-1.6)
    assert found.high < 0
    # and with 6 and 4 it is 0.4: not.
    base[6:20] = False
    assert same_images(base, new).low < 0 < same_images(base, new).high


def test_times_of_one_machine_move_between_runs_as_is_assumed():
    medians = {}
    for repeat in json.loads(TRUST.read_text())["repeats"]:
        for model, found in repeat["methods"]["kdbench"]["singles"].items():
            medians.setdefault(model, []).append(found["latency_p50_ns"]["value"])
    scatter = [float(np.std(np.log(values), ddof=1)) for values in medians.values()]
    assert len(scatter) == 4
    assert all(len(values) == 40 for values in medians.values())
    assert float(np.mean(scatter)) == pytest.approx(BETWEEN_RUNS, abs=0.002)
    assert all(0.037 < each < 0.046 for each in scatter)


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [
        ("top1", 0.5),
        ("ece", 0.5),
        ("latency_p50_ns", 0.05),
        ("throughput_per_s", 0.05),
        ("energy_j", 0.05),
        ("peak_memory_bytes", 0.05),
        ("size_bytes", 0.01),
        ("macs", 0.01),
    ],
)
def test_defaults(metric, threshold):
    assert Thresholds().of(METRICS[metric]) == threshold


def test_thresholds_as_they_are_typed():
    said = Thresholds.read(["10%", "latency_p50_ns=20 %", "top1=.3"])
    assert said.of(METRICS["latency_p50_ns"]) == 0.2
    assert said.of(METRICS["size_bytes"]) == 0.1
    assert said.of(METRICS["top1"]) == 0.3
    assert said.of(METRICS["top5"]) == 0.5


@pytest.mark.parametrize("text", ["10", "-5%", "top1=1%", "macs=5", "=5%", "nothing=5%", "top1=", "latency_ratio=5%"])
def test_thresholds_that_could_be_misread_are_refused(text):
    with pytest.raises(InputError) as refused:
        Thresholds.read([text])
    assert refused.value.hint


def cards(*names, teacher="teacher"):
    def made(name):
        stem, _, seed = name.partition("@")
        return ModelCard(
            id=name.replace("@", "-seed"),
            name=stem,
            role="teacher" if stem == teacher else "student",
            seed=int(seed) if seed else None,
            file="x.onnx",
            sha256="0" * 64,
            input_shape=(1,),
            classes=2,
            parameters=1,
        )

    return [made(name) for name in names]


def ids(matched):
    return [(pair.base.id, pair.new.id) for pair in matched.pairs]


def test_models_match_by_name_and_seed():
    matched = match(cards("teacher@0", "a@0", "a@1", "b@0"), cards("c@0", "a@1", "teacher@0", "a@0"))
    assert ids(matched) == [("a-seed1", "a-seed1"), ("teacher-seed0", "teacher-seed0"), ("a-seed0", "a-seed0")]
    assert (matched.lost, matched.added) == (("b-seed0",), ("c-seed0",))


def test_a_teacher_that_is_gone_is_no_loss():
    matched = match(cards("teacher", "a"), cards("a"))
    assert (matched.lost, matched.teachers) == ((), ("teacher",))


def test_one_student_each_matches_whatever_the_names():
    assert ids(match(cards("teacher", "old"), cards("teacher", "fresh"))) == [("teacher", "teacher"), ("old", "fresh")]
    assert ids(match(cards("teacher"), cards("other"))) == [("teacher", "other")]


def test_a_single_model_of_a_name_matches_whatever_the_seed():
    assert ids(match(cards("a@0", "b@0"), cards("a@3", "b@3"))) == [("a-seed0", "a-seed3"), ("b-seed0", "b-seed3")]


def test_models_as_they_are_chosen():
    base, new = cards("teacher", "a", "b"), cards("teacher", "a", "c")
    assert ids(match(base, new, {"b": "c"})) == [("b", "c")]
    assert ids(match(base, new, {"a": "a"})) == [("a", "a")]
    with pytest.raises(InputError, match="the new run has no model 'b'"):
        match(base, new, {"b": "b"})


def test_nothing_in_common_is_an_error():
    with pytest.raises(InputError, match="no model is in both"):
        match(cards("a", "b"), cards("c", "d"))
