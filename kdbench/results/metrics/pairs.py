"""Metrics of a student relative to its teacher."""

from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import Metric

# Ratios of paired blocks do not vary from run to run as their times do: both models have the machine in common.
_Ratio = partial(Metric, unit="1", higher_is_better=True, text=units.ratio)
_Measured = partial(_Ratio, hardware_dependent=True)
_Counted = partial(_Ratio, group="file", repeatability=0)

# fmt: off
PAIRS = (
    _Measured("latency_ratio", "Speed-up", group="latency", compares="latency_p50_ns",
        formula="ratio of block medians, teacher / student, of paired, interleaved blocks: the median over the "
        "rounds of a session, then the geometric mean over sessions"),
    _Measured("energy_ratio", "Energy ratio", group="energy", compares="energy_j",
        formula="teacher energy_j / student energy_j of windows of the same round: the geometric mean over rounds"),
    _Counted("size_ratio", "Size ratio", formula="teacher size_bytes / student size_bytes", compares="size_bytes"),
    _Counted("macs_ratio", "MACs ratio", formula="teacher macs / student macs", compares="macs"),
    # two medians that each repeat within 1 %
    _Measured("memory_ratio", "Memory ratio", group="memory", compares="peak_memory_bytes", repeatability=0.02,
        formula="teacher peak_memory_bytes / student peak_memory_bytes"),
    _Measured("throughput_ratio", "Throughput ratio", group="offline", compares="max_throughput_per_s",
        formula="student max_throughput_per_s / teacher max_throughput_per_s: the geometric mean over sessions"),
    Metric("top1_drop", "Top-1 drop", "points", False, text=units.points, group="accuracy", compares="top1",
        scored=True,
        formula="teacher top1 - student top1, in percentage points, on the same samples"),
    _Ratio("rmse_ratio", "RMSE ratio", group="errors", compares="rmse", scored=True,
        formula="teacher rmse / student rmse, on the same samples"),
)
# fmt: on
