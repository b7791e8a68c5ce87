"""Facts of an ONNX classifier: its input, output, layout and sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench import storage
from kdbench.errors import InputError
from kdbench.modelfile.kinds import foreign, unreadable
from kdbench.modelfile.ort_format import is_ort, read_ort
from kdbench.modelfile.outputs import (
    Output,
    Shape,
    choose_numbers,
    choose_output,
    declared_shape,
    input_quantization,
    outputs_of,
    values_behind,
)
from kdbench.modelfile.weights import nodes_of, weights_of

if TYPE_CHECKING:
    import onnx

Layout = Literal["NCHW", "NHWC", "flat", "other"]

# ONNX element types of images; other types (int64, string, …) belong to other kinds of model.
_INPUT_TYPES: Mapping[int, str] = {1: "float32", 2: "uint8", 3: "int8", 10: "float16", 11: "float64"}
_CHANNELS = {1, 3, 4}
_MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's limit for one message


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model file: its bytes, its weights, and the measured input and output.

    `input_shape` is as declared, batch first, None for an open dimension; `sample_shape` is the shape of one sample, in
    the model's layout. `output` is the one of `outputs` that holds the answer. `metadata` are the file's own
    properties, `input_quantization` the scale and the zero point of an integer input. `dynamic_quantization` says
    that ranges of activations are taken from each batch. `size_bytes` counts the file and its external data.
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
    dynamic_quantization: bool = False

    @property
    def classes(self) -> int | None:
        """The number of classes that the output tells apart; None where it does not say."""
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
) -> ModelFacts:
    """Read the facts of the ONNX model at `path`, without loading external weights.

    `output` names the output that holds the answer; by default it is the one that tells `classes` classes apart, or of
    a regression the one with as many numbers as there are `targets`. `data_shape` is the (channels, height, width) of
    the images. Raises InputError for a file that is missing, truncated or no ONNX model, has no usable input or output,
    or does not take such images.
    """
    facts = read_facts(path)
    if data_shape is not None:
        facts = replace(facts, layout=layout_for(facts.input_shape, data_shape, str(path)))
    return replace(facts, output=output_of(facts, output, classes, targets, path))


def output_of(facts: ModelFacts, name: str | None, classes: int | None, targets: int, path: Path) -> Output:
    """Return the output that holds a model's answer: of a regression if there are `targets`, else of a classifier.

    Raises InputError where it cannot be scored, or several could be meant.
    """
    if targets:
        return choose_numbers(facts.outputs, name, targets, path)
    return choose_output(facts.outputs, name, classes, path)


def read_facts(path: Path) -> ModelFacts:
    """Read the facts of the ONNX model at `path` while the data is unknown: the likely layout, the first output.

    Raises InputError for a file that is missing, truncated or no ONNX model, or has no usable input.
    """
    model = read_model(path)
    image = _the_input(model, path)
    shape = declared_shape(image)
    if len(shape) < 2:
        message = f"{path}: input {image.name!r} has no batch and sample dimensions (declared: {_text(shape)})"
        raise InputError(message, "export the model with a declared input shape, batch first")
    layout: Layout = "flat" if _is_flat(shape) else "NCHW" if len(shape) == 4 else "other"  # the most likely
    if layout == "NCHW" and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
        layout = "NHWC"
    outputs = outputs_of(model)
    weights = weights_of(model, path)
    return ModelFacts(
        sha256=storage.sha256(path),
        size_bytes=path.stat().st_size + weights.external_bytes,
        weight_bytes=weights.weight_bytes,
        parameters=weights.parameters,
        opset=next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), None),
        input_name=image.name,
        input_dtype=_INPUT_TYPES[image.type.tensor_type.elem_type],
        input_shape=shape,
        layout=layout,
        fixed_batch=shape[0],
        outputs=outputs,
        output=outputs[0],
        metadata={entry.key: entry.value for entry in model.metadata_props},
        input_quantization=input_quantization(model, image.name),
        dynamic_quantization=any(node.op_type.startswith("DynamicQuantize") for node in nodes_of(model)),
    )


def layout_for(shape: Shape, data_shape: tuple[int, ...], name: str) -> Layout:
    """Return the layout in which images (channels, height, width) fit an input of `shape` (batch first).

    Raises InputError, with `name` and both shapes, if they do not fit.
    """
    channels, height, width = data_shape
    candidates: tuple[tuple[Layout, tuple[int, ...]], ...] = (
        ("NCHW", (channels, height, width)),
        ("NHWC", (height, width, channels)),
        ("flat", (channels * height * width,)),
        ("other", (height, width) if channels == 1 else ()),
    )
    for layout, sample in candidates:
        if fits(shape[1:], sample):
            return layout
    if _is_flat(shape) and fits(tuple(size for size in shape[1:] if size != 1), (math.prod(data_shape),)):
        return "flat"
    images = f"{channels}x{height}x{width} (channels x height x width)"
    hint = "choose the data set that the model was trained for, or resize the images to its input"
    other, option = (1, "grey") if channels == 3 else (3, "RGB")
    converted = (other, height, width), (height, width, other), (other * height * width,)
    if channels in {1, 3} and any(fits(shape[1:], sample) for sample in converted):
        hint = f"convert the images: --colour {option}"
    raise InputError(f"{name} takes inputs of shape {_text(shape)}, but the images are {images}", hint)


def _is_flat(shape: Shape) -> bool:
    """Return whether a sample is a vector: one axis, beside others of one element, such as 1x784x1."""
    return len(shape) == 2 or (len(shape) > 2 and sum(size != 1 for size in shape[1:]) == 1)


def fits(declared: Shape, shape: tuple[int, ...]) -> bool:
    """Return whether a sample of `shape` fits the declared shape."""
    return len(declared) == len(shape) and all(d in {None, s} for d, s in zip(declared, shape, strict=True))


def read_model(path: Path) -> "onnx.ModelProto":
    """Read an ONNX or .ort file without external weights; raises InputError, with what it is, for another file."""
    if not path.exists():
        raise InputError(f"no model file at {path}", "check the path")
    try:
        if (kind := foreign(path)) is not None:
            raise InputError(f"{path} is {kind[0]}, not an ONNX model", kind[1])
        model = read_ort(path) if is_ort(path) else _read_onnx(path)
        if model is None or not model.graph.node or not model.graph.output:
            if (kind := unreadable(path)) is not None:
                raise InputError(f"{path} is {kind[0]}, not an ONNX model", kind[1])
            what = "is not a readable ONNX model" if model is None else "holds no ONNX graph"
            raise InputError(f"{path} {what}", "give the path of an .onnx file; is it cut short?")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    return model


def _read_onnx(path: Path) -> "onnx.ModelProto | None":
    """Read an ONNX file; None if it is no such message."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # installed with onnx, without stubs

    if path.stat().st_size > _MAX_FILE_BYTES:  # before gigabytes are read
        hint = "save its weights in a separate file next to it (save_as_external_data)"
        raise InputError(f"{path} is larger than an ONNX file can be, which is 2 GiB", hint)
    try:
        return onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None


def data_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that an answer needs: neither weights nor placeholders.

    Before IR version 4 weights are inputs too. A placeholder is an input that no output needs, or only outputs that
    also need another input, such as the labels of a loss beside logits that need the images alone.
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


def _the_input(model: "onnx.ModelProto", path: Path) -> "onnx.ValueInfoProto":
    import onnx

    inputs = data_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise InputError(f"{path} has {len(inputs)} inputs ({names})", "kdbench measures models of one image input")
    element = inputs[0].type.tensor_type.elem_type
    if element not in _INPUT_TYPES:
        fault = f"input {inputs[0].name!r} is of type {onnx.TensorProto.DataType.Name(element).lower()}"
        raise InputError(f"{path}: {fault}", f"images can be {', '.join(_INPUT_TYPES.values())}")
    return inputs[0]


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "none"
