"""Softmaxes and sigmoids that stay in float32, because 8 bits would erase what they depend on or what they return.

The weights of a softmax are e to the power of its scores, so a step of 0.2 between two levels changes them by 22 %. A
mask adds a large negative number, such as -10000, to the scores of positions that must not count. Of the 256 levels
between it and the largest score, one or two are left for all other scores.

Of the probabilities that a model returns, 8 bits would make many 0: those have no logarithm, and their classes tie.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kdbench.compress.graph_index import LAYERS, GraphIndex
from kdbench.compress.quantization.ranges import LEVELS, Range
from kdbench.modelfile.graphs.graph import OF_SHAPES

if TYPE_CHECKING:
    import onnx

_LARGEST_STEP = 0.2
_WIDEST = _LARGEST_STEP * (LEVELS - 1)
_SOFTMAXES = {"Softmax", "LogSoftmax"}
_PROBABILITIES = {*_SOFTMAXES, "Sigmoid", "HardSigmoid"}


def float_softmaxes(model: "onnx.ModelProto", extremes: Mapping[str, Range]) -> tuple[str, ...]:
    """Return the names of softmaxes whose scores are too far apart for 8 bits, and of the nodes that make them so.

    `extremes` are the least and the largest value of each float tensor. From the softmax, the nodes are followed back
    to layers, and to tensors of narrower ranges.
    """
    graph_index, names = GraphIndex.of(model.graph), dict[str, None]()
    softmaxes = [node for node in model.graph.node if node.op_type in _SOFTMAXES]
    wide = [node for node in softmaxes if _is_wide(extremes.get(node.input[0]))]
    names.update(dict.fromkeys(node.name for node in wide))
    open_tensors = [node.input[0] for node in wide]
    while open_tensors:
        tensor = open_tensors.pop()
        node = graph_index.producers.get(tensor)
        if node is None or node.op_type in LAYERS or node.name in names or not _is_wide(extremes.get(tensor)):
            continue
        names[node.name] = None
        open_tensors += node.input
    return tuple(names)


def float_probabilities(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Return the names of softmaxes and sigmoids with no layer between them and an output, and of the nodes after them.

    The nodes of `model` are in the order in which they run.
    """
    producers, last = GraphIndex.of(model.graph).producers, set[str]()
    pending = [value.name for value in model.graph.output]
    while pending:
        node = producers.get(pending.pop())
        if node is None or node.op_type in LAYERS or node.name in last:
            continue
        last.add(node.name)
        pending += () if node.op_type in _PROBABILITIES else node.input
    exact, names = set[str](), []
    for node in model.graph.node:
        if node.name in last and (node.op_type in _PROBABILITIES or exact.intersection(node.input)):
            names.append(node.name)
            exact.update(node.output)
    return tuple(names)


def tensors_between(model: "onnx.ModelProto", names: Collection[str]) -> set[str]:
    """Return the tensors of the main graph that only the nodes `names` write and read: they are not quantized.

    Nodes that read no values but a tensor's shape do not count, nor do the model's outputs.
    """
    graph_index, between = GraphIndex.of(model.graph), set[str]()
    outputs = {value.name for value in model.graph.output}
    for tensor, producer in graph_index.producers.items():
        readers = graph_index.consumers.get(tensor, [])
        if producer.name not in names or graph_index.uses[tensor] > len(readers) + (tensor in outputs):
            continue
        if all(reader.name in names or reader.op_type in OF_SHAPES for reader in readers):
            between.add(tensor)
    return between


def read_exact_values(quantized: "onnx.ModelProto", names: Collection[str]) -> None:
    """Let the nodes `names` of a model in QDQ form read what they write themselves before it is rounded.

    The quantizer rounds a tensor for all nodes that read it if it quantizes any of them.
    """
    producers = GraphIndex.of(quantized.graph).producers
    for node in quantized.graph.node:
        for place, tensor in enumerate(node.input if node.name in names else ()):
            dequantized = producers.get(tensor)
            rounded = producers.get(dequantized.input[0]) if dequantized is not None else None
            if rounded is None or rounded.op_type != "QuantizeLinear":
                continue
            writer = producers.get(rounded.input[0])
            if writer is not None and writer.name in names:
                node.input[place] = rounded.input[0]


def _is_wide(ends: Range | None) -> bool:
    """Return whether a range, of which the ends may be infinite, is too wide for levels `_LARGEST_STEP` apart.

    The levels always cover zero, too.
    """
    return ends is not None and bool(np.maximum(ends[1], 0.0) - np.minimum(ends[0], 0.0) > _WIDEST)
