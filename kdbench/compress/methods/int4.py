"""INT4, weight-only: the weights of matrix products as 4-bit integers in blocks, dequantized while they are read."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.graph_index import GraphIndex, attribute, sort_nodes
from kdbench.compress.observing import require_loads
from kdbench.compress.preparing import forget_unused_domains, prepared, quantizing, require_nodes
from kdbench.errors import InputError
from kdbench.extras import installer
from kdbench.units import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx


@COMPRESSORS.register("int4")
class Int4(Compressor):
    """INT4 for weights only: matrix products with 4-bit weights, for networks that consist mostly of them.

    Each block of `block_size` weights has a scale. Activations stay in float32. `keep_float` names the nodes that are
    not changed.
    """

    block_size: Literal[16, 32, 64, 128, 256] = 32
    keep_float: tuple[str, ...] = ()

    def require_available(self) -> None:
        """Raise InputError if onnx-ir is missing, which onnxruntime needs for 4-bit weights but does not install."""
        _quantizer()

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the INT4 file; raises InputError for a model without matrix products of stored weights."""
        model = prepared(source.path)
        require_nodes(model, self.keep_float)
        split_gemm(model, self.keep_float)
        kept = self.keep_float + _other_types(model)
        share = product_share(model, kept)
        if not share:
            message = f"{source.path} has no matrix product with stored weights to quantize"
            raise InputError(message, "int4 is for MatMul and Gemm; convolutions take int8")
        quantized = quantize_weights(model, self.block_size, kept)
        target.write_bytes(quantized.SerializeToString(deterministic=True))
        require_loads(target, source.facts)
        facts = {"quantized_share": share}
        return Outcome(facts=facts, warnings=self.warnings_about(source, target, facts))

    def warnings_about(self, source: Source, target: Path, facts: "Mapping[str, Any]") -> tuple[str, ...]:  # noqa: ARG002 - of all methods
        """Warn about a file in which less than half of the weights have 4 bits."""
        return _warnings(facts["quantized_share"])


def split_gemm(model: "onnx.ModelProto", kept: tuple[str, ...] = ()) -> None:
    """Replace each Gemm with stored weights by MatMul and Add, because only MatMul has 4-bit kernels."""
    import onnx

    graph_index = GraphIndex.of(model.graph)
    for node in [node for node in model.graph.node if node.op_type == "Gemm" and node.name not in kept]:
        weight = graph_index.array(node.input[1])
        scaled = attribute(node, "alpha", 1.0) != 1 or attribute(node, "beta", 1.0) != 1
        if weight is None or scaled or attribute(node, "transA", 0):
            continue
        product, stem = node.output[0], node.name or node.output[0]
        if attribute(node, "transB", 0):
            node.input[1] = f"{stem}/weight"
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(weight.T), node.input[1]))
        if len(node.input) > 2 and node.input[2]:
            product = f"{node.output[0]}/product"
            add = onnx.helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{stem}/bias")
            model.graph.node.append(add)
        model.graph.node.append(onnx.helper.make_node("MatMul", list(node.input[:2]), [product], name=stem))
        model.graph.node.remove(node)
    _drop_unread(model)
    sort_nodes(model.graph)


def _other_types(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Return the names of products whose weights are not float32: they have no 4-bit kernel."""
    import onnx

    stored = GraphIndex.of(model.graph).stored
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in stored]
    return tuple(n.name for n in products if stored[n.input[1]].data_type != onnx.TensorProto.FLOAT)


def _drop_unread(model: "onnx.ModelProto") -> None:
    uses = GraphIndex.of(model.graph).uses
    for tensor in [tensor for tensor in model.graph.initializer if not uses[tensor.name]]:
        model.graph.initializer.remove(tensor)


def product_share(model: "onnx.ModelProto", kept: tuple[str, ...] = ()) -> float:
    """Return the share of the stored numbers of `model` that are weights of MatMul, 0 to 1."""
    graph_index = GraphIndex.of(model.graph)
    weights = {
        node.input[1]
        for node in model.graph.node
        if node.op_type == "MatMul"
        and node.name not in kept
        and len(node.input) > 1
        and node.input[1] in graph_index.stored
    }
    sizes = {name: math.prod(tensor.dims) for name, tensor in graph_index.stored.items()}
    products = sum(size for name, size in sizes.items() if name in weights and len(graph_index.stored[name].dims) == 2)
    return products / sum(sizes.values()) if products else 0.0


def _quantizer() -> Any:
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        raise InputError(f"int4 needs a package that is missing: {error}", f"{installer()} onnx-ir") from error
    return MatMulNBitsQuantizer


def quantize_weights(model: "onnx.ModelProto", block_size: int, kept: tuple[str, ...] = ()) -> "onnx.ModelProto":
    """Return `model` with symmetric 4-bit weights in its matrix products; raises InputError if onnx-ir is missing."""
    with quantizing():
        quantizer = _quantizer()(model, bits=4, block_size=block_size, is_symmetric=True, nodes_to_exclude=list(kept))
        quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    _drop_unread(quantized)
    forget_unused_domains(quantized)
    return quantized


def _warnings(share: float) -> tuple[str, ...]:
    if share >= 0.5:
        return ()
    return (f"only {percent(share)} of the weights are in matrix products; the others stay in float32",)
