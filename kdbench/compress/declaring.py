"""Declaring in a variant which of its tensors are parameters, where that can be read from its source alone.

A source has buffers that torch's exporter declares, or constants in nodes. In a variant both are initialisers like
weights, and would count as parameters.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.modelfile.graphs.functions import inlined
from kdbench.modelfile.graphs.weights import CONSTANT, KIND, PARAMETER, tensors_of, trained_tensors
from kdbench.modelfile.reading import read_model

if TYPE_CHECKING:
    import onnx

_QUANTIZED = "_quantized"  # what onnxruntime's quantizer appends to the name of a tensor


def declare_trained(source: Path, target: Path) -> None:
    """Declare those tensors of the variant at `target` that count as parameters in its `source` only, or there only.

    The kind is written as torch's exporter does. A file without such tensors stays as it is.
    """
    import onnx

    original, variant = read_model(source), read_model(target)
    before, after = _trained(original, source), _trained(variant, target)
    kept = {name for name, _ in tensors_of(original)}
    sources = {tensor.name: tensor.name.removesuffix(_QUANTIZED) for tensor in variant.graph.initializer}
    kinds = {
        name: PARAMETER if source_name in before else CONSTANT
        for name, source_name in sources.items()
        if source_name in kept and (source_name in before) != (name in after)
    }
    if not kinds:
        return
    for value in [value for value in variant.graph.value_info if value.name in kinds]:
        variant.graph.value_info.remove(value)
    for tensor in (tensor for tensor in variant.graph.initializer if tensor.name in kinds):
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        value.metadata_props.add(key=KIND, value=kinds[tensor.name])
        variant.graph.value_info.append(value)
    target.write_bytes(variant.SerializeToString(deterministic=True))


def _trained(model: "onnx.ModelProto", path: Path) -> set[str]:
    return {name for name, _ in trained_tensors(model, path, inlined(model, str(path)))}
