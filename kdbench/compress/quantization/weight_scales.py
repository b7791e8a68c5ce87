"""Weights that get one scale, although the others of the file get one per output channel.

Onnxruntime's quantizer takes axis 1 of a transposed convolution's weights for its output channels. With groups, that
axis holds only those of one group, and the scales do not fit the bias, which has a value for each output channel.
"""

from typing import TYPE_CHECKING, Any

from kdbench.compress.graph_index import attribute

if TYPE_CHECKING:
    import onnx


def with_one_scale(model: "onnx.ModelProto") -> dict[str, list[dict[str, Any]]]:
    """Return the weights of transposed convolutions with groups and a bias, as onnxruntime's `TensorQuantOverrides`.

    The empty settings of a tensor mean: the quantizer's defaults for a tensor with one scale.
    """
    transposed = (node for node in model.graph.node if node.op_type == "ConvTranspose" and len(node.input) > 2)
    return {node.input[1]: [{}] for node in transposed if attribute(node, "group", 1) > 1}
