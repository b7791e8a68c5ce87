"""Every metric kdbench knows: its unit, its direction, its formula. Tables, gates and plots read them here."""

from collections.abc import Callable
from dataclasses import dataclass

from kdbench import units
from kdbench.errors import InputError


@dataclass(frozen=True)
class Metric:
    """A quantity with one meaning.

    `higher_is_better` is None where neither direction is better in itself; `formula` says how the value comes
    about; `text` writes a value of this metric for a person. `plus_minus` writes a value with the half-width of its
    interval; a metric without it has its intervals in brackets, beside the value.
    """

    id: str
    title: str
    unit: str
    higher_is_better: bool | None
    formula: str
    text: Callable[[float], str]
    plus_minus: Callable[[float, float], str] | None = None


def _latency(id_: str, title: str, what: str) -> Metric:
    return Metric(
        id_,
        title,
        "ns",
        False,
        f"{what} of the time of one call, at the labelled batch and threads",
        units.time,
    )


_ALL = (
    Metric("top1", "Top-1", "share", True, "share of samples whose largest logit is the label's", units.share),
    Metric(
        "top5",
        "Top-5",
        "share",
        True,
        "share of samples whose label is among the five largest logits",
        units.share,
    ),
    Metric("loss", "Loss", "nats", False, "mean of -log softmax(logits)[label]", units.number),
    Metric(
        "agreement",
        "Agreement",
        "share",
        True,
        "share of samples on which student and teacher rank the same class first",
        units.share,
    ),
    Metric(
        "predictive_kl",
        "KL to teacher",
        "nats",
        False,
        "mean over samples of sum_c p_t log(p_t / p_s), temperature 1",
        units.number,
    ),
    Metric(
        "parity_max_abs",
        "ONNX parity",
        "logits",
        False,
        "max |ONNX logit - torch logit| over real inputs",
        units.number,
    ),
    _latency("latency_p50_ns", "Latency p50", "median (order statistic)"),
    _latency("latency_mean_ns", "Latency mean", "arithmetic mean"),
    _latency("latency_p90_ns", "Latency p90", "90th percentile (order statistic)"),
    _latency("latency_p95_ns", "Latency p95", "95th percentile (order statistic)"),
    _latency("latency_p99_ns", "Latency p99", "99th percentile (order statistic)"),
    Metric(
        "throughput_per_s",
        "Throughput",
        "1/s",
        True,
        "samples per second: batch / mean time of one call",
        units.rate,
    ),
    Metric(
        "max_throughput_per_s",
        "Max. throughput",
        "1/s",
        True,
        "throughput_per_s at the batch where it is largest, of a sweep over batches 1, 2, 4, …",
        units.rate,
    ),
    Metric(
        "load_ns",
        "Load",
        "ns",
        False,
        "time to create the inference session from the file, in a fresh process",
        units.time,
    ),
    Metric("first_run_ns", "First run", "ns", False, "time of the first call after loading", units.time),
    Metric(
        "steady_run_ns",
        "Steady run",
        "ns",
        False,
        "median of the calls after warm-up, in the process of the first run",
        units.time,
    ),
    Metric(
        "peak_memory_bytes",
        "Peak memory",
        "bytes",
        False,
        "most memory resident at once while loading and running, in a process that does nothing else; interpreter, "
        "runtime and inputs included",
        units.size,
    ),
    Metric(
        "model_memory_bytes",
        "Model memory",
        "bytes",
        False,
        "peak_memory_bytes - memory resident before loading, the runtime having run a graph that computes nothing",
        units.size,
    ),
    Metric(
        "device_memory_bytes",
        "Device memory",
        "bytes",
        False,
        "memory the process holds on the GPU after loading and running, its CUDA context included",
        units.size,
    ),
    Metric(
        "macs",
        "MACs",
        "MACs",
        False,
        "multiply-accumulates of convolutions, linear layers and matrix products, batch 1",
        units.count,
    ),
    Metric("parameters", "Parameters", "1", False, "number of trainable parameters", units.count),
    Metric(
        "weight_bytes",
        "Weights",
        "bytes",
        False,
        "bytes of the weight tensors in the exported file",
        units.size,
    ),
    Metric(
        "size_bytes",
        "Model size",
        "bytes",
        False,
        "bytes of the exported file and its external weights",
        units.size,
    ),
    Metric(
        "energy_j",
        "Energy / inference",
        "J",
        False,
        "gross energy of a window / inferences in it, the median of the windows",
        units.energy,
        units.energy_plus_minus,
    ),
    Metric(
        "energy_net_j",
        "Net energy / inference",
        "J",
        False,
        "(gross energy of a window - idle power x its length) / inferences in it, the median of the windows; idle is "
        "the machine with the models loaded",
        units.energy,
        units.energy_plus_minus,
    ),
    Metric(
        "energy_run_j",
        "Energy / run",
        "J",
        False,
        "gross energy of a window / calls in it, the median of the windows: one call runs one batch",
        units.energy,
        units.energy_plus_minus,
    ),
    Metric(
        "co2_g",
        "CO₂e / inference",
        "g",
        False,
        "energy_j x carbon intensity of the country's electricity",
        units.mass,
        units.mass_plus_minus,
    ),
    Metric(
        "training_s",
        "Training time",
        "s",
        False,
        "wall time of the epochs, validation included",
        units.duration,
    ),
    Metric(
        "training_j",
        "Training energy",
        "J",
        False,
        "gross energy of the epochs, validation included",
        units.energy,
        units.energy_plus_minus,
    ),
    Metric(
        "training_co2_g",
        "Training CO₂e",
        "g",
        False,
        "training_j x carbon intensity of the country's electricity",
        units.mass,
        units.mass_plus_minus,
    ),
)

_PAIRS = (
    Metric(
        "latency_ratio",
        "Speed-up",
        "1",
        True,
        "ratio of block medians, teacher / student, of paired, interleaved blocks: the median over the rounds of a "
        "session, then the geometric mean over sessions",
        units.ratio,
    ),
    Metric(
        "energy_ratio",
        "Energy ratio",
        "1",
        True,
        "teacher energy_j / student energy_j of windows of the same round: the geometric mean over rounds",
        units.ratio,
    ),
    Metric("size_ratio", "Size ratio", "1", True, "teacher size_bytes / student size_bytes", units.ratio),
    Metric("macs_ratio", "MACs ratio", "1", True, "teacher macs / student macs", units.ratio),
    Metric(
        "memory_ratio", "Memory ratio", "1", True, "teacher peak_memory_bytes / student peak_memory_bytes", units.ratio
    ),
    Metric(
        "throughput_ratio",
        "Throughput ratio",
        "1",
        True,
        "student max_throughput_per_s / teacher max_throughput_per_s: the geometric mean over sessions",
        units.ratio,
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

# float32 sums taken in another order differ by a few units in the last place per layer; another computation differs
# by whole logits. The tolerance is relative to the largest logit, with a floor for networks that say little.
_PARITY_RELATIVE = 1e-3
_PARITY_FLOOR = 1e-4

METRICS: dict[str, Metric] = {metric.id: metric for metric in _ALL}
PAIR_METRICS: dict[str, Metric] = {metric.id: metric for metric in _PAIRS}


def parity_tolerance(largest: float) -> float:
    """Return how far two computations of one network may differ in a logit, `largest` being its largest magnitude."""
    return max(_PARITY_FLOOR, _PARITY_RELATIVE * largest)


def metric(id_: str) -> Metric:
    """Return the metric called `id_`, of models or of pairs; raises InputError for an unknown one."""
    found = METRICS.get(id_) or PAIR_METRICS.get(id_)
    if found is None:
        raise InputError(f"unknown metric {id_!r}", f"known: {', '.join([*METRICS, *PAIR_METRICS])}")
    return found
