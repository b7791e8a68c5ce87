"""The weights of an ONNX graph: how many parameters and bytes, in which files."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.modelfile.formats.external_data import SUB_BYTE_BITS, external_files, is_external, tensor_bytes
from kdbench.modelfile.graphs.functions import inlined
from kdbench.modelfile.graphs.untrained import filled, normalising, scales_of_dynamic_ranges, untrained_operands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

STANDARD = {"", "ai.onnx"}
"""The names of the domain of ONNX's own operators."""

# What torch's exporter notes of each tensor: whether it is a parameter of the network, a buffer or a constant.
KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
PARAMETER, CONSTANT = "PARAMETER", "CONSTANT_TENSOR"
_KINDS = {PARAMETER, CONSTANT, "BUFFER"}

# The attributes of Constant that hold numbers, and their types.
_NUMBERS = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
_TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_COPY_AGAIN = "copy the model and its data again, or export it again"


@dataclass(frozen=True)
class Weights:
    """`parameters` counts trained numbers, `weight_bytes` the bytes of all stored tensors in all files.

    `external` are the files of external data.
    """

    parameters: int
    weight_bytes: int
    external: tuple[Path, ...]


def weights_of(model: "onnx.ModelProto", path: Path, whole: "onnx.ModelProto | None" = None) -> Weights:
    """Count the weights of `model`, read from `path`; `whole` is the model with its local functions inlined, if known.

    Raises InputError if a tensor's content does not fit its type and shape, or if a file of external data is missing or
    shorter than its tensors.
    """
    tensors = list(tensors_of(model))
    for name, tensor in tensors:
        _require_content(tensor, f"{path}: {name!r}")
    whole = inlined(model, str(path)) if whole is None else whole
    packed = dict(_packed(nodes_of(whole), dict(tensors)))
    # Trees, linear models and support vectors of scikit-learn keep their weights in lists of attributes.
    in_attributes = [a for node in nodes_of(model) if node.domain == "ai.onnx.ml" for a in node.attribute]
    return Weights(
        parameters=sum(packed.get(name, math.prod(t.dims)) for name, t in trained_tensors(model, path, whole))
        + sum(len(a.floats) for a in in_attributes),
        weight_bytes=sum(tensor_bytes(t) for _, t in tensors)
        + sum(4 * len(a.floats) + 8 * len(a.ints) for a in in_attributes),
        external=tuple(external_files((t for _, t in tensors), path)),
    )


def trained_tensors(
    model: "onnx.ModelProto", path: Path, whole: "onnx.ModelProto"
) -> "list[tuple[str, onnx.TensorProto]]":
    """Return the stored tensors of `model` that hold its parameters, with their names in the graph.

    `path` is the file that it was read from, and `whole` the model with its local functions inlined.
    """
    import onnx

    # 64-bit integers are shapes, axes and indices; narrower ones are quantized weights (biases have 32 bits).
    untrained_types = {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING}
    tensors, nodes = list(tensors_of(model)), list(nodes_of(whole))
    # The operators of local functions read the graph's tensors by other names, and their own constants by these.
    of_functions = set(untrained_operands(node for function in model.functions for node in nodes_within(function.node)))
    of_graph = {tensor.name for tensor in model.graph.initializer}
    declared = declared_kinds(model)
    stored = {name: tensor for name, tensor in tensors if name not in declared}
    # What an exporter writes itself: Constant nodes and, where parameters are declared, all other tensors.
    constants = {name for node in nodes_of(model) if node.op_type == "Constant" for name in node.output}
    written = set(stored) if PARAMETER in declared.values() else constants
    untrained = {*(of_functions - of_graph), *untrained_operands(nodes), *scales_of_dynamic_ranges(nodes)}
    untrained.update(normalising(whole, stored), filled(nodes, stored, written, path))
    untrained.update(name for name, kind in declared.items() if kind != PARAMETER)
    # A number without axes is a constant of a formula, such as the 0.5 of a GELU, or a scale, unless it is declared.
    # So is a single number in a Constant node.
    formulas = {name for name, t in tensors if not t.dims or (name in constants and math.prod(t.dims) == 1)}
    untrained.update(formulas - set(declared))
    return [(n, t) for n, t in tensors if n not in untrained and t.data_type not in untrained_types]


def _require_content(tensor: "onnx.TensorProto", what: str) -> None:
    """Raise InputError unless a tensor that is stored in the model holds what its type and shape need."""
    needed_bytes, needed = tensor_bytes(tensor), math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        if (stored := len(tensor.raw_data)) != needed_bytes:
            raise InputError(f"{what} holds {stored} bytes, and its shape needs {needed_bytes}", _COPY_AGAIN)
        return
    if is_external(tensor):
        return
    numbers = max(len(getattr(tensor, field)) for field in _TYPED_FIELDS)
    kind = type(tensor).DataType.Name(tensor.data_type)
    if kind in SUB_BYTE_BITS:
        fits = needed * SUB_BYTE_BITS[kind] / 8 <= numbers <= needed  # some writers pack them, others do not
    else:
        fits = numbers == needed * (2 if kind.startswith("COMPLEX") else 1)
    if not fits:
        raise InputError(f"{what} holds {numbers} numbers, and its shape needs {needed}", _COPY_AGAIN)


def declared_kinds(model: "onnx.ModelProto") -> dict[str, str]:
    """Return what torch's exporter noted of the graph's tensors, by name; empty for other exporters."""
    values = [*model.graph.input, *model.graph.value_info]
    kinds = ((value.name, entry.value) for value in values for entry in value.metadata_props if entry.key == KIND)
    return {name: kind for name, kind in kinds if kind in _KINDS}


def _packed(
    nodes: "Iterable[onnx.NodeProto]", tensors: "Mapping[str, onnx.TensorProto]"
) -> "Iterator[tuple[str, int]]":
    """Yield the names of weights of less than a byte that bytes hold, with how many there are of them."""
    for node in nodes:
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type in {"MatMulNBits", "MatMulBnb4"}:
            yield node.input[1], sizes.get("K", 0) * sizes.get("N", 0)
        elif node.op_type == "GatherBlockQuantized" and node.input[0] in tensors:
            table = tensors[node.input[0]]
            per_element = 8 // sizes.get("bits", 4) if table.data_type == type(table).UINT8 else 1
            yield node.input[0], math.prod(table.dims) * per_element


def tensors_of(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    """Yield the stored tensors of `model` with their names in the graph: initialisers and constants.

    Branches, loops and local functions are included. A sparse tensor yields its values and its indices.
    """
    nodes = list(nodes_of(model))
    for graph in (model.graph, *itertools.chain.from_iterable(map(subgraphs, nodes))):
        for tensor in graph.initializer:
            yield tensor.name, tensor
        for sparse in graph.sparse_initializer:
            yield from _parts(sparse, sparse.values.name)
    for node in nodes:
        if (tensor := constant_of(node)) is not None:
            yield node.output[0], tensor
        elif node.op_type == "Constant" and node.domain in STANDARD:
            for attribute in (attribute for attribute in node.attribute if attribute.name == "sparse_value"):
                yield from _parts(attribute.sparse_tensor, node.output[0])
    functions = {(function.domain, function.name) for function in model.functions}
    holders = [(node.name, node.attribute) for node in nodes if _holds_tensors(node, functions)]
    holders += [(function.name, function.attribute_proto) for function in model.functions]  # what calls leave out
    for holder, attributes in holders:
        yield from ((f"{holder}/{attribute.name}", attribute.t) for attribute in attributes if attribute.HasField("t"))


def _holds_tensors(node: "onnx.NodeProto", functions: set[tuple[str, str]]) -> bool:
    """Return whether attributes of a node may hold weights: of trees, and of calls of the local `functions`."""
    return node.domain == "ai.onnx.ml" or (node.domain, node.op_type) in functions


def constant_of(node: "onnx.NodeProto") -> "onnx.TensorProto | None":
    """Return the numbers of a Constant node as a tensor; None for sparse ones, text and other nodes.

    None, too, for a node of a local function whose numbers are an attribute of the function's calls.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    if node.op_type != "Constant" or node.domain not in STANDARD or not node.output:
        return None
    for attribute in (attribute for attribute in node.attribute if not attribute.ref_attr_name):
        if attribute.name == "value":
            return attribute.t
        if attribute.name in _NUMBERS:
            return numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), _NUMBERS[attribute.name]))
    return None


def subgraphs(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """Yield the subgraphs of a node: the branches of If, the bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_of(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Yield the nodes of `model`, of its local functions, and of all their subgraphs."""
    return nodes_within([*model.graph.node, *itertools.chain.from_iterable(f.node for f in model.functions)])


def nodes_within(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """Yield nodes and those of all their subgraphs."""
    pending = [*nodes]
    while pending:
        node = pending.pop()
        pending += [inner for graph in subgraphs(node) for inner in graph.node]
        yield node


def _parts(sparse: "onnx.SparseTensorProto", name: str) -> "Iterator[tuple[str, onnx.TensorProto]]":
    yield name, sparse.values
    yield f"{name}/indices", sparse.indices
