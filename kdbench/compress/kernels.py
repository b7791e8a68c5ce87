"""Which layers of a file run as integer kernels on this machine, read from the graph that onnxruntime optimised.

A quantized file only requests integer kernels. A layer between DequantizeLinear and QuantizeLinear runs in float32,
with conversions around it, if the runtime has no suitable kernel; it is then slower than in a float file. The kernels
differ between processors, so the graph is read on the machine that runs the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.compress.graph_index import LAYERS, attribute
from kdbench.errors import InputError, first_line
from kdbench.macs import LayerMacs
from kdbench.macs.onnx_counter import count_onnx
from kdbench.macs.onnx_graph import computed, layer_name
from kdbench.processes import temporary

if TYPE_CHECKING:
    import onnx

INTEGER_KERNELS = frozenset(
    {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm"}
    | {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"}
)
"""onnxruntime's operators that multiply and add integers."""

LAYER_KERNELS = INTEGER_KERNELS | {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits"),
    *("LSTM", "GRU", "RNN", "Attention"),
}
"""All operators of onnxruntime with multiply–accumulates."""

_LAYERS = INTEGER_KERNELS | LAYERS | {"FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits"}


@dataclass(frozen=True)
class Kernels:
    """The layers with multiply–accumulates of a file as this machine's CPU runs it: name, operator, MACs of a sample.

    `casts` counts the conversions between float types that run, as in a float16 file whose layers compute in float32.
    MACs are 0 if they are unknown, because a size is open.
    """

    layers: tuple[LayerMacs, ...]
    casts: int

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
        """The share of multiply–accumulates in integers, 0 to 1; of layers, if MACs are unknown; 0 without layers."""
        known = all(macs for *_, macs in self.layers)
        costs = [(operator in INTEGER_KERNELS, macs if known else 1) for _, operator, macs in self.layers]
        return sum(cost for integer, cost in costs if integer) / sum(cost for _, cost in costs) if costs else 0.0


def kernels_of(path: Path, sample_shape: tuple[int | None, ...] = ()) -> Kernels:
    """Return the kernels that onnxruntime chooses on this machine's CPU for the ONNX file at `path`.

    `sample_shape` is the shape of a sample without the batch axis, if the file does not declare it. The graph is that
    before convolutions are laid out for the cache, which does not change the kernels' types. Raises InputError for a
    file that onnxruntime does not load.
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
        graph = onnx.load(optimised, load_external_data=False).graph
        known = tuple(size for size in sample_shape if size)
        report = count_onnx(optimised, known or None) if len(known) == len(sample_shape) else None
    counted = report.by_layer if report is not None else ()
    names = {name for name, *_ in counted}
    nodes = [(layer_name(node), node.op_type, 0) for node in computed(graph) if node.op_type in _LAYERS]
    uncounted = tuple(layer for layer in nodes if layer[0] not in names)
    return Kernels(counted + uncounted, _casts(graph))


def _casts(graph: "onnx.GraphProto") -> int:
    """Return how many nodes convert from or to 16-bit floats; 0 for a file without such weights or casts."""
    import onnx

    half, floats = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}, {onnx.TensorProto.FLOAT}
    kinds = [attribute(node, "to", 0) for node in graph.node if node.op_type == "Cast"]
    if half.isdisjoint(kinds) and all(tensor.data_type not in half for tensor in graph.initializer):
        return 0  # the other casts to float are from integers
    return sum(kind in half | floats for kind in kinds)
