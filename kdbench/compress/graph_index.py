"""An index of a graph for changing it: the nodes that read and write each tensor, and the constant values."""

from collections import Counter
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.modelfile.graphs.weights import constant_of, subgraphs

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators with weights, which have most of a network's multiply–accumulates."""


@dataclass(frozen=True)
class GraphIndex:
    """The nodes of a graph by the tensors that they write and read, and the stored tensors by name.

    `uses` counts every reader of a tensor, those in subgraphs and the graph's outputs included.
    """

    graph: "onnx.GraphProto"
    producers: "dict[str, onnx.NodeProto]"
    consumers: "dict[str, list[onnx.NodeProto]]"
    uses: Counter[str]
    stored: "dict[str, onnx.TensorProto]"

    @classmethod
    def of(cls, graph: "onnx.GraphProto") -> "GraphIndex":
        """Index `graph`; it stays valid while no node is added, removed or connected otherwise."""
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in filter(None, node.input):
                consumers.setdefault(name, []).append(node)
        return cls(
            graph,
            {name: node for node in graph.node for name in node.output if name},
            consumers,
            Counter(_read(graph)),
            {tensor.name: tensor for tensor in graph.initializer},
        )

    def sole_consumer(self, name: str) -> "onnx.NodeProto | None":
        """Return the only node that reads `name`; None if there are several, or a subgraph or the output reads it."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and self.uses[name] == 1 else None

    def array(self, name: str) -> "NDArray[Any] | None":
        """Return the stored values called `name`, None if they are not stored."""
        import onnx

        return onnx.numpy_helper.to_array(self.stored[name]) if name in self.stored else None

    def replace(self, name: str, values: "NDArray[Any]") -> None:
        """Store other values of the same shape and type under `name`."""
        import onnx

        tensor = self.stored[name]
        typed = np.ascontiguousarray(values, onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        tensor.CopyFrom(onnx.numpy_helper.from_array(typed, name))


def _read(graph: "onnx.GraphProto") -> list[str]:
    names = [value.name for value in graph.output]
    return names + [name for node in graph.node for name in _needed(node)]


def attribute(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    """Return the value of a node's attribute; text as bytes."""
    import onnx

    match = next((entry for entry in node.attribute if entry.name == name), None)
    return default if match is None else onnx.helper.get_attribute_value(match)


def lift_constants(graph: "onnx.GraphProto") -> None:
    """Store the values of Constant nodes as initializers, under the same names."""
    for node in list(graph.node):
        if (tensor := constant_of(node)) is not None:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)


def sort_nodes(graph: "onnx.GraphProto") -> None:
    """Sort the nodes in place, so that each comes after the nodes whose results it or its subgraphs read."""
    producer = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = [{producer[name] for name in _needed(node) if name in producer} for node in graph.node]
    order = list(TopologicalSorter(dict(enumerate(needs))).static_order())
    copies = [type(graph.node[place]).FromString(graph.node[place].SerializeToString()) for place in order]
    del graph.node[:]
    graph.node.extend(copies)


def _needed(node: "onnx.NodeProto") -> list[str]:
    return [*filter(None, node.input), *(name for inner in subgraphs(node) for name in _read(inner))]
