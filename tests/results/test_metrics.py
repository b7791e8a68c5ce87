import pytest

from kdbench.errors import InputError
from kdbench.results.metrics import METRICS, PAIR_METRICS, metric

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
