"""The shapes in an ONNX graph for one sample, by onnx's inference, without reading weights.

onnx's inference follows only some of the shape arithmetic that exporters write, so nodes that depend on constants alone
are evaluated first.
"""

import math
from collections.abc import Mapping
from typing import Any

from kdbench.errors import InputError
from kdbench.macs.onnx_graph import Graph, KnownValues, Model, Node, Operation, Shape, Shapes, replace_nodes
from kdbench.macs.onnx_pooling import correct_pool
from kdbench.macs.onnx_runtime_shapes import replace_by_standard, ruled_outputs
from kdbench.modelfile.facts import data_inputs
from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.graph import values_read
from kdbench.modelfile.graphs.outputs import declared_shape
from kdbench.modelfile.layouts import fits


def infer(model: Model, input_shape: tuple[int, ...] | None) -> tuple[KnownValues, int]:
    """Return the known facts about `model`'s tensors, and the batch size of their shapes.

    The batch is the model's, or 1 if the model leaves it open. `input_shape`, without the batch axis, replaces the
    shape of the first input, and is needed if the model leaves it open. Raises InputError if it contradicts the model,
    or if an open axis has no size.
    """
    skeleton = _without_weights(model, data_inputs(model))
    batch = _fix_input(skeleton, input_shape)
    return _known(skeleton), batch


def infer_body(
    model: Model, body: Graph, shapes: Mapping[str, Shape], constants: Mapping[str, Any], outer: KnownValues
) -> KnownValues:
    """Return the known facts inside `body`, a subgraph of a node of `model`.

    `shapes` and `constants` belong to the body's inputs, `outer` to the tensors around it. Raises InputError for shapes
    that contradict each other.
    """
    from onnx import helper, numpy_helper

    inner = type(model)(ir_version=model.ir_version, opset_import=model.opset_import, graph=body)
    types = outer.types | {value.name: value.type.tensor_type.elem_type or 1 for value in body.input}
    inner_names = {name for node in body.node for name in node.output}
    inner_names |= {tensor.name for tensor in body.initializer} | {value.name for value in body.input}
    values = {name: value for name, value in outer.constants.items() if name not in inner_names} | dict(constants)
    around = {name: shape for name, shape in outer.shapes.items() if name not in inner_names}
    inner.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    del inner.graph.input[:]
    inner.graph.input.extend(
        helper.make_tensor_value_info(name, types.get(name, 1), shape)
        for name, shape in (around | dict(shapes)).items()
        if name not in values
    )
    return _known(_without_weights(inner, list(inner.graph.input)))


def _known(skeleton: Model) -> KnownValues:
    """Infer shapes, types and constants in rounds, because the value of one shape may determine further shapes."""
    replace_by_standard(skeleton.graph)
    constants = fold_constants(skeleton)
    # Stored shapes are for the exporter's batch, or symbolic, so all are inferred again. Types are inferred again
    # because a standard replacement may have another type than the operator that it replaces.
    del skeleton.graph.value_info[:]
    for output in skeleton.graph.output:
        output.ClearField("type")
    while True:
        shapes, types = _inferred(skeleton)
        while correct_pool(skeleton.graph, shapes):
            shapes, types = _inferred(skeleton)
        known = KnownValues(shapes, types, constants)
        ruled = ruled_outputs([Operation(node, known) for node in skeleton.graph.node])
        stored = store_known_shapes(skeleton, shapes)
        if not ruled and not stored:
            return known
        constants |= fold_constants(skeleton)
        skeleton.graph.value_info.extend(ruled)


def _inferred(model: Model) -> tuple[Shapes, dict[str, int]]:
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        raise InputError(f"the shapes in the model contradict each other: {error}", "check --input") from error
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        axes = tensor.shape.dim
        if tensor.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes, types


def _without_weights(model: Model, inputs: list[Any]) -> Model:
    """Return a copy of `model` for shape inference, with these `inputs`; long stored tensors have no content.

    Sparse tensors become such tensors, because onnx's inference does not know their shapes.
    """
    skeleton = type(model)()
    skeleton.CopyFrom(model)
    for sparse in skeleton.graph.sparse_initializer:
        dense = skeleton.graph.initializer.add(dims=sparse.dims, data_type=sparse.values.data_type)
        dense.name, dense.data_location = sparse.values.name, dense.EXTERNAL
    del skeleton.graph.sparse_initializer[:]
    del skeleton.graph.input[:]
    skeleton.graph.input.extend(inputs)
    skeleton.ir_version = max(model.ir_version, 4)
    ordered = sorted_nodes(skeleton.graph)
    del skeleton.graph.node[:]
    skeleton.graph.node.extend(ordered)
    for tensor in skeleton.graph.initializer:
        if not is_short(tensor):
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
    return skeleton


def sorted_nodes(graph: Graph) -> list[Node]:
    """Return copies of the nodes, each after the nodes whose outputs it reads.

    Converters append nodes at the end, such as casts of a model in half precision. Runtimes sort them; onnx's inference
    does not, and would infer no shapes after them.
    """
    producers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    ordered: list[int] = []
    placed: set[int] = set()
    for number in range(len(graph.node)):
        pending = [number]
        while pending:
            node = pending[-1]
            sources = (producers.get(name) for name in values_read(graph.node[node]))
            missing = [source for source in sources if source is not None and source not in placed and source != node]
            if missing and len(pending) <= len(graph.node):
                pending += missing
                continue
            pending.pop()
            if node not in placed:
                placed.add(node)
                ordered.append(node)
    copies = [type(graph.node[number])() for number in ordered]
    for copy, number in zip(copies, ordered, strict=True):
        copy.CopyFrom(graph.node[number])
    return copies


def _fix_input(model: Model, input_shape: tuple[int, ...] | None) -> int:
    """Set the shapes of the inputs to fixed sizes; return the batch size."""
    inputs = data_inputs(model)
    if not inputs:
        raise InputError("the model has no input", "only models that map a tensor to logits can be counted")
    first, *others = inputs
    if not declared_shape(first):
        message = f"the model does not declare the shape of its input {first.name}"
        raise InputError(message, "export it with one, batch first")
    axes = first.type.tensor_type.shape.dim
    batch = axes[0].dim_value if axes and axes[0].dim_value > 0 else 1
    if input_shape is not None:
        if not fits(declared_shape(first)[1:], input_shape):
            shape = "x".join(str(size) for size in input_shape)
            message = f"the model's input {_described(first)} is not {shape}"
            raise InputError(message, "give the shape of one sample, without batch")
        for axis, size in zip(axes, (batch, *input_shape), strict=True):
            axis.dim_value = size
    for value in (first, *others):
        axes = value.type.tensor_type.shape.dim
        if axes and axes[0].dim_value <= 0:
            axes[0].dim_value = batch
        if not all(axis.dim_value > 0 for axis in axes):
            raise InputError(f"the model leaves the size of its input {_described(value)} open", "give --input")
    return batch


def _described(value: Any) -> str:
    axes = value.type.tensor_type.shape.dim
    return f"{value.name} ({', '.join(str(axis.dim_value or axis.dim_param or '?') for axis in axes)})"


# The operators with which exporters compute shapes and pads.
_ARITHMETIC = """
    Constant ConstantOfShape Identity Cast Shape Size Reshape Transpose Squeeze Unsqueeze Concat Split Slice Gather
    Expand Range Where Equal Less Greater Not And Or Add Sub Mul Div Mod Neg Floor Ceil Min Max ReduceProd ReduceSum
"""
_SHAPE_ARITHMETIC = frozenset(_ARITHMETIC.split())

# Longer tensors are weights; shorter ones may be shapes and axes that inference needs.
_MAX_SHAPE_VALUES = 1024
# Larger tensors that a node would fill are not evaluated; the masks of one sample are smaller.
_MAX_FILLED = 1 << 20


def is_short(tensor: Any) -> bool:
    """Return whether a stored tensor may be a shape rather than weights."""
    return bool(math.prod(tensor.dims) <= _MAX_SHAPE_VALUES)


def fold_constants(model: Model) -> dict[str, Any]:
    """Replace the shape arithmetic of `model` that depends on no input by its results; return all short constants.

    A node that cannot be evaluated stays, and the caller reports the shapes that remain unknown. Raises InputError for
    a constant whose content does not fit its type and shape.
    """
    from onnx import numpy_helper

    known: dict[str, Any] = {}
    for tensor in model.graph.initializer:
        try:
            if is_short(tensor) and not is_external(tensor):
                known[tensor.name] = numpy_helper.to_array(tensor)
        except (KeyError, TypeError, ValueError) as error:
            message = f"the stored tensor {tensor.name!r} is damaged: {error}"
            raise InputError(message, "export the model again") from None
    remaining = []
    for node in model.graph.node:
        results = _evaluated(node, known, model.opset_import) if _is_foldable(node, known) else None
        if results is None:
            remaining.append(node)
            continue
        known.update(results)
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in results.items())
    replace_nodes(model.graph, remaining)
    return known


def _is_foldable(node: Node, known: dict[str, Any]) -> bool:
    """Return whether a node is shape arithmetic on `known` values that fills no tensor too large to be a shape."""
    if node.domain or node.op_type not in _SHAPE_ARITHMETIC or any(name not in known for name in node.input if name):
        return False
    if any(is_external(attribute.t) for attribute in node.attribute if attribute.HasField("t")):
        return False
    fills = node.op_type in {"ConstantOfShape", "Expand"} and node.input
    return not fills or math.prod(int(size) for size in known[node.input[-1]].reshape(-1)) <= _MAX_FILLED


def _evaluated(node: Node, known: dict[str, Any], opsets: Any) -> dict[str, Any] | None:
    import numpy as np
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    inputs, outputs = ({name for name in names if name} for names in (node.input, node.output))
    values = [[helper.make_empty_tensor_value_info(name) for name in sorted(names)] for names in (inputs, outputs)]
    model = helper.make_model(helper.make_graph([node], "constant", *values), opset_imports=opsets)
    try:
        results = ReferenceEvaluator(model).run(None, {name: known[name] for name in inputs})
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):  # of the reference operators
        return None
    return {name: np.asarray(value) for name, value in zip(sorted(outputs), results, strict=True)}


def store_known_shapes(model: Model, shapes: Shapes) -> bool:
    """Replace Shape nodes by their known results; return whether any was replaced."""
    import numpy as np
    from onnx import numpy_helper

    known: Shapes = {}
    for node in model.graph.node:
        if node.op_type == "Shape" and node.input and node.input[0] in shapes:
            ends = {attribute.name: attribute.i for attribute in node.attribute}
            known[node.output[0]] = shapes[node.input[0]][ends.get("start") : ends.get("end")]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in known.items()
    )
    replace_nodes(model.graph, [node for node in model.graph.node if not known.keys() & set(node.output)])
    return bool(known)
