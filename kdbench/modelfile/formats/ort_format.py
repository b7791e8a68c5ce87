"""Reading a file in onnxruntime's own format (.ort), a FlatBuffer, as the ONNX model that it holds.

The tables and their fields, by number, are those of onnxruntime's schema `ort.fbs`.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.modelfile.formats.flatbuffer import Buffer, Table, u32

if TYPE_CHECKING:
    import onnx

_IDENTIFIER = b"ORTM"
_HINT = "it may be truncated: convert it again: python -m onnxruntime.tools.convert_onnx_models_to_ort MODEL.onnx"
_ATTRIBUTE_TYPES = (
    *("UNDEFINED", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH"),
    *("FLOATS", "INTS", "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS"),
)
_DEEPEST = 32  # graphs within graphs


def is_ort(path: Path) -> bool:
    """Return whether the file at `path` is in onnxruntime's format."""
    with path.open("rb") as stream:
        return stream.read(8)[4:] == _IDENTIFIER


def read_ort(path: Path) -> "onnx.ModelProto":
    """Return the model in the .ort file at `path`; raises InputError for one that is damaged."""
    import onnx

    data = Buffer(path.read_bytes())
    try:
        session = Table(data, u32(data, 0))
        stored = session.table(1)
        if stored is None:
            raise InputError(f"{path} holds no model", _HINT)
        model = onnx.ModelProto(ir_version=max(stored.integer(0), 4))
        for entry in stored.tables(1):
            model.opset_import.add(domain=entry.text(0), version=entry.integer(1))
        for entry in stored.tables(9):
            model.metadata_props.add(key=entry.text(0), value=entry.text(1))
        graph = stored.table(7)
        if graph is not None:
            _read_graph(graph, model.graph, 0)
    except (struct.error, IndexError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is a damaged .ort file", _HINT) from error
    return model


def _read_graph(stored: Table, graph: "onnx.GraphProto", depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("graphs within graphs")
    graph.name = "ort"
    for tensor in stored.tables(0):
        _read_tensor(tensor, graph.initializer.add())
    for sparse in stored.tables(7):
        target = graph.sparse_initializer.add()
        for number, part in ((0, target.values), (1, target.indices)):
            if (dense := sparse.table(number)) is not None:
                _read_tensor(dense, part)
        target.dims.extend(sparse.integers(2))
    values = {value.text(0): value for value in stored.tables(1)}
    for names, infos in ((stored.texts(5), graph.input), (stored.texts(6), graph.output)):
        for name in names:
            _read_value(name, values.get(name), infos.add())
    boundary = {value.name for value in (*graph.input, *graph.output)}
    for name, value in values.items():
        if name and name not in boundary:
            _read_value(name, value, graph.value_info.add())
    # Nodes are stored by their index, which need not be an order in which they can run.
    nodes = [_read_node(node, depth) for node in stored.tables(2)]
    needs = [{*node.input, *table.texts(12)} for node, table in zip(nodes, stored.tables(2), strict=True)]
    graph.node.extend(nodes[position] for position in _in_order(nodes, needs))


def _in_order(nodes: "list[onnx.NodeProto]", needs: list[set[str]]) -> Iterator[int]:
    """Yield the positions of nodes, each after the nodes that compute the tensors which it needs; last, of cycles."""
    computed = {name for node in nodes for name in node.output}
    readers: dict[str, list[int]] = {}
    missing = []
    for position, names in enumerate(needs):
        waiting = computed & names
        missing.append(len(waiting))
        for name in waiting:
            readers.setdefault(name, []).append(position)
    ready = [position for position, count in enumerate(missing) if not count]
    while ready:
        yield from ready
        following = []
        for position in ready:
            for name in nodes[position].output:
                for reader in readers.pop(name, ()):
                    missing[reader] -= 1
                    if not missing[reader]:
                        following.append(reader)
        ready = sorted(following)
    yield from (position for position, count in enumerate(missing) if count)


def _read_node(stored: Table, depth: int) -> "onnx.NodeProto":
    import onnx

    node = onnx.NodeProto(name=stored.text(0), domain=stored.text(2), op_type=stored.text(5))
    node.input.extend(stored.texts(8))
    node.output.extend(stored.texts(9))
    for attribute in stored.tables(10):
        _read_attribute(attribute, node.attribute.add(), depth)
    return node


def _read_attribute(stored: Table, attribute: "onnx.AttributeProto", depth: int) -> None:
    kind = _ATTRIBUTE_TYPES[stored.integer(2, "<i")]
    attribute.name = stored.text(0)
    attribute.type = attribute.AttributeType.Value(kind)
    if kind == "FLOAT":
        attribute.f = stored.number(3)
    elif kind == "INT":
        attribute.i = stored.integer(4)
    elif kind == "STRING":
        attribute.s = stored.text(5).encode()
    elif kind == "TENSOR" and (value := stored.table(6)) is not None:
        _read_tensor(value, attribute.t)
    elif kind == "GRAPH" and (body := stored.table(7)) is not None:
        _read_graph(body, attribute.g, depth + 1)
    attribute.floats.extend(stored.vector(8, 4, lambda at: struct.unpack_from("<f", stored.data.content, at)[0]))
    attribute.ints.extend(stored.integers(9))
    attribute.strings.extend(text.encode() for text in stored.texts(10))
    for tensor in stored.tables(11):
        _read_tensor(tensor, attribute.tensors.add())
    for graph in stored.tables(12):
        _read_graph(graph, attribute.graphs.add(), depth + 1)


def _read_tensor(stored: Table, tensor: "onnx.TensorProto") -> None:
    tensor.name = stored.text(0)
    tensor.dims.extend(stored.integers(2))
    tensor.data_type = stored.integer(3, "<i")
    if strings := stored.texts(5):
        tensor.string_data.extend(text.encode() for text in strings)
    else:
        tensor.raw_data = stored.content(4)


def _read_value(name: str, stored: Table | None, value: "onnx.ValueInfoProto") -> None:
    """Read the type of a tensor; of other types only the kind is read."""
    value.name = name
    info = stored.table(2) if stored is not None else None
    inner = info.table(2) if info is not None else None
    if info is None or inner is None:
        return
    kind = info.integer(1, "<B")
    if kind == 2:
        value.type.sequence_type.SetInParent()
    elif kind == 3:
        value.type.map_type.SetInParent()
    if kind != 1:
        return
    value.type.tensor_type.elem_type = inner.integer(0, "<i")
    shape = inner.table(1)
    if shape is None:
        return
    value.type.tensor_type.shape.SetInParent()
    for axis in shape.tables(0):
        dimension, target = axis.table(0), value.type.tensor_type.shape.dim.add()
        if dimension is not None and dimension.integer(0, "<b") == 1:
            target.dim_value = dimension.integer(1)
        elif dimension is not None and (name := dimension.text(2)):
            target.dim_param = name
