"""Facts of an ONNX classifier: its input, output, layout, weights and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.modelfile.choosing import choose_numbers, choose_output
from kdbench.modelfile.formats.external_data import files_sha256
from kdbench.modelfile.graphs.class_names import class_names_of
from kdbench.modelfile.graphs.functions import inlined
from kdbench.modelfile.graphs.graph import graph_sha256, values_behind
from kdbench.modelfile.graphs.inputs import input_quantization, scales_pixels
from kdbench.modelfile.graphs.outputs import Output, Shape, declared_shape, outputs_of
from kdbench.modelfile.graphs.training_mode import training_operators
from kdbench.modelfile.graphs.weights import STANDARD, nodes_of, weights_of
from kdbench.modelfile.layouts import CHANNELS, TOKENS, Layout, is_flat, layout_for, shape_text
from kdbench.modelfile.reading import read_model

if TYPE_CHECKING:
    import onnx

# ONNX element types of images and numbers; other types (string, bool, …) belong to other kinds of model.
_INPUT_TYPES: Mapping[int, str] = {1: "float32", 2: "uint8", 3: "int8", 10: "float16", 11: "float64"}
_TOKEN_TYPES: Mapping[int, str] = {6: "int32", 7: "int64"}
_PASSED_ON = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten"}  # ids stay ids
_QUANTIZED = (
    "QLinear",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantize",
    "QGemm",
    "QAttention",
    "GatherBlockQuantized",
)
_QUANTIZED_ENDINGS = ("Integer", "IntegerToFloat", "NBits", "Bnb4")


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model file: its bytes, its weights, and the measured input and output.

    `sha256` (`files_sha256`) and `size_bytes` are of the file and its external data. `input_shape` is as declared,
    batch first, None for an open dimension. `sample_shape` is the shape of one sample in the model's layout; the layout
    "array" is for inputs that are not images. `vocabulary` is the number of token ids, if the model embeds them.
    `output` is the one of `outputs` that holds the logits. `metadata` are the file's own properties,
    `input_quantization` the scale and the zero point of an integer input. `scales_pixels` says that the graph begins
    with the normalisation of pixels from 0 to 255, `dynamic_quantization` that ranges of activations are taken from
    each batch; `quantized` are the operators on integers, `training` those that compute as in training. `class_names`
    are those of a classifier of ai.onnx.ml. `graph` is `graph_sha256`, empty if unknown.
    """

    sha256: str
    size_bytes: int
    weight_bytes: int
    parameters: int
    opset: int | None
    input_name: str
    input_dtype: str
    input_shape: Shape
    layout: Layout
    fixed_batch: int | None
    outputs: tuple[Output, ...]
    output: Output
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_quantization: tuple[float, int] | None = None
    scales_pixels: bool = False
    dynamic_quantization: bool = False
    quantized: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    vocabulary: int | None = None
    class_names: tuple[str, ...] = ()
    graph: str = ""

    @property
    def classes(self) -> int | None:
        """The number of classes of the output; None where its shape is unknown."""
        return self.output.classes

    @property
    def sample_shape(self) -> Shape:
        """One sample's declared shape."""
        return self.input_shape[1:]

    @property
    def sides(self) -> tuple[int | None, int | None] | None:
        """Height and width of its images, None where open; None if the input is no image."""
        height = {"NCHW": 2, "NHWC": 1, "other": 1}.get(self.layout)
        if height is None or len(self.input_shape) < height + 2:
            return None
        return self.input_shape[height], self.input_shape[height + 1]

    @property
    def open_sides(self) -> bool:
        """Whether height or width of its images is open."""
        return self.sides is not None and None in self.sides

    @property
    def channels(self) -> int | None:
        """The number of channels of its images; None if it is open or the input is no image."""
        channel = {"NCHW": 1, "NHWC": 3}.get(self.layout)
        return None if channel is None else self.input_shape[channel]


def inspect(
    path: Path,
    *,
    output: str | None = None,
    classes: int | None = None,
    targets: int = 0,
    data_shape: tuple[int, ...] | None = None,
    data_layout: str = "NCHW",
) -> ModelFacts:
    """Read the facts of the ONNX model at `path`, without loading external weights.

    `output` names the output that holds the logits; by default it is the one with `classes` classes, or of
    a regression the one with as many numbers as there are `targets`. `data_shape` is the shape of a sample, (channels,
    height, width) of images, and `data_layout` the layout of the data. Raises InputError for a file that is missing,
    truncated or no ONNX model, has no usable input or output, or does not take such samples.
    """
    facts = read_facts(path)
    if data_shape is not None:
        facts = replace(facts, layout=layout_for(facts.input_shape, data_shape, str(path), data_layout))
    return replace(facts, output=output_of(facts, output, classes, targets, path))


def output_of(facts: ModelFacts, name: str | None, classes: int | None, targets: int, path: Path) -> Output:
    """Return the output that holds a model's predictions: of a regression if there are `targets`, else of a classifier.

    Raises InputError where it cannot be scored, or several could be meant.
    """
    if targets:
        output = choose_numbers(facts.outputs, name, targets, path)
    else:
        output = choose_output(facts.outputs, name, classes, path)
    if output.others:
        needed = ", ".join(map(repr, (facts.input_name, *output.others)))
        message = f"{path}: output {output.name!r} needs {1 + len(output.others)} inputs ({needed})"
        raise InputError(message, "kdbench measures models of one input: name another output with --output")
    return output


def read_facts(path: Path) -> ModelFacts:
    """Read the facts of the ONNX model at `path` while the data is unknown: the likely layout, the first output.

    Raises InputError for a file that is missing, truncated or no ONNX model, or has no usable input.
    """
    model = read_model(path)
    graph = inlined(model, str(path))
    weights = weights_of(model, path, graph)  # first: what follows reads constants
    image = _the_input(graph, path)
    shape = declared_shape(image)
    if len(shape) < 2:
        message = f"{path}: input {image.name!r} has no batch and sample dimensions (declared: {shape_text(shape)})"
        raise InputError(message, "export the model with a declared input shape, batch first")
    layout: Layout = "flat" if is_flat(shape) else "NCHW" if len(shape) == 4 else "other"  # the most likely
    if layout == "NCHW" and shape[3] in CHANNELS and shape[1] not in CHANNELS:
        layout = "NHWC"
    dtype = {**_INPUT_TYPES, **_TOKEN_TYPES}[image.type.tensor_type.elem_type]
    if dtype in TOKENS:
        layout = "array"
    outputs = tuple(_with_inputs(output, graph, image.name) for output in outputs_of(graph))
    files = (path, *weights.external)
    return ModelFacts(
        sha256=files_sha256(files),
        size_bytes=sum(file.stat().st_size for file in files),
        weight_bytes=weights.weight_bytes,
        parameters=weights.parameters,
        opset=next((o.version for o in model.opset_import if o.domain in STANDARD), None),
        input_name=image.name,
        input_dtype=dtype,
        input_shape=shape,
        layout=layout,
        fixed_batch=shape[0],
        outputs=outputs,
        output=outputs[0],
        metadata={entry.key: entry.value for entry in model.metadata_props},
        input_quantization=input_quantization(graph, image.name),
        scales_pixels=scales_pixels(graph, image.name),
        class_names=class_names_of(graph),
        dynamic_quantization=any(node.op_type.startswith("DynamicQuantize") for node in nodes_of(model)),
        quantized=integer_operators(model),
        training=training_operators(graph),
        vocabulary=_vocabulary(graph, image.name) if dtype in TOKENS else None,
        graph=graph_sha256(model),
    )


def integer_operators(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Return the operators on quantized numbers that a model has, sorted; none for a model of floats alone."""
    kinds = {node.op_type for node in nodes_of(model)}
    return tuple(sorted(kind for kind in kinds if kind.startswith(_QUANTIZED) or kind.endswith(_QUANTIZED_ENDINGS)))


def _vocabulary(model: "onnx.ModelProto", name: str) -> int | None:
    """Return the number of rows of the smallest table that the input is looked up in; None without one."""
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    ids, tables = {name}, []
    for node in model.graph.node:
        if node.op_type in _PASSED_ON and ids.intersection(node.input[:1]):
            ids.update(node.output)
        elif node.op_type == "Gather" and ids.intersection(node.input[1:2]) and node.input[0] in rows:
            tables.append(int(rows[node.input[0]]))
    return min(tables, default=None)


def data_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that outputs depend on: neither weights nor placeholders.

    Before IR version 4 weights are inputs too. A placeholder is an input that no output needs, or that is needed only
    by outputs with further inputs: such as the labels of a loss, next to logits that need only the images.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) < 2:
        return inputs
    names = {value.name for value in inputs}
    needed = [names & values_behind(model, output.name) for output in model.graph.output]
    alone = {name for name in names if {name} in needed}
    used = alone if len(alone) == 1 else set().union(*needed)
    return [value for value in inputs if value.name in used]


def _with_inputs(output: Output, model: "onnx.ModelProto", measured: str) -> Output:
    """Return an output with the inputs that it needs besides the `measured` one; the others get zeros."""
    weights = {tensor.name for tensor in model.graph.initializer}
    if not any(value.name not in weights | {measured} for value in model.graph.input):
        return output  # without a walk through the graph, which takes seconds for many nodes and outputs
    behind = values_behind(model, output.name) - weights - {measured}
    return replace(output, others=tuple(value.name for value in model.graph.input if value.name in behind))


def _the_input(model: "onnx.ModelProto", path: Path) -> "onnx.ValueInfoProto":
    import onnx

    inputs = data_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        hint = "kdbench measures models of one input: compute others in the model, such as a mask from the token ids"
        raise InputError(f"{path} has {len(inputs)} inputs ({names})", hint)
    element = inputs[0].type.tensor_type.elem_type
    if element in _TOKEN_TYPES and len(declared_shape(inputs[0])) == 2:
        return inputs[0]
    if element not in _INPUT_TYPES:
        kinds = {number: kind for kind, number in onnx.TensorProto.DataType.items()}
        fault = f"input {inputs[0].name!r} is of type {kinds.get(element, str(element)).lower()}"
        images = ", ".join(_INPUT_TYPES.values())
        hint = f"images can be {images}; token ids (batch, steps) {' or '.join(_TOKEN_TYPES.values())}"
        raise InputError(f"{path}: {fault}", hint)
    return inputs[0]
