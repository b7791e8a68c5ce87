"""Metrics of a student relative to its teacher."""

from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import Metric

# Ratios of paired blocks do not vary from run to run as their times do: both models have the machine in common.
_Ratio = partial(Metric, unit="1", higher_is_better=True, text=units.ratio)
_Measured = partial(_Ratio, hardware_dependent=True)
_Counted = partial(_Ratio, group="file", repeatability=0)
_Flips = partial(Metric, unit="share", text=units.share, group="flips", scored=True)
_Shift = partial(Metric, unit="points", higher_is_better=False, text=units.points, group="flips", scored=True)

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
    _Flips("negative_flips", "Negative flips", higher_is_better=False,
        formula="share of samples whose label the teacher ranks first and the student does not"),
    _Flips("positive_flips", "Positive flips", higher_is_better=True,
        formula="share of samples whose label the student ranks first and the teacher does not"),
    Metric("mcnemar_p", "McNemar p", "1", True, text=units.p_value, group="flips", scored=True, p_value=True,
        limits=(0.0, 1.0),
        formula="two-sided mid-p value of McNemar's exact test over the n samples that flip: the probability of "
        "counts of negative and positive flips that are at least as unequal, if both models are correct equally often"),
    _Shift("worst_class_drop", "Worst class drop", finds="class",
        formula="the largest over the classes of teacher class_top1 - student class_top1, in percentage points; the "
        "interval allows for the choice among all classes: no class loses more than its high end"),
    _Shift("ece_shift", "ECE shift", formula="student ece - teacher ece, in percentage points"),
    _Shift("overconfidence_shift", "Overconfidence shift", limits=(-200.0, 200.0),  # confidence - accuracy: -1 to 1
        formula="growth from teacher to student of the mean of largest probability - top1, in percentage points"),
    _Ratio("rmse_ratio", "RMSE ratio", group="errors", compares="rmse", scored=True,
        formula="teacher rmse / student rmse, on the same samples"),
)
# fmt: on
