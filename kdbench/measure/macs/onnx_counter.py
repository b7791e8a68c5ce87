"""Count the canonical multiply–accumulates of an ONNX file from its graph."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kdbench.measure.macs import LayerMacs, MacsReport
from kdbench.measure.macs.einsum import einsum_macs
from kdbench.measure.macs.onnx_constants import Node, Shapes
from kdbench.measure.macs.onnx_shapes import infer_shapes, load_graph
from kdbench.measure.macs.weightless import ONNX

Formula = Callable[[Node, Shapes], int | None]
"""The MACs of a node, None if they cannot be told; a KeyError says which tensor's shape is unknown."""

_DOMAINS = {"", "ai.onnx", "com.microsoft"}


def _attribute(node: Node, name: str, default: Any) -> Any:
    import onnx

    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _convolution(weight: int) -> Formula:
    """Every output cell takes one product per cell of its group's kernel; input `weight` is (out, in/groups, k…)."""

    def formula(node: Node, shapes: Shapes) -> int:
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[weight]][1:])

    return formula


def _transposed_convolution(node: Node, shapes: Shapes) -> int:
    """Every input cell gives one product per cell of its group's kernel; the weight is (in, out/groups, k…)."""
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _product(node: Node, shapes: Shapes) -> int:
    """Every output cell sums over the last axis of the left operand."""
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: Node, shapes: Shapes) -> int:
    summed = shapes[node.input[0]][0 if _attribute(node, "transA", 0) else 1]
    return math.prod(shapes[node.output[0]]) * summed


def _fused_matmul(node: Node, shapes: Shapes) -> int | None:
    """MatMul of operands whose last two axes may be swapped."""
    if _attribute(node, "transBatchA", 0) or _attribute(node, "transBatchB", 0):
        return None
    summed = shapes[node.input[0]][-2 if _attribute(node, "transA", 0) else -1]
    return math.prod(shapes[node.output[0]]) * summed


def _einsum(node: Node, shapes: Shapes) -> int | None:
    equation = _attribute(node, "equation", b"").decode()
    return einsum_macs(equation, [shapes[name] for name in node.input])


_FORMULAS: dict[str, Formula] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "QGemm": _gemm,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "FusedMatMul": _fused_matmul,
    "Einsum": _einsum,
}


def count_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> MacsReport:
    """Count the multiply–accumulates of one sample through the ONNX file at `path`, canonical convention.

    `input_shape`, without the batch axis, is needed only where the file leaves it open. A file made for a fixed
    batch is counted at that batch and divided by it. What is inside the branches of If and the bodies of Loop and
    Scan runs an unknown number of times: it is listed as uncounted. Raises InputError for a file that is no model.
    """
    model = load_graph(path)
    shapes, batch = infer_shapes(model, input_shape)
    layers: list[LayerMacs] = []
    uncounted: list[str] = []
    for node in model.graph.node:
        macs, reason = _count(node, shapes)
        if reason:
            uncounted.append(reason)
        elif macs % batch:
            uncounted.append(f"{node.op_type} (not the same for every sample)")
        else:
            layers.append((node.name or node.output[0], node.op_type, macs // batch))
        uncounted += [f"{inner.op_type} (inside {node.op_type})" for inner in _inner_nodes(node) if _may_hold(inner)]
    return MacsReport.of("canonical", layers, uncounted)


def _count(node: Node, shapes: Shapes) -> tuple[int, str]:
    """Return the MACs of a node, and the reason, if any, why they cannot be told."""
    if not _may_hold(node):
        return 0, ""
    if node.domain not in _DOMAINS or node.op_type not in _FORMULAS:
        return 0, f"{node.domain}::{node.op_type}".removeprefix("::")
    try:
        macs = _FORMULAS[node.op_type](node, shapes)
    except KeyError as unknown:
        return 0, f"{node.op_type} (shape of {unknown.args[0]} unknown)"
    return (0, f"{node.op_type} (of a form without a formula)") if macs is None else (macs, "")


def _may_hold(node: Node) -> bool:
    """Tell whether a node may hold MACs; one that only holds subgraphs is judged by what is in them."""
    holds_graphs = any(True for _ in _subgraphs(node))
    return not holds_graphs and not (node.domain in _DOMAINS and node.op_type in ONNX)


def _subgraphs(node: Node) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _inner_nodes(node: Node) -> Iterator[Node]:
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield inner
            yield from _inner_nodes(inner)
