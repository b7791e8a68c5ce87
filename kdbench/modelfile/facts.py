"""Facts of an ONNX classifier: its input, output, layout and sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench import storage
from kdbench.errors import InputError
from kdbench.modelfile.weights import weights_of

if TYPE_CHECKING:
    import onnx

Layout = Literal["NCHW", "NHWC", "flat", "other"]
Shape = tuple[int | None, ...]

# ONNX element types of images; other types (int64, string, …) belong to other kinds of model.
_INPUT_TYPES: Mapping[int, str] = {1: "float32", 2: "uint8", 10: "float16", 11: "float64"}
_CHANNELS = {1, 3, 4}
_MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's limit for one message


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model file: its bytes, its weights, and the measured input and output.

    `input_shape` and `output_shape` are as declared, batch first, None for an open dimension; `sample_shape` is the
    shape of one sample, in the model's layout. `size_bytes` counts the file and its external data.
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
    output_name: str
    output_shape: Shape
    classes: int | None

    @property
    def sample_shape(self) -> Shape:
        """One sample's declared shape."""
        return self.input_shape[1:]


def inspect(path: Path, *, output: str | None = None, data_shape: tuple[int, int, int] | None = None) -> ModelFacts:
    """Read the facts of the ONNX classifier at `path`, without loading external weights.

    `output` names the output that holds the logits; by default the only one, or the first of shape (N, classes).
    `data_shape` is the (channels, height, width) of the images. Raises InputError for a file that is missing, truncated
    or no ONNX model, has no usable input or output, or does not take such images.
    """
    model = read_model(path)
    image = _the_input(model, path)
    shape = declared_shape(image)
    if len(shape) < 2:
        message = f"{path}: input {image.name!r} has no batch and sample dimensions (declared: {_text(shape)})"
        raise InputError(message, "export the model with a declared input shape, batch first")
    layout: Layout = "flat" if len(shape) == 2 else "NCHW" if len(shape) == 4 else "other"  # the most likely
    if data_shape:
        layout = layout_for(shape, data_shape, str(path))
    elif layout == "NCHW" and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
        layout = "NHWC"
    logits = _the_output(model, output, path)
    output_shape = declared_shape(logits)
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
        output_name=logits.name,
        output_shape=output_shape,
        classes=output_shape[1] if _is_rows_of_logits(output_shape) else None,
    )


def layout_for(shape: Shape, data_shape: tuple[int, int, int], name: str) -> Layout:
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
    images = f"{channels}x{height}x{width} (channels x height x width)"
    hint = "choose the data set that the model was trained for, or resize the images to its input"
    raise InputError(f"{name} takes inputs of shape {_text(shape)}, but the images are {images}", hint)


def fits(declared: Shape, shape: tuple[int, ...]) -> bool:
    """Return whether a sample of `shape` fits the declared shape."""
    return len(declared) == len(shape) and all(d in {None, s} for d, s in zip(declared, shape, strict=True))


def read_model(path: Path) -> "onnx.ModelProto":
    """Read an ONNX file without external weights; raises InputError for a file that is no model."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # installed with onnx, without stubs

    hint = "give the path of an .onnx file; is it cut short?"
    if not path.is_file():
        raise InputError(f"no model file at {path}", "check the path")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:  # before gigabytes are read
            hint = "save it with its weights in a file beside it (save_as_external_data)"
            raise InputError(f"{path} is larger than an ONNX file can be, which is 2 GiB", hint)
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise InputError(f"{path} is not a readable ONNX model", hint) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} holds no ONNX graph", hint)
    return model


def data_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that are not weights: before IR version 4, weights are listed as inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


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


def _the_output(model: "onnx.ModelProto", name: str | None, path: Path) -> "onnx.ValueInfoProto":
    outputs = list(model.graph.output)
    names = [value.name for value in outputs]
    if name is not None:
        if name not in names:
            raise InputError(f"{path} has no output {name!r}", f"its outputs: {', '.join(names)}")
        return outputs[names.index(name)]
    rows = (value for value in outputs if len(outputs) == 1 or _is_rows_of_logits(declared_shape(value)))
    if match := next(rows, None):
        return match
    message = f"{path}: none of its outputs ({', '.join(names)}) has the shape (batch, classes)"
    raise InputError(message, "name the one to use")


def _is_rows_of_logits(shape: Shape) -> bool:
    return len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))


def declared_shape(value: "onnx.ValueInfoProto") -> Shape:
    """Return the shape that the file declares, None for an open dimension; empty if it declares none."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "none"
