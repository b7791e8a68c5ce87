"""Which layers of a file run as integer kernels on this machine, read from the graph that onnxruntime makes of it.

A quantized file only asks for integers: a layer between DequantizeLinear and QuantizeLinear computes in float32 where
the runtime has no kernel that fits, with conversions around it, and is then slower than in a float file. What fits
differs between processors, so the graph is read where the file will run.
"""

from dataclasses import dataclass
from pathlib import Path

from kdbench import temporary
from kdbench.errors import InputError, first_line
from kdbench.macs import LayerMacs
from kdbench.macs.onnx_counter import count_onnx

INTEGER_KERNELS = frozenset(
    {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm"}
    | {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"}
)
"""onnxruntime's operators that multiply and add integers."""


@dataclass(frozen=True)
class Kernels:
    """The layers with multiply–accumulates of a file as this machine's CPU runs it: name, operator, MACs of a sample.

    `casts` counts the conversions between float types that run: those of a float16 file whose layers compute in
    float32 after all. `uncounted` are operators whose MACs are unknown.
    """

    layers: tuple[LayerMacs, ...]
    casts: int
    uncounted: tuple[str, ...] = ()

    @property
    def integer(self) -> tuple[str, ...]:
        """The layers that run as integer kernels."""
        return tuple(name for name, operator, _ in self.layers if operator in INTEGER_KERNELS)

    @property
    def floating(self) -> tuple[str, ...]:
        """The layers that run in floating point."""
        return tuple(name for name, operator, _ in self.layers if operator not in INTEGER_KERNELS)

    @property
    def integer_share(self) -> float:
        """The share of multiply–accumulates in integers, 0 to 1; 0 of a file without any."""
        total = sum(macs for *_, macs in self.layers)
        return sum(macs for _, operator, macs in self.layers if operator in INTEGER_KERNELS) / total if total else 0.0


def kernels_of(path: Path, sample_shape: tuple[int | None, ...] = ()) -> Kernels:
    """Return the kernels that onnxruntime chooses on this machine's CPU for the ONNX file at `path`.

    `sample_shape` is an input's without the batch axis, where the file leaves it open. The graph is the one before
    convolutions are laid out for the cache, which does not change what runs in integers. Raises InputError for a file
    that onnxruntime does not load.
    """
    import onnx
    import onnxruntime

    from kdbench.worker.runtimes.onnxruntime import FAULTS

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with temporary.folder() as folder:
        optimised = folder / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        try:
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except FAULTS as error:
            hint = "kdbench bench MODEL --no-accuracy shows whether onnxruntime runs it"
            raise InputError(f"onnxruntime does not load {path}: {first_line(error)}", hint) from error
        known = tuple(size for size in sample_shape if size)
        report = count_onnx(optimised, known if known and len(known) == len(sample_shape) else None)
        graph = onnx.load(optimised, load_external_data=False).graph
    return Kernels(report.by_layer, sum(node.op_type == "Cast" for node in graph.node), report.uncounted)
