"""What a model takes: time, memory, arithmetic and bytes."""

from kdbench import units
from kdbench.results.metrics.metric import Metric

# What the kernel counts as resident moves by pages and arenas from run to run: medians of three processes agreed to
# 0.5 % (all of a process) and 4 % (a model's part) over equal networks in reports/digits_methods.
_PEAK, _PART = 0.01, 0.05


def _latency(id_: str, title: str, what: str) -> Metric:
    return Metric(
        id_,
        title,
        "ns",
        False,
        f"{what} of the time of one call, at the labelled batch and threads",
        units.time,
        hardware_dependent=True,
    )


COSTS = (
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
        hardware_dependent=True,
    ),
    Metric(
        "max_throughput_per_s",
        "Max. throughput",
        "1/s",
        True,
        "throughput_per_s at the batch where it is largest, of a sweep over batches 1, 2, 4, …",
        units.rate,
        hardware_dependent=True,
    ),
    Metric(
        "load_ns",
        "Load",
        "ns",
        False,
        "time to create the inference session from the file, in a fresh process",
        units.time,
        hardware_dependent=True,
    ),
    Metric(
        "first_run_ns",
        "First run",
        "ns",
        False,
        "time of the first call after loading",
        units.time,
        hardware_dependent=True,
    ),
    Metric(
        "steady_run_ns",
        "Steady run",
        "ns",
        False,
        "median of the calls after warm-up, in the process of the first run",
        units.time,
        hardware_dependent=True,
    ),
    Metric(
        "peak_memory_bytes",
        "Peak memory",
        "bytes",
        False,
        "most memory resident at once while loading and running, in a process that does nothing else; interpreter, "
        "runtime and inputs included",
        units.size,
        hardware_dependent=True,
        repeatability=_PEAK,
    ),
    Metric(
        "model_memory_bytes",
        "Model memory",
        "bytes",
        False,
        "peak_memory_bytes - memory resident before loading, the runtime having run a graph that computes nothing",
        units.size,
        hardware_dependent=True,
        repeatability=_PART,
    ),
    Metric(
        "device_memory_bytes",
        "Device memory",
        "bytes",
        False,
        "memory the process holds on the GPU after loading and running, its CUDA context included",
        units.size,
        hardware_dependent=True,
        repeatability=_PART,
    ),
    Metric(
        "macs",
        "MACs",
        "MACs",
        False,
        "multiply-accumulates of convolutions, linear layers and matrix products, batch 1",
        units.count,
        repeatability=0,
    ),
    Metric("parameters", "Parameters", "1", False, "number of trainable parameters", units.count, repeatability=0),
    Metric(
        "weight_bytes",
        "Weights",
        "bytes",
        False,
        "bytes of the weight tensors in the exported file",
        units.size,
        repeatability=0,
    ),
    Metric(
        "size_bytes",
        "Model size",
        "bytes",
        False,
        "bytes of the exported file and its external weights",
        units.size,
        repeatability=0,
    ),
)
