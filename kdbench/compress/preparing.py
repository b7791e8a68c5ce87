"""Preparing a float32 model for quantization: naming nodes, raising the opset, folding constants."""

import contextlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.compress.activations import float_tensors, refused
from kdbench.compress.graph_index import LAYERS
from kdbench.compress.sources import float32_model
from kdbench.errors import InputError, StorageError, first_line
from kdbench.extras import installer
from kdbench.modelfile.graphs.graph import opset
from kdbench.modelfile.graphs.weights import STANDARD, nodes_of
from kdbench.processes import temporary
from kdbench.registry import suggestion

if TYPE_CHECKING:
    import onnx

_OPSET = 13  # the first with scales by channel
_IR_VERSION = 8  # opset 13 needs 7; files of runtimes in use are read up to this one
# Errors of onnxruntime's quantizer for graphs that it does not support.
_QUANTIZER_FAULTS = (ValueError, RuntimeError, TypeError, AttributeError, LookupError, AssertionError)
# Suffixes that the quantizer appends to the names of tensors and nodes.
_RESERVED = ("_quantized", "_scale", "_zero_point", "_QuantizeLinear", "_DequantizeLinear")


def prepared(path: Path) -> "onnx.ModelProto":
    """Return the float32 model at `path`, prepared for quantization: batch norm and constants folded, nodes named.

    Existing names of nodes stay, unless two nodes are merged. Raises InputError as `float32_model` does, and for a
    model that onnxruntime does not load.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = float32_model(path)
    name_nodes(model)
    try:
        make_weights_constant(model)  # the converter requires weights of old IR versions to be inputs too
        if opset(model) < _OPSET:
            model = onnx.version_converter.convert_version(model, _OPSET)
        with temporary.folder() as folder:
            read, written = folder / "float.onnx", folder / "prepared.onnx"
            onnx.save(model, read)  # a file, because the optimisation is skipped for a model in memory without raw data
            with _contained_tools():
                quant_pre_process(read, written, skip_symbolic_shape=True)
            model = onnx.load(written)
    except Exception as error:  # onnx's and onnxruntime's errors share no base class below Exception
        if isinstance(error, OSError | StorageError):
            raise
        raise refused(error) from error
    make_weights_constant(model)  # also those that were computed from other weights, and are folded now
    name_nodes(model)
    fold_factors(model)
    flatten_biases(model)
    rename_reserved(model)
    declare_float_tensors(model)
    forget_unused_domains(model)
    return model


@contextlib.contextmanager
def _contained_tools() -> Iterator[None]:
    """Suppress the log of onnxruntime's tools, which advises their own options, and place their temporary files."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with temporary.for_libraries():
            yield
    finally:
        root.setLevel(level)


@contextlib.contextmanager
def quantizing() -> Iterator[None]:
    """Raise InputError for a model that onnxruntime's quantizer does not support, and suppress its log."""
    from onnx.shape_inference import InferenceError

    try:
        with _contained_tools():
            yield
    except (*_QUANTIZER_FAULTS, InferenceError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
        hint = "list the nodes that it cannot quantize in keep_float, or choose fp16"
        raise InputError(f"onnxruntime does not quantize this model: {reason}", hint) from error


def require_onnxruntime(least: tuple[int, int], what: str) -> None:
    """Raise InputError unless onnxruntime has at least the version `least`, which `what` needs."""
    import onnxruntime

    installed: str = onnxruntime.__version__
    numbers = tuple(int(part) for part in re.findall(r"\d+", installed)[:2])
    if numbers < least:
        needed = ".".join(map(str, least))
        message = f"{what} needs onnxruntime {needed} or later, and {installed} is installed"
        raise InputError(message, f"{installer()} -U 'onnxruntime>={needed}'")


def fresh_name(wanted: str, used: Container[str]) -> str:
    """Return a name that is not in `used`: `wanted`, or `wanted` with the first free number."""
    names = (f"{wanted}_{number}" for number in itertools.count(1))
    return wanted if wanted not in used else next(name for name in names if name not in used)


def declare_float_tensors(model: "onnx.ModelProto") -> None:
    """Declare the float tensors that onnx's inference leaves without a type, such as those behind custom operators.

    The quantizer skips tensors of unknown type, with the layers that read them, and the float16 converter casts none.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    declared = {value.name for value in (*graph.output, *graph.value_info) if value.type.tensor_type.elem_type}
    unknown = {name for node in graph.node for name in node.output if name} - declared
    if unknown:
        floats = sorted(unknown & float_tensors(model))
        graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in floats)


def rename_reserved(model: "onnx.ModelProto") -> None:
    """Rename tensors and nodes whose names the quantizer would use for parts of another tensor."""
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    tensors = {name for node in graph.node for name in (*node.input, *node.output) if name} | fixed
    renamed: dict[str, str] = {}
    for name in sorted(tensors - fixed):
        if any(name.removesuffix(ending) in tensors - {name} for ending in _RESERVED):
            renamed[name] = fresh_name(f"{name}_", tensors | set(renamed.values()))
    for node in nodes_of(model):
        for slots in (node.input, node.output):
            for place, name in enumerate(slots):
                slots[place] = renamed.get(name, name)
    for stored in (graph.initializer, graph.value_info):
        for entry in stored:
            entry.name = renamed.get(entry.name, entry.name)
    nodes = {node.name for node in graph.node}
    for node in graph.node:
        if any(node.name.removesuffix(ending) in tensors - {node.name} for ending in _RESERVED):
            node.name = fresh_name(f"{node.name}_", nodes)
            nodes.add(node.name)


def name_nodes(model: "onnx.ModelProto") -> None:
    """Name each unnamed node of the main graph after its operator and position, and make repeated names unique."""
    uses = Counter(node.name for node in model.graph.node if node.name)
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            stem = node.name or node.op_type
            node.name = next(name for n in range(place, place + 10**6) if not uses[name := f"{stem}_{n}"])
            uses[node.name] += 1
        seen.add(node.name)


def require_nodes(model: "onnx.ModelProto", names: Sequence[str], key: str = "keep_float") -> None:
    """Raise InputError unless each of `names`, which the setting `key` holds, is a node of the prepared model."""
    known = [node.name for node in model.graph.node]
    for name in names:
        if name not in known:
            layers = [node.name for node in model.graph.node if node.op_type in LAYERS]
            hint = suggestion(name, known, f"its layers: {', '.join(layers[:20])}")
            raise InputError(f"{key} names {name!r}, which is not a node of the model", hint)


def make_weights_constant(model: "onnx.ModelProto") -> None:
    """Remove weights from the inputs, where files before IR version 4 list them: inputs are never folded.

    They are also removed from the declared values, as torch writes them: the quantizer transposes some weights.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    for declared in (model.graph.input, model.graph.value_info):
        kept = [value for value in declared if value.name not in stored]
        del declared[:]
        declared.extend(kept)
    model.ir_version = max(model.ir_version, _IR_VERSION)


def fold_factors(model: "onnx.ModelProto") -> None:
    """Multiply the alpha and beta of each Gemm into its stored weights and bias.

    The quantizer (onnxruntime 1.31) writes a bias that is wrong by the factor beta, and runtimes have integer kernels
    only for alpha 1.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for place, key in ((1, "alpha"), (2, "beta")) if node.op_type == "Gemm" else ():
            attribute = next((entry for entry in node.attribute if entry.name == key), None)
            read = node.input[place] if place < len(node.input) else ""
            if attribute is None or attribute.f == 1 or read not in stored:
                continue
            scaled = (numpy_helper.to_array(stored[read]) * np.float32(attribute.f)).astype(np.float32)
            name = fresh_name(f"{node.name}_{read}_{key}", stored)
            model.graph.initializer.append(numpy_helper.from_array(scaled, name))
            node.input[place] = name
            node.attribute.remove(attribute)
    _forget_unused_initializers(model)


def flatten_biases(model: "onnx.ModelProto") -> None:
    """Reshape each Gemm's constant bias to (N,): the quantizer does not support (1, N), which fusion produces."""
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or {*node.input[1:3]} - stored.keys():
            continue
        weight, bias = (numpy_helper.to_array(stored[name]) for name in node.input[1:3])
        by_output = any(entry.name == "transB" and entry.i for entry in node.attribute)
        outputs = weight.shape[0 if by_output else 1]
        if bias.shape != (outputs,) and bias.size in {1, outputs} and bias.shape[:-1] in {(), (1,)}:
            name = f"{node.name}_bias"
            model.graph.initializer.append(numpy_helper.from_array(np.resize(bias, outputs), name))
            node.input[2] = name
    _forget_unused_initializers(model)


def _forget_unused_initializers(model: "onnx.ModelProto") -> None:
    used = {name for node in nodes_of(model) for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def forget_unused_domains(model: "onnx.ModelProto") -> None:
    """Remove the imports of operator sets that no node uses, and repeated ones: onnxruntime adds all that it supports.

    A model of classical operators only then has the standard's set twice, which the quantizer does not support.
    """
    used = {node.domain for node in nodes_of(model)} | STANDARD
    by_domain = {"" if entry.domain in STANDARD else entry.domain: entry for entry in model.opset_import}
    kept = [entry for domain, entry in by_domain.items() if domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
