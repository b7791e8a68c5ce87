"""The steps to which a model rounds its output: two runtimes that round elsewhere may differ by some of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.modelfile.graphs.graph import OUTPUT_SCALE, PASSING, constants_of, passed_through, scale_of
from kdbench.modelfile.graphs.weights import nodes_of, tensors_of
from kdbench.modelfile.reading import read_model

if TYPE_CHECKING:
    import onnx

_LEVELS = 255  # of 8 bits
_OF_HALF = {10: 2.0**-10, 16: 2.0**-7}  # float16 and bfloat16: the largest step, relative to a number
_ROUNDING = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear", "QGemm", "ConvInteger", "MatMulInteger")


def output_step(path: Path, output: str, span: float, largest: float) -> float | None:
    """Return the step to which the model at `path` rounds its `output`; None if it rounds no activations.

    `span` is the range of the output's values, `largest` their largest magnitude. Where activations are rounded to
    integers, but not the output, which then mixes their steps, it is that of 8 bits over the span. In a file with
    weights in half precision it is that of half precision. Raises InputError for a file that cannot be read.
    """
    model = read_model(path)
    if not any(node.op_type.startswith(_ROUNDING) for node in nodes_of(model)):
        steps = [_OF_HALF[tensor.data_type] for _, tensor in tensors_of(model) if tensor.data_type in _OF_HALF]
        return max(steps) * largest if steps else None
    return _step(model, output) or span / _LEVELS


def _step(model: "onnx.ModelProto", name: str) -> float | None:
    """Return the scale of the integers that the value `name` is read from; None if it was not rounded."""
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in passed_through(name, producers, PASSING):
        if (position := OUTPUT_SCALE.get(node.op_type)) is not None:
            scale = scale_of(node, position, constants_of(model))
            return None if scale is None else scale[0]
    return None
