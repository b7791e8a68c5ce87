"""The denormals pass: weights too small for a normal float, which slow some processors down.

Weight decay shrinks unused weights that far. An Intel core leaves its fast path for about 150 cycles at each
instruction that meets one (Fog, "The microarchitecture of Intel, AMD and VIA CPUs", on underflow and denormal
operands); others do not slow down.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.context import PASSES, Context, Pass
from kdbench.modelfile.graphs.weights import tensors_of
from kdbench.modelfile.reading import read_model
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic

if TYPE_CHECKING:
    import onnx

# An instruction processes up to 16 weights in about half a cycle, so a share p of denormals costs up to
# 16 · 150 / 0.5 · p of its time: one in 100 000 is about 5 %.
SLOW_SHARE = 1e-5
_CHUNK = 1 << 20  # numbers converted at a time, so that no second copy of a model is in memory
# By format: the unsigned type of its size, and the bits of its smallest normal number. float16 is missing: its
# denormals are normal in float32, in which CPUs compute, and as common as any small weight.
_FORMATS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "FLOAT": (np.uint32, 1 << 23),
    "BFLOAT16": (np.uint16, 1 << 7),
    "DOUBLE": (np.uint64, 1 << 52),
}


@PASSES.register("denormal weights")
class DenormalsPass(Pass):
    """How many weights of each timed model are denormal, and a warning if they may cost time."""

    order = 30

    def run(self, context: Context) -> Findings:
        """Count."""
        counts = {model.id: denormal_count(model.path) for model in context.ready}
        remedy = "set them to zero before export, or load with the session option session.set_denormal_as_zero=1"
        warnings = []
        for model in context.ready:
            count = counts[model.id]
            share = count / max(model.facts.parameters, 1)
            if share > SLOW_SHARE:
                message = f"{count:,} weights ({100 * share:.2g} %) are denormal, which is slow on Intel cores"
                warnings.append(Diagnostic(code="denormal_weights", message=message, remedy=remedy, model=model.id))
        return Findings(warnings=tuple(warnings), protocol={"denormal_weights": counts} if counts else {})


def denormal_count(path: Path) -> int:
    """Return how many numbers in the tensors of the ONNX model at `path` are denormal, in external files too."""
    return sum(_denormals(tensor, path) for _, tensor in tensors_of(read_model(path)))


def _denormals(tensor: "onnx.TensorProto", path: Path) -> int:
    """Return how many numbers of a tensor are between zero and the least normal by magnitude."""
    import onnx

    known = _FORMATS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    size = math.prod(tensor.dims)
    if known is None or size == 0:
        return 0
    kind, least_normal = known
    bits, count = _bits(tensor, kind, size, path), 0
    for start in range(0, size, _CHUNK):
        twice = np.asarray(bits[start : start + _CHUNK]) << 1  # the sign falls out
        count += int(np.count_nonzero((twice != 0) & (twice < 2 * least_normal)))
    return count


def _bits(
    tensor: "onnx.TensorProto", kind: type[np.unsignedinteger[Any]], count: int, path: Path
) -> NDArray[np.unsignedinteger[Any]]:
    import onnx

    stored = {entry.key: entry.value for entry in tensor.external_data}
    little = np.dtype(kind).newbyteorder("<")  # ONNX stores numbers so on every machine
    if location := stored.get("location"):
        return np.memmap(path.parent / location, little, mode="r", offset=int(stored.get("offset", 0)), shape=(count,))
    if tensor.HasField("raw_data"):
        return np.frombuffer(tensor.raw_data, little)
    return np.asarray(onnx.numpy_helper.to_array(tensor).reshape(-1).view(kind))
