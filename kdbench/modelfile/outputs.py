"""Which output of a model holds its answer, and in what form: read from the graph behind each output."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench.errors import InputError
from kdbench.modelfile.weights import subgraphs

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | None, ...]

Form = Literal["logits", "probabilities", "scores", "class", "ranking", "binary_logit", "binary_probability", "numbers"]
"""What an output holds of each sample.

One value per class: `logits`, `probabilities`, or `scores` that only rank the classes. `class` is the number of the
best class, `ranking` the numbers of the best ones, best first. One value for two classes, of which it describes the
second: `binary_logit`, `binary_probability`. The predictions of a regression: `numbers`.
"""

# What leaves the order of the values as it is, so that the answer is read behind it.
PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "DequantizeLinear", "Clip"}
_FORMS: Mapping[str, Form] = {"Softmax": "probabilities", "QLinearSoftmax": "probabilities", "ArgMax": "class"}
# The position of the output's scale among the inputs; its zero point follows.
OUTPUT_SCALE = {
    "QuantizeLinear": 1,
    "QGemm": 7,
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), 6),
    **dict.fromkeys(("QLinearSoftmax", "QLinearSigmoid", "QLinearAveragePool", "QLinearGlobalAveragePool"), 3),
}
_ZIPMAP = "convert it with options={'zipmap': False}"
_NAMES = ("logit", "prob", "score", "output", "pred")  # of outputs of one width, the likeliest first


@dataclass(frozen=True)
class Output:
    """An output of a model file: `shape` as declared, batch first, None for an open dimension.

    `form` is what its values are, `quantization` the scale and the zero point of integers, `unusable` why the output
    cannot be scored: the reason, a colon, and what to do.
    """

    name: str
    shape: Shape = ()
    form: Form = "logits"
    quantization: tuple[float, int] | None = None
    unusable: str | None = None

    @property
    def width(self) -> int | None:
        """The number of values per sample; None where it is open or no shape is declared."""
        inner = self.shape[1:]
        return None if None in inner or not self.shape else math.prod(size or 1 for size in inner)

    @property
    def classes(self) -> int | None:
        """The number of classes told apart; None where the output does not say."""
        if self.form in {"class", "ranking", "numbers"}:
            return None
        return 2 if self.form.startswith("binary") else self.width

    @property
    def scored_as(self) -> Form:
        """What its values are with one column per class."""
        columns: dict[Form, Form] = {"binary_logit": "logits", "binary_probability": "probabilities"}
        return columns.get(self.form, self.form)

    @property
    def shown(self) -> str:
        """Its name and shape, for messages."""
        return f"{self.name!r} ({'x'.join('?' if size is None else str(size) for size in self.shape) or 'no shape'})"


def outputs_of(model: "onnx.ModelProto") -> tuple[Output, ...]:
    """Return every output of a model with what it holds."""
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = constants_of(model)
    return tuple(_output(value, producers, constants) for value in model.graph.output)


def choose_output(outputs: Sequence[Output], name: str | None, classes: int | None, path: Path) -> Output:
    """Return the output `name`, or the one that tells `classes` classes apart (None: unknown).

    Raises InputError for an output that cannot be scored, and where several could be meant; while the classes are
    unknown, nothing is scored, and the likeliest will do.
    """
    listed = ", ".join(output.shown for output in outputs)
    if name is not None:
        matches = [output for output in outputs if output.name == name]
        if not matches:
            raise InputError(f"{path} has no output {name!r}", f"its outputs: {listed}")
        return _usable(matches[0], path, classes)
    usable = [output for output in outputs if output.unusable is None]
    of_width = [output for output in usable if output.classes is not None and output.classes == classes]
    structured = next((output for output in outputs if output.unusable is not None and not output.shape), None)
    if structured is not None and not of_width:  # numbers of the best class beside it are not what was meant
        return _usable(structured, path, classes)
    if len(outputs) == 1:
        return _usable(outputs[0], path, classes)
    # An open width may be the right one; numbers of classes are second best.
    groups = [of_width] if of_width else _by_likelihood(usable, classes)
    candidates = next((group for group in groups if group), [])
    if not candidates:
        wanted = "(batch, classes)" if classes is None else f"(batch, {classes})"
        message = f"{path}: none of its outputs ({listed}) has the shape {wanted}"
        raise InputError(message, "name the one to use: --output")
    if len(candidates) == 1:
        return candidates[0]
    named = ([output for output in candidates if part in output.name.lower()] for part in _NAMES)
    only = next((group[0] for group in named if len(group) == 1), None)
    if only is None and classes is not None:
        raise InputError(f"{path} has several outputs that could be the logits: {listed}", "name one with --output")
    return only or candidates[0]


def choose_numbers(outputs: Sequence[Output], name: str | None, targets: int, path: Path) -> Output:
    """Return the output `name`, or the only one with `targets` values a sample, as the predictions of a regression.

    Raises InputError where there is none, or several could be meant.
    """
    listed = ", ".join(output.shown for output in outputs)
    named = [output for output in outputs if name in {None, output.name}]
    if not named:
        raise InputError(f"{path} has no output {name!r}", f"its outputs: {listed}")
    fitting = [output for output in named if output.shape and output.width in {targets, None}]
    exact = [output for output in fitting if output.width == targets] or fitting
    if not exact:
        message = f"{path}: none of its outputs ({listed}) has the shape (batch, {targets}) of the data's targets"
        raise InputError(message, "choose the data set that the model was made for")
    if len(exact) > 1:
        raise InputError(f"{path} has several outputs of {targets} numbers: {listed}", "name one with --output")
    return replace(exact[0], form="numbers")


def _by_likelihood(usable: Sequence[Output], classes: int | None) -> list[list[Output]]:
    """Return groups of outputs that may be meant where none has the width of the classes, the likeliest first."""
    rows = [output for output in usable if output.form not in {"class", "ranking"}]
    open_width = [output for output in rows if output.width is None]
    known = [output for output in rows if output.width is not None and len(output.shape) > 1]
    numbers = [output for output in usable if output.form in {"class", "ranking"}]
    return [known, open_width, numbers] if classes is None else [open_width, numbers, known]


def _usable(output: Output, path: Path, classes: int | None) -> Output:
    """Return the output; raises InputError if it is no tensor, or cannot be scored while `classes` are known."""
    if output.unusable is not None and (classes is not None or not output.shape):
        reason, _, hint = output.unusable.partition(": ")
        raise InputError(f"{path}: output {output.name!r} {reason}", hint)
    return output


def _output(
    value: "onnx.ValueInfoProto", producers: "Mapping[str, onnx.NodeProto]", constants: "Mapping[str, onnx.TensorProto]"
) -> Output:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        producer = producers.get(value.name)
        zipped = producer is not None and producer.op_type == "ZipMap"
        what = "is a list of dictionaries, one per sample" if zipped else f"is a {(kind or 'unknown').split('_')[0]}"
        hint = _ZIPMAP if zipped else "export the tensor (batch, classes) itself"
        return Output(value.name, unusable=f"{what}, not a tensor: {hint}")
    element = value.type.tensor_type.elem_type
    shape = declared_shape(value)
    if element == onnx.TensorProto.STRING:
        reason = "holds names of classes: export the tensor (batch, classes) itself, or name another output"
        return Output(value.name, shape or (None,), unusable=reason)
    if sum(size is None or size > 1 for size in shape[1:]) > 1:
        reason = "has no row of one value per class: name the output that has, with --output"
        return Output(value.name, shape, unusable=reason)
    node, quantization, rounded = _behind(value.name, producers, constants)
    integer = element not in {1, 10, 11, 16}  # float, float16, double, bfloat16
    if node is not None and node.op_type == "TopK":
        if _leads_to(value.name, node.output[0], producers):
            return Output(value.name, shape, unusable="holds the best values without their classes: use the indices")
        return Output(value.name, shape, "ranking")
    form: Form = "logits"
    if node is not None and node.op_type in _FORMS:
        form = _FORMS[node.op_type]
    elif element in {6, 7, 9} and quantization is None and shape and math.prod(size or 2 for size in shape[1:]) == 1:
        form = "class"  # int32, int64 or bool, one a sample
    output = Output(value.name, shape, form, quantization)
    sigmoid = node is not None and node.op_type in {"Sigmoid", "QLinearSigmoid"}
    if form == "logits" and output.width == 1:
        form = "binary_probability" if sigmoid else "binary_logit"
    elif (form == "logits" and (sigmoid or (integer and quantization is None))) or (
        form == "probabilities" and rounded  # rounded to 0, a probability has no logarithm
    ):
        form = "scores"
    return Output(value.name, shape, form, quantization)


def _behind(
    name: str, producers: "Mapping[str, onnx.NodeProto]", constants: "Mapping[str, onnx.TensorProto]"
) -> "tuple[onnx.NodeProto | None, tuple[float, int] | None, bool]":
    """Return the node that computes the answer, behind those that only pass it on, and the scale of its integers.

    The last value says whether the answer was rounded to integers on its way, even if it is given as floats.
    """
    quantization: tuple[float, int] | None = None
    dequantized = rounded = False
    while (node := producers.get(name)) is not None:
        position = OUTPUT_SCALE.get(node.op_type)
        rounded = rounded or position is not None
        if position is not None and quantization is None and not dequantized:
            quantization = scale_of(node, position, constants)
        if node.op_type not in PASSING and node.op_type != "QuantizeLinear":
            break
        dequantized = dequantized or node.op_type == "DequantizeLinear"
        name = node.input[0]
    return node, quantization, rounded


def scale_of(
    node: "onnx.NodeProto", position: int, constants: "Mapping[str, onnx.TensorProto]"
) -> tuple[float, int] | None:
    """Return the stored scale and zero point that are inputs of `node` from `position` on; None for several."""
    from onnx import numpy_helper

    names = [*node.input[position : position + 2], "", ""][:2]
    if names[0] not in constants or (names[1] and names[1] not in constants):
        return None
    scale = numpy_helper.to_array(constants[names[0]])
    zero_point = numpy_helper.to_array(constants[names[1]]) if names[1] else None
    if scale.size != 1 or (zero_point is not None and zero_point.size != 1):
        return None
    return float(scale.reshape(-1)[0]), 0 if zero_point is None else int(zero_point.reshape(-1)[0])


def input_quantization(model: "onnx.ModelProto", name: str) -> tuple[float, int] | None:
    """Return the scale and the zero point with which a graph dequantizes its input `name`; None if it does not."""
    readers = [node for node in model.graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != "DequantizeLinear":
        return None
    return scale_of(readers[0], 1, constants_of(model))


def values_behind(model: "onnx.ModelProto", name: str) -> set[str]:
    """Return the names of all values that the value `name` is computed from, itself included."""
    producers = {output: node for node in model.graph.node for output in node.output}
    seen: set[str] = set()
    pending = [name]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            node = producers.get(name)
            pending += [] if node is None else values_read(node)
    return seen


def values_read(node: "onnx.NodeProto") -> list[str]:
    """Return the values that a node reads, those in its branches and bodies included."""
    inner = (other for graph in subgraphs(node) for other in graph.node)
    return [*node.input, *(name for other in inner for name in values_read(other))]


def constants_of(model: "onnx.ModelProto") -> "dict[str, onnx.TensorProto]":
    """Return the stored tensors of a graph, initializers and constants, by the names of their values."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return constants


def _leads_to(name: str, end: str, producers: "Mapping[str, onnx.NodeProto]") -> bool:
    """Return whether the value `name` is `end`, passed on."""
    while name != end:
        node = producers.get(name)
        if node is None or node.op_type not in PASSING:
            return False
        name = node.input[0]
    return True


def declared_shape(value: "onnx.ValueInfoProto") -> Shape:
    """Return the shape that the file declares, None for an open dimension; empty if it declares none."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
