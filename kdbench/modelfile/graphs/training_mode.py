"""Operators of a graph that compute as in training: a file that was exported without `model.eval()` has them."""

from typing import TYPE_CHECKING

from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.graph import attribute_of, constants_of
from kdbench.modelfile.graphs.weights import STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx


RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
"""Operators whose result differs from run to run."""


def training_operators(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Return the operators of the main graph that runtimes compute as in training, sorted.

    A Dropout then sets random values to zero, a BatchNormalization takes mean and variance from the batch, and dropped
    paths are random numbers.
    """
    constants = constants_of(model)
    nodes = (node for node in model.graph.node if node.domain in STANDARD)
    return tuple(sorted({node.op_type for node in nodes if _trains(node, constants)}))


def _trains(node: "onnx.NodeProto", constants: "Mapping[str, onnx.TensorProto]") -> bool:
    from onnx import numpy_helper

    if node.op_type in RANDOM:
        return True
    if node.op_type == "BatchNormalization":
        return bool(attribute_of(node, "training_mode", 0))
    if node.op_type != "Dropout":
        return False
    ratio, mode = (constants.get(name) for name in [*node.input, "", ""][1:3])
    if mode is None or is_external(mode) or not numpy_helper.to_array(mode).all():
        return False
    return ratio is None or is_external(ratio) or bool(numpy_helper.to_array(ratio).any())
