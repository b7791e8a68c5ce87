import pytest

from kdbench.errors import InputError
from kdbench.judge.compare.thresholds import Thresholds
from kdbench.results.metrics import METRICS


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


def test_thresholds_are_read_from_options():
    thresholds = Thresholds.read(["10%", "latency_p50_ns=20 %", "top1=.3"])
    assert thresholds.of(METRICS["latency_p50_ns"]) == 0.2
    assert thresholds.of(METRICS["size_bytes"]) == 0.1
    assert thresholds.of(METRICS["top1"]) == 0.3
    assert thresholds.of(METRICS["top5"]) == 0.5
    assert Thresholds.read(["5.%"]).relative == 0.05


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *((text, "for example --threshold 10%") for text in ("10", "-5%", "+5%", "1e1%", "macs=5")),
        *((text, "--threshold top1=0.3 (in points)") for text in ("top1=1%", "top1=", "top1=1 pp")),
        *((text, "known: top1, top5") for text in ("=5%", "nothing=5%")),
        ("latency_ratio=5%", "compare latency_p50_ns instead"),
    ],
)
def test_ambiguous_thresholds_raise(text, hint):
    with pytest.raises(InputError) as refused:
        Thresholds.read([text])
    assert hint in refused.value.hint
