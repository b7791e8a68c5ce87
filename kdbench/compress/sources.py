"""The models that compression starts from: files that it accepts, read with their weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.compress.graph_index import LAYERS
from kdbench.errors import InputError
from kdbench.modelfile.facts import integer_operators
from kdbench.modelfile.formats.external_data import external_files, read_external
from kdbench.modelfile.formats.ort_format import is_ort
from kdbench.modelfile.graphs.functions import inlined
from kdbench.modelfile.graphs.weights import nodes_of, tensors_of
from kdbench.modelfile.reading import MAX_FILE_BYTES, read_model

if TYPE_CHECKING:
    import onnx

_FLOAT_HINT = "compress the float32 model from which it was made"


def float32_model(path: Path) -> "onnx.ModelProto":
    """Return the model at `path` with its external weights.

    Raises InputError as `require_float32` does, and for weights that are not finite.
    """
    require_float32(path)
    model = read_model(path)
    read_external((tensor for _, tensor in tensors_of(model)), path)
    model = inlined(model, str(path))
    _require_finite(model, path)
    return model


def require_float32(path: Path) -> None:
    """Raise InputError for a model that is quantized, in float16 or float64, in another format, or too large."""
    model = read_model(path)
    if is_ort(path):
        raise InputError(f"{path} is in onnxruntime's own format", "compress the .onnx file that it was converted from")
    if quantized := integer_operators(model):
        raise InputError(f"{path} is quantized already: it holds {', '.join(quantized)}", _FLOAT_HINT)
    import onnx

    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    if half & (kinds | {tensor.data_type for _, tensor in tensors_of(model)}):
        raise InputError(f"{path} is a float16 model, and only float32 ones are compressed further", _FLOAT_HINT)
    if onnx.TensorProto.DOUBLE in kinds:
        message = f"{path} takes or returns float64, and only float32 models are compressed"
        raise InputError(message, "export the model in float32")
    sizes = [file.stat().st_size for file in (path, *external_files((t for _, t in tensors_of(model)), path))]
    if sum(sizes) > MAX_FILE_BYTES:
        message = f"{path} has {sum(sizes) / 2**30:.1f} GiB of weights, and compression handles files up to 2 GiB"
        raise InputError(message, "compress a smaller model")


def _require_finite(model: "onnx.ModelProto", path: Path) -> None:
    """Raise InputError for weights that are NaN, and for weights of layers that are infinite, which have no scale."""
    import numpy as np
    import onnx

    of_layers = {name for node in nodes_of(model) if node.op_type in LAYERS for name in node.input[1:]}
    for name, tensor in tensors_of(model):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if not np.isfinite(values).all() and (name in of_layers or np.isnan(values).any()):
            raise InputError(
                f"{path}: the weights {name!r} are not finite", "train the model again, or repair the file"
            )
