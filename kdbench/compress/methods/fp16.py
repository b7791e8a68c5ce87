"""FP16: weights and activations as 16-bit floats; half the size, and faster on GPUs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.float32_nodes import float32_nodes
from kdbench.compress.graph_index import sort_nodes
from kdbench.compress.kernels import kernels_of
from kdbench.compress.observing import Observer, probe_shape
from kdbench.compress.preparing import declare_float_tensors, forget_unused_domains, make_weights_constant, name_nodes
from kdbench.compress.sources import float32_model
from kdbench.errors import InputError
from kdbench.modelfile.graphs.weights import constant_of, nodes_of, tensors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

_LARGEST = float(np.finfo(np.float16).max)  # 65504
_SMALLEST = 5.96e-8  # the smallest subnormal number, to which the converter rounds smaller numbers except 0
_SEED = 0


@COMPRESSORS.register("fp16")
class Fp16(Compressor):
    """FP16: weights and activations as 16-bit floats, inputs and outputs as before.

    Weights beyond ±65504, the largest float16, are refused, or set to it with `overflow` = `clamp`. The activations are
    checked for overflow on random inputs.
    """

    overflow: Literal["refuse", "clamp"] = "refuse"

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the FP16 file; raises InputError for numbers that do not fit, and for a model that is not float32."""
        model = float32_model(source.path)
        make_weights_constant(model)
        large = too_large(model)
        if large and self.overflow == "refuse":
            message = f"the weights {', '.join(large[:5])} exceed {_LARGEST:.0f}, the largest float16"
            raise InputError(message, "--set fp16.overflow=clamp sets them to it; INT8 has no such limit")
        half = to_float16(model)
        require_fits(model, half, source)
        target.write_bytes(half.SerializeToString(deterministic=True))
        facts = {"clamped": large} if large else {}
        return Outcome(facts=facts, warnings=self.warnings_about(source, target, facts))

    def warnings_about(self, source: Source, target: Path, facts: "Mapping[str, Any]") -> tuple[str, ...]:
        """Return warnings about weights that were set to the largest number, and about casts on this CPU."""
        return tuple(_warnings(target, source, facts.get("clamped", [])))


def to_float16(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy of a float32 model that computes in float16, with the inputs and outputs that it had.

    Operators without a float16 form stay in float32, between casts.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in nodes_of(copy):
        if (tensor := constant_of(node)) is not None:  # the converter reads no other form of a Constant
            attribute = onnx.helper.make_attribute("value", tensor)
            del node.attribute[:]
            node.attribute.append(attribute)
    name_nodes(copy)
    declare_float_tensors(copy)
    converted: onnx.ModelProto = convert_float_to_float16(
        copy,
        keep_io_types=True,
        min_positive_val=_SMALLEST,
        max_finite_val=_LARGEST,
        node_block_list=float32_nodes(copy),
    )
    _remove_repeated_casts(converted.graph)
    sort_nodes(converted.graph)
    forget_unused_domains(converted)
    return converted


def _remove_repeated_casts(graph: "onnx.GraphProto") -> None:
    """Remove all but one of the casts with the same output, of which the converter adds one for each use in float32."""
    written: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in written:
            graph.node.remove(node)
        written.update(node.output)


def too_large(model: "onnx.ModelProto") -> list[str]:
    """Return the sorted names of stored float32 tensors with a finite number beyond the range of float16."""
    import onnx

    names = []
    for name, tensor in tensors_of(model):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            magnitudes = np.abs(onnx.numpy_helper.to_array(tensor))
            # 65520 is the first number that rounds to infinity, and the converter clamps from 65504 on.
            if (np.isfinite(magnitudes) & (magnitudes > _LARGEST)).any():
                names.append(name)
    return sorted(names)


def require_fits(model: "onnx.ModelProto", half: "onnx.ModelProto", source: Source) -> None:
    """Raise InputError if the float16 form of `model` does not load, or overflows on standard normal inputs.

    A model that only takes other numbers, such as one that computes indices from pixels, is checked on zeros. Models
    with other inputs than floats, such as token ids, or with inputs of open size are not checked.
    """
    if (shape := probe_shape(source.facts)) is None:
        return
    kept = {name for node in half.graph.node for name in node.output if name}
    names = {name: node.op_type for node in model.graph.node for name in node.output if name in kept}
    of_float = Observer(model, names, input_name=source.facts.input_name)
    try:
        of_half = Observer(half, names, input_name=source.facts.input_name)
    except InputError as error:  # such as for an operator without a float16 form in the body of a loop
        message = f"the float16 form of this model fails: {error.message}"
        raise InputError(message, "use int8 or int8-dynamic, which keep such operators in float32") from error
    inputs = np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)
    try:
        exact = of_float(inputs)
    except InputError:
        inputs = np.zeros_like(inputs)
        exact = of_float(inputs)
    rounded = of_half(inputs)
    for name, operator in names.items():
        if exact[name].dtype == np.float32 and np.isfinite(exact[name]).all() and not np.isfinite(rounded[name]).all():
            largest = np.abs(exact[name]).max()
            message = f"{operator} computes {largest:.3g} ({name!r}), and {_LARGEST:.0f} is the largest float16"
            raise InputError(message, "use int8, or rescale the weights before this layer")


def _warnings(target: Path, source: Source, clamped: list[str]) -> list[str]:
    """Return warnings about the file: its clamped weights, its casts on this machine's CPU, its size."""
    lines = [f"set weights beyond ±{_LARGEST:.0f} to it in {', '.join(clamped)}"] if clamped else []
    kernels = kernels_of(target, source.facts.sample_shape)
    if kernels.casts:
        lines.append(
            f"this CPU has no float16 kernels for all layers: {kernels.casts} casts to and from float32 run with them, "
            "so the file is not faster here"
        )
    if target.stat().st_size >= source.facts.size_bytes:
        lines.append("the file is not smaller: few of its weights are tensors that can be float16")
    return lines
