"""What a student is beside its teacher."""

from kdbench import units
from kdbench.results.metrics.metric import Metric

PAIRS = (
    Metric(
        "latency_ratio",
        "Speed-up",
        "1",
        True,
        "ratio of block medians, teacher / student, of paired, interleaved blocks: the median over the rounds of a "
        "session, then the geometric mean over sessions",
        units.ratio,
        hardware_dependent=True,
    ),
    Metric(
        "energy_ratio",
        "Energy ratio",
        "1",
        True,
        "teacher energy_j / student energy_j of windows of the same round: the geometric mean over rounds",
        units.ratio,
        hardware_dependent=True,
    ),
    Metric(
        "size_ratio", "Size ratio", "1", True, "teacher size_bytes / student size_bytes", units.ratio, repeatability=0
    ),
    Metric("macs_ratio", "MACs ratio", "1", True, "teacher macs / student macs", units.ratio, repeatability=0),
    Metric(
        "memory_ratio",
        "Memory ratio",
        "1",
        True,
        "teacher peak_memory_bytes / student peak_memory_bytes",
        units.ratio,
        hardware_dependent=True,
        repeatability=0.02,  # two medians that each repeat within 1 %
    ),
    Metric(
        "throughput_ratio",
        "Throughput ratio",
        "1",
        True,
        "student max_throughput_per_s / teacher max_throughput_per_s: the geometric mean over sessions",
        units.ratio,
        hardware_dependent=True,
    ),
    Metric(
        "top1_drop",
        "Top-1 drop",
        "points",
        False,
        "teacher top1 - student top1, in percentage points, on the same samples",
        units.points,
    ),
)

# The measurement behind a pair's metric: where the pair is missing, its reason is the pair's.
BEHIND = {
    "latency_ratio": "latency_p50_ns",
    "energy_ratio": "energy_j",
    "size_ratio": "size_bytes",
    "macs_ratio": "macs",
    "memory_ratio": "peak_memory_bytes",
    "throughput_ratio": "max_throughput_per_s",
    "top1_drop": "top1",
}
PAIR_OF = {behind: pair for pair, behind in BEHIND.items()}
