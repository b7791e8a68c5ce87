"""The quantization steps of a model's output: two runtimes that round at different places may differ by such steps."""

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.modelfile.graph import OUTPUT_SCALE, PASSING, constants_of, passed_through, scale_of
from kdbench.modelfile.reading import read_model
from kdbench.modelfile.weights import nodes_of

if TYPE_CHECKING:
    import onnx

_LEVELS = 255  # of 8 bits
_ROUNDING = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear", "QGemm", "ConvInteger", "MatMulInteger")


def output_step(path: Path, output: str, span: float) -> float | None:
    """Return the quantization step of the `output` of the model at `path`; None if it rounds no activations.

    `span` is the range of the output's values. Where activations are rounded, but not the output, which then mixes
    their steps, it is that of 8 bits over the span. Raises InputError for a file that cannot be read.
    """
    model = read_model(path)
    if not any(node.op_type.startswith(_ROUNDING) for node in nodes_of(model)):
        return None
    return _step(model, output) or span / _LEVELS


def _step(model: "onnx.ModelProto", name: str) -> float | None:
    """Return the scale of the integers that the value `name` is read from; None if it was not rounded."""
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in passed_through(name, producers, PASSING):
        if (position := OUTPUT_SCALE.get(node.op_type)) is not None:
            scale = scale_of(node, position, constants_of(model))
            return None if scale is None else scale[0]
    return None
