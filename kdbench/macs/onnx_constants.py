"""Shape arithmetic that an ONNX graph does on constants, done beforehand: onnx's inference follows only some of it."""

import math
from typing import Any

from kdbench.errors import InputError
from kdbench.macs.onnx_graph import Model, Node, Shapes, replace_nodes

# What exporters compute shapes and pads with.
_ARITHMETIC = """
    Constant ConstantOfShape Identity Cast Shape Size Reshape Transpose Squeeze Unsqueeze Concat Split Slice Gather
    Expand Range Where Equal Less Greater Not And Or Add Sub Mul Div Mod Neg Floor Ceil Min Max ReduceProd ReduceSum
"""
_SHAPE_ARITHMETIC = frozenset(_ARITHMETIC.split())

# Longer tensors are weights; shorter ones may be the shapes and axes that inference has to know.
_LONGEST_SHAPE = 1024
# What a shape that is stored in a file may have filled with numbers for nothing; one sample's masks are smaller.
_LARGEST_FILLED = 1 << 20


def is_short(tensor: Any) -> bool:
    """Tell whether a stored tensor may be a shape, rather than weights."""
    return bool(math.prod(tensor.dims) <= _LONGEST_SHAPE)


def fold_constants(model: Model) -> dict[str, Any]:
    """Replace the shape arithmetic of `model` that depends on no input by its results; return all short constants.

    A node that cannot be evaluated stays; a shape that then remains unknown is for the caller to report. Raises
    InputError for a constant whose content does not fit its type and shape.
    """
    from onnx import numpy_helper

    stored = [tensor for tensor in model.graph.initializer if is_short(tensor) and not tensor.external_data]
    known = {tensor.name: _value(tensor) for tensor in stored}
    remaining = []
    for node in model.graph.node:
        foldable = node.op_type in _SHAPE_ARITHMETIC and not node.domain
        if not foldable or any(name not in known for name in node.input if name) or _fills_much(node, known):
            remaining.append(node)
            continue
        results = _evaluated(node, known, model.opset_import)
        if results is None:
            remaining.append(node)
            continue
        known.update(results)
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in results.items())
    replace_nodes(model.graph, remaining)
    return known


def _value(tensor: Any) -> Any:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the stored tensor {tensor.name!r} is damaged: {error}", "export the model again") from None


def _fills_much(node: Node, known: dict[str, Any]) -> bool:
    """Tell whether evaluating a node would take much memory, for a tensor too large to be a shape."""
    if node.op_type not in {"ConstantOfShape", "Expand"} or not node.input:
        return False
    return math.prod(int(size) for size in known[node.input[-1]].reshape(-1)) > _LARGEST_FILLED


def _evaluated(node: Node, known: dict[str, Any], opsets: Any) -> dict[str, Any] | None:
    import numpy as np
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    inputs, outputs = ({name for name in names if name} for names in (node.input, node.output))
    values = [[helper.make_empty_tensor_value_info(name) for name in sorted(names)] for names in (inputs, outputs)]
    model = helper.make_model(helper.make_graph([node], "constant", *values), opset_imports=opsets)
    try:
        results = ReferenceEvaluator(model).run(None, {name: known[name] for name in inputs})
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):  # what the operators' code may raise
        return None
    return {name: np.asarray(value) for name, value in zip(sorted(outputs), results, strict=True)}


def store_known_shapes(model: Model, shapes: Shapes) -> bool:
    """Replace Shape nodes by their results where these are known; tell whether there were any."""
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
