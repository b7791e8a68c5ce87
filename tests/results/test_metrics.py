from math import inf

import pytest

from kdbench.errors import InputError
from kdbench.results.metrics import METRICS, PAIR_METRICS, metric, metrics_in, pair_of

# The ids that stand in records and that other tools read: a change breaks them.
IDS = [
    "top1",
    "top5",
    "loss",
    "agreement",
    "predictive_kl",
    "parity_max_abs",
    "latency_p50_ns",
    "latency_mean_ns",
    "latency_p90_ns",
    "latency_p95_ns",
    "latency_p99_ns",
    "throughput_per_s",
    "max_throughput_per_s",
    "load_ns",
    "first_run_ns",
    "steady_run_ns",
    "peak_memory_bytes",
    "model_memory_bytes",
    "device_memory_bytes",
    "macs",
    "parameters",
    "weight_bytes",
    "size_bytes",
    "energy_j",
    "energy_net_j",
    "training_s",
]
PAIR_IDS = [
    "latency_ratio",
    "energy_ratio",
    "size_ratio",
    "macs_ratio",
    "memory_ratio",
    "throughput_ratio",
    "top1_drop",
    "negative_flips",
    "positive_flips",
    "mcnemar_p",
    "worst_class_drop",
    "ece_shift",
    "overconfidence_shift",
]

_UNIT_OF_SUFFIX = {"_ns": "ns", "_bytes": "bytes", "_j": "J", "_s": "s"}


def test_every_id_is_there() -> None:
    assert set(IDS) <= set(METRICS)
    assert set(PAIR_IDS) <= set(PAIR_METRICS)
    assert not set(METRICS) & set(PAIR_METRICS)


@pytest.mark.parametrize("known", [*METRICS.values(), *PAIR_METRICS.values()], ids=lambda known: known.id)
def test_a_metric_is_fully_declared(known) -> None:
    assert metric(known.id) is known
    assert known.title
    assert known.formula
    assert known.higher_is_better in {True, False}
    assert known.text(0.5)


@pytest.mark.parametrize("known", METRICS.values(), ids=lambda known: known.id)
def test_the_unit_is_the_one_that_the_id_ends_with(known) -> None:
    for suffix, unit in _UNIT_OF_SUFFIX.items():
        if known.id.endswith(suffix) and not known.id.endswith("_per_s"):
            assert known.unit == unit


@pytest.mark.parametrize(
    ("id_", "higher"),
    [("top1", True), ("throughput_per_s", True), ("latency_ratio", True), ("top1_drop", False), ("loss", False)],
)
def test_directions(id_: str, higher: bool) -> None:
    assert metric(id_).higher_is_better is higher


def test_titles_tell_metrics_apart() -> None:
    titles = [known.title for known in (*METRICS.values(), *PAIR_METRICS.values())]
    assert len(set(titles)) == len(titles)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown metric 'fps'") as raised:
        metric("fps")
    assert "throughput_per_s" in raised.value.hint


def test_a_speed_up_says_what_it_is_a_ratio_of():
    formula = metric("latency_ratio").formula
    assert all(word in formula for word in ("block medians", "paired", "interleaved"))


@pytest.mark.parametrize("pair", [p for p in PAIR_METRICS.values() if p.compares], ids=lambda pair: pair.id)
def test_a_pair_compares_a_metric_of_its_group(pair) -> None:
    compared = METRICS[pair.compares]
    assert pair_of(compared.id) is pair
    assert pair.group == compared.group
    assert pair.hardware_dependent == compared.hardware_dependent
    assert compared.versus_teacher == ("drop" if pair.unit == "points" else "ratio")


def test_groups_are_in_the_declared_order():
    assert metrics_in("accuracy", "fidelity")[:4] == ("top1", "top5", "loss", "agreement")
    assert metrics_in("cold start") == ("load_ns", "first_run_ns", "steady_run_ns")
    assert pair_of("loss") is None


@pytest.mark.parametrize(
    ("id_", "threshold"),
    [("top1", 0.5), ("loss", 0.05), ("latency_p50_ns", 0.05), ("peak_memory_bytes", 0.05), ("macs", 0.01)],
)
def test_what_is_counted_may_get_worse_by_less_than_what_is_sampled(id_: str, threshold: float) -> None:
    assert metric(id_).regression_threshold == threshold


def test_values_lie_in_the_range_that_their_unit_allows():
    ranges = {id_: metric(id_).value_range for id_ in ("ece", "logit_spearman", "loss", "top1_drop", "top1_gain")}
    points = (-100, 100)
    assert ranges == {
        "ece": (0, 1), "logit_spearman": (-1, 1), "loss": (0, inf), "top1_drop": points, "top1_gain": points
    }  # fmt: skip
    # Confidence minus accuracy is -1 to 1, and the shift is the difference of two.
    assert metric("overconfidence_shift").value_range == (-200, 200)


def test_two_values_differ_by_at_most_the_width_of_their_range():
    ranges = {id_: metric(id_).difference_range for id_ in ("top1", "logit_spearman", "loss")}
    assert ranges == {"top1": (-1, 1), "logit_spearman": (-2, 2), "loss": (-inf, inf)}
