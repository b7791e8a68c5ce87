"""Unstructured sparsity: individual weights of the smallest magnitude are set to zero (Han et al. 2015).

The arrays keep their shapes, and no runtime of kdbench skips zeros, so neither the time nor the file size changes. Only
the compressed file shrinks, as in a package or a download. (Structural pruning, which makes a model faster, changes the
network and needs training: see `kdbench.distill.pruning`.)
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import field_validator

from kdbench import units
from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.observing import time_ratio
from kdbench.compress.preparing import name_nodes, require_nodes
from kdbench.compress.sources import float32_model
from kdbench.errors import InputError
from kdbench.modelfile.reading import compressed_bytes
from kdbench.user_input.validation import WrongValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

# The inputs of an operator that are its weights.
_WEIGHTS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FusedConv"), (1,)),
    **dict.fromkeys(("Gemm", "MatMul", "FusedGemm", "FusedMatMul"), (0, 1)),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), (1, 2)),
}
# Operators that return their input in another order or shape.
_REARRANGING = {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}


@COMPRESSORS.register("sparse")
class Sparse(Compressor):
    """Unstructured sparsity: the smallest weights become zero; only compressed files (gzip, zip) get smaller.

    `sparsity` is the share of the weights of convolutions, matrix products and recurrent layers that is zero
    afterwards: those of the smallest magnitude in all layers together (`scope` = `global`), or in each layer
    (`layer`). `keep_dense` names the nodes that keep all weights.
    """

    leaves_float32 = True

    sparsity: float = 0.5
    scope: Literal["global", "layer"] = "global"
    keep_dense: tuple[str, ...] = ()

    @field_validator("sparsity")
    @classmethod
    def _is_share(cls, sparsity: float) -> float:
        if not 0 < sparsity < 1:
            hint = f"write {sparsity / 100:g} for {sparsity:g} %" if 1 < sparsity < 100 else "such as 0.5"
            raise WrongValueError(f"{sparsity:g} is not a share above 0 and below 1", hint)
        return sparsity

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the sparse file; raises InputError for a model without such weights, and for an unknown node."""
        model = float32_model(source.path)
        names = weights_by_node(model)
        require_nodes(model, self.keep_dense, "keep_dense")
        kept = {name for node in self.keep_dense for name in names.get(node, ())}
        tensors = {name: t for name, t in _stored(model).items() if name not in kept}
        weights = {name: tensors[name] for of_node in names.values() for name in of_node if name in tensors}
        if not weights:
            message = f"{source.path} has no convolution or matrix product with stored weights to make sparse"
            raise InputError(message, "choose another method, or fewer nodes in keep_dense")
        zeros = _zero_smallest(weights, self.sparsity, self.scope)
        target.write_bytes(model.SerializeToString(deterministic=True))
        facts = {
            "zero_share": round(zeros / sum(math.prod(tensor.dims) for tensor in weights.values()), 6),
            "compressed_bytes": compressed_bytes(target),
            "source_compressed_bytes": compressed_bytes(source.path),
        }
        return Outcome(facts=facts, warnings=self.warnings_about(source, target, facts))

    def warnings_about(self, source: Source, target: Path, facts: "Mapping[str, Any]") -> tuple[str, ...]:
        """Report the measured time, which does not fall, and the compressed size."""
        import onnx

        return (_warning(facts, time_ratio(onnx.load(target), float32_model(source.path), source.facts)),)


def weights_by_node(model: "onnx.ModelProto") -> "dict[str, list[str]]":
    """Return the names of the stored weights of each layer, by the node's name; unnamed nodes of `model` get one."""
    name_nodes(model)
    stored = _stored(model)
    behind = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _REARRANGING}
    pruned: dict[str, list[str]] = {}
    for node in model.graph.node:
        read = [_traced(node.input[i], behind) for i in _WEIGHTS.get(node.op_type, ()) if i < len(node.input)]
        names = [name for name in read if name in stored and len(stored[name].dims) > 1]
        if names:
            pruned[node.name] = names
    return pruned


def _traced(name: str, behind: "Mapping[str, str]") -> str:
    """Return the stored tensor from which `name` results by rearranging."""
    while name in behind:
        name = behind[name]
    return name


def _stored(model: "onnx.ModelProto") -> "dict[str, onnx.TensorProto]":
    """Return the float32 tensors of the main graph by name: initializers and values of Constant nodes."""
    import onnx

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {name: tensor for name, tensor in tensors.items() if tensor.data_type == onnx.TensorProto.FLOAT}


def _zero_smallest(weights: "Mapping[str, onnx.TensorProto]", share: float, scope: str) -> int:
    """Set the smallest of the stored `weights` to zero, in place; return how many are zero afterwards."""
    from onnx import numpy_helper

    arrays: dict[str, NDArray[np.float32]] = {}
    for name, tensor in weights.items():
        arrays[name] = numpy_helper.to_array(tensor).copy()
    groups = [list(arrays)] if scope == "global" else [[name] for name in arrays]
    for group in groups:
        flat = np.concatenate([arrays[name].ravel() for name in group])
        flat[smallest(flat, share)] = 0
        start = 0
        for name in group:
            arrays[name] = flat[start : start + arrays[name].size].reshape(arrays[name].shape)
            start += arrays[name].size
    for name, tensor in weights.items():
        tensor_name = tensor.name  # the value of a Constant node has another name than the node's output
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(arrays[name]), tensor_name))
    return sum(int((array == 0).sum()) for array in arrays.values())


def smallest(values: "NDArray[np.float32]", share: float) -> "NDArray[np.bool_]":
    """Return a mask of the `share` of `values` (N,), rounded half up, with the smallest magnitudes."""
    count = math.floor(share * values.size + 0.5)
    if count == 0:
        return np.zeros(values.size, np.bool_)
    magnitudes = np.abs(values)
    threshold = np.partition(magnitudes, count - 1)[count - 1]
    chosen = np.asarray(magnitudes < threshold)
    ties = np.flatnonzero(magnitudes == threshold)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def _warning(facts: "Mapping[str, Any]", ratio: float | None) -> str:
    before, after = (units.size(facts[key]) for key in ("source_compressed_bytes", "compressed_bytes"))
    measured = f": {ratio:.2f} times as long as before on this machine" if ratio else ""
    zeros = f"{units.share(facts['zero_share'])} of the weights are zero"
    falls = facts["compressed_bytes"] < facts["source_compressed_bytes"] and after != before
    size = f"falls from {before} to {after}" if falls else f"does not fall: {after}"
    return f"{zeros}, which does not make it faster{measured}; its compressed size {size}"
