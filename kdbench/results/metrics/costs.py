"""Metrics of the cost of running a model: time, memory, arithmetic and bytes."""

from functools import partial
from typing import Literal

from kdbench import units
from kdbench.results.metrics.metric import BETWEEN_RUNS, Metric

# What the kernel counts as resident moves by pages and arenas from run to run: medians of three processes agreed to
# 0.5 % (the whole process) and 4 % (the model's part) over equal networks in reports/digits_methods.
_PEAK, _PART = 0.01, 0.05

_Sampled = partial(Metric, hardware_dependent=True, run_to_run=BETWEEN_RUNS)
_Rate = partial(_Sampled, unit="1/s", higher_is_better=True, text=units.rate)
_ColdStart = partial(_Sampled, unit="ns", higher_is_better=False, text=units.time, group="cold start")
_Memory = partial(
    Metric, unit="bytes", higher_is_better=False, text=units.size, group="memory", hardware_dependent=True
)
_Counted = partial(Metric, group="file", repeatability=0, versus_teacher="ratio")


def _latency(id_: str, title: str, statistic: str, versus_teacher: Literal["ratio"] | None = None) -> Metric:
    formula = f"{statistic} of the time of one call, at the labelled batch and threads"
    return _Sampled(id_, title, "ns", False, formula, units.time, group="latency", versus_teacher=versus_teacher)


# fmt: off
COSTS = (
    _latency("latency_p50_ns", "Latency p50", "median (order statistic)", "ratio"),
    _latency("latency_mean_ns", "Latency mean", "arithmetic mean"),
    _latency("latency_p90_ns", "Latency p90", "90th percentile (order statistic)"),
    _latency("latency_p95_ns", "Latency p95", "95th percentile (order statistic)"),
    _latency("latency_p99_ns", "Latency p99", "99th percentile (order statistic)"),
    Metric("relative_latency", "Relative latency", "1", False, group="relative", hardware_dependent=True,
        text=units.ratio,
        formula="time of one call relative to the model that all sessions of a sweep share: 1 / the ratio of block "
        "medians, that model / this one, of paired, interleaved blocks, as for latency_ratio"),
    _Rate("throughput_per_s", "Throughput", group="throughput",
        formula="samples per second: batch / mean time of one call"),
    _Rate("max_throughput_per_s", "Max. throughput", group="offline", versus_teacher="ratio",
        formula="throughput_per_s at the batch where it is largest, of a sweep over batches 1, 2, 4, …"),
    _ColdStart("load_ns", "Load", formula="time to create the inference session from the file, in a fresh process"),
    _ColdStart("first_run_ns", "First run", formula="time of the first call after loading"),
    _ColdStart("steady_run_ns", "Steady run",
        formula="median of the calls after warm-up, in the process of the first run"),
    _Memory("peak_memory_bytes", "Peak memory", repeatability=_PEAK, versus_teacher="ratio",
        formula="peak resident memory while loading and running, in a process that does nothing else; "
        "interpreter, runtime and inputs included"),
    _Memory("model_memory_bytes", "Model memory", repeatability=_PART,
        formula="peak_memory_bytes - memory resident before loading, after the runtime has run an empty graph"),
    _Memory("device_memory_bytes", "Device memory", repeatability=_PART,
        formula="memory of the process on the GPU after loading and running, its CUDA context included"),
    Metric("runtime_ratio", "Speed-up of the runtime", "1", True, text=units.ratio, group="runtimes",
        hardware_dependent=True,
        formula="median time of a call in the runtime that axis `beside` names / in this one, same model, session and "
        "cores: the geometric mean over sessions"),
    _Counted("macs", "MACs", "MACs", False, text=units.count,
        formula="multiply-accumulates of convolutions, linear layers and matrix products, batch 1"),
    _Counted("parameters", "Parameters", "1", False, "number of trainable parameters", units.count),
    _Counted("weight_bytes", "Weights", "bytes", False, "bytes of the weight tensors in the exported file", units.size),
    _Counted("size_bytes", "Model size", "bytes", False, text=units.size,
        formula="bytes of the exported file and its external weights"),
    _Counted("compressed_bytes", "Compressed", "bytes", False, text=units.size,
        formula="size_bytes after DEFLATE (zlib, level 6), as in a package or a download"),
    _Counted("deployed_bytes", "Deployed file", "bytes", False, text=units.size,
        formula="bytes of the file that the runtime uses instead of the .onnx file, such as .tflite"),
    _Counted("arena_bytes", "Arena", "bytes", False, text=units.size,
        formula="memory that tflite-micro plans for activations and its own structures, with pointers of 64 bits: more "
        "than a microcontroller needs"),
    Metric("integer_share", "Integer kernels", "share", True, text=units.share, group="kernels",
        hardware_dependent=True, repeatability=0,
        formula="share of the multiply-accumulates of a quantized or compressed file that onnxruntime computes in "
        "integer kernels on this machine's CPU; of the layers where a size is open"),
)
# fmt: on
