"""The kernels that onnxruntime chooses for a quantized file: integer or floating point.

A layer between DequantizeLinear and QuantizeLinear gets an integer kernel if the runtime has one that fits; the others
compute in float32 on dequantized numbers, which is slower than a network that was never quantized.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

_INTEGER = {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm"}
_FLOAT = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


@dataclass(frozen=True)
class Kernels:
    """How many convolutions and matrix products run in integers, and how many in floating point."""

    integer: int
    floating: int


def kernels_of(path: Path) -> Kernels:
    """Return the kernels of the file at `path` in onnxruntime on this machine's CPU, with all optimisations."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
        operators = [node.op_type for node in graph.node]
    return Kernels(sum(o in _INTEGER for o in operators), sum(o in _FLOAT for o in operators))
