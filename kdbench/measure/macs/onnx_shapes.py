"""The shapes in an ONNX graph for one sample, by onnx's inference. Weights are not needed and not read."""

from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.measure.macs.onnx_constants import (
    Model,
    Node,
    Shapes,
    fold_constants,
    is_short,
    replace_nodes,
    store_known_shapes,
)

# onnxruntime's own operators that onnx cannot infer: the standard operator whose output has the same shape, and
# which inputs it takes. For inference only; the graph that is counted keeps its operators.
_SAME_SHAPE: dict[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "Gelu": ("Identity", (0,)),
    "FastGelu": ("Identity", (0,)),
    "QuickGelu": ("Identity", (0,)),
    "BiasGelu": ("Identity", (0,)),
    "SkipLayerNormalization": ("Identity", (0,)),
    "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
}
_MICROSOFT = "com.microsoft"


def load_graph(path: Path) -> Model:
    """Read an ONNX file without its external weights, its local functions inlined; raises InputError if it is none."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # onnx brings it, untyped

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except FileNotFoundError:
        raise InputError(f"no model at {path}", "check the path") from None
    except (DecodeError, OSError) as error:
        raise InputError(f"{path} is not an ONNX model: {error}", "it may be cut short or of another format") from error
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path} is not an ONNX model: it holds no graph", "it may be cut short or of another format")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def infer_shapes(model: Model, input_shape: tuple[int, ...] | None) -> tuple[Shapes, int]:
    """Return the known shapes of `model`'s tensors, and the batch size they hold for.

    The batch is 1 where the model leaves it open, else the model's own. `input_shape`, without the batch axis,
    replaces the shape of the first input, and is needed where the model leaves it open. Raises InputError if it
    contradicts the model, or where an open axis has no size.
    """
    skeleton = _without_weights(model)
    batch = _fix_input(skeleton, input_shape)
    replace_nodes(skeleton, [standard for node in skeleton.graph.node for standard in _standardised(node)])
    fold_constants(skeleton)
    # Shapes that the exporter wrote down are for its own batch, or symbolic: all of them are inferred again.
    del skeleton.graph.value_info[:]
    for output in skeleton.graph.output:
        output.type.tensor_type.ClearField("shape")
    shapes = _inferred(skeleton)
    while store_known_shapes(skeleton, shapes):  # What they are good for may have to be known for further shapes.
        fold_constants(skeleton)
        shapes |= _inferred(skeleton)
    return shapes, batch


def _inferred(model: Model) -> Shapes:
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise InputError(f"the shapes in the model contradict each other: {error}", "check --input") from error
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        axes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def data_inputs(model: Model) -> list[Any]:
    """Return the inputs that a caller feeds: before IR version 4, initializers are listed as inputs too."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _without_weights(model: Model) -> Model:
    """Return a copy of `model` for inference: stored tensors are constants, and long ones have no content."""
    skeleton = type(model)()
    skeleton.CopyFrom(model)
    fed = data_inputs(skeleton)
    del skeleton.graph.input[:]
    skeleton.graph.input.extend(fed)
    skeleton.ir_version = max(model.ir_version, 4)
    for tensor in skeleton.graph.initializer:
        if not is_short(tensor):
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
    return skeleton


def _fix_input(model: Model, input_shape: tuple[int, ...] | None) -> int:
    """Give the inputs fixed shapes; return the batch size."""
    inputs = data_inputs(model)
    if not inputs:
        raise InputError("the model has no input", "only models that map a tensor to logits can be counted")
    first, *others = inputs
    axes = first.type.tensor_type.shape.dim
    batch = axes[0].dim_value if axes and axes[0].dim_value > 0 else 1
    if input_shape is not None:
        _check_rank_and_sizes(first, input_shape)
        for axis, size in zip(axes, (batch, *input_shape), strict=True):
            axis.dim_value = size
    for value in (first, *others):
        axes = value.type.tensor_type.shape.dim
        if axes and axes[0].dim_value <= 0:
            axes[0].dim_value = batch
        if not all(axis.dim_value > 0 for axis in axes):
            raise InputError(f"the model leaves the size of its input {_described(value)} open", "give --input")
    return batch


def _check_rank_and_sizes(value: Any, input_shape: tuple[int, ...]) -> None:
    sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim][1:]
    fits = len(sizes) == len(input_shape) and all(
        own in {0, given} for own, given in zip(sizes, input_shape, strict=True)
    )
    if not fits:
        given = "x".join(str(size) for size in input_shape)
        raise InputError(
            f"the model's input {_described(value)} is not {given}", "give the shape of one sample, without batch"
        )


def _described(value: Any) -> str:
    axes = value.type.tensor_type.shape.dim
    return f"{value.name} ({', '.join(str(axis.dim_value or axis.dim_param or '?') for axis in axes)})"


def _standardised(node: Node) -> list[Node]:
    """Return standard nodes whose outputs have the shapes of `node`'s."""
    from onnx import helper

    if node.domain != _MICROSOFT:
        return [node]
    if node.op_type == "FusedMatMul":  # A product of operands whose last two axes may be swapped.
        swapped = {attribute.name for attribute in node.attribute if attribute.name[:5] == "trans" and attribute.i}
        equation = f"...{'ki' if 'transA' in swapped else 'ik'},...{'jk' if 'transB' in swapped else 'kj'}->...ij"
        return [helper.make_node("Einsum", node.input, node.output, equation=equation)]
    if node.op_type not in _SAME_SHAPE:
        return [node]
    standard, positions = _SAME_SHAPE[node.op_type]
    made = [helper.make_node(standard, [node.input[i] for i in positions], [name]) for name in node.output if name]
    for one in made:
        one.attribute.extend(node.attribute)
    return made
