"""The activations of a float model on calibration inputs, batch by batch."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError, first_line

if TYPE_CHECKING:
    import onnx

Activations = Mapping[str, NDArray[np.float32]]

_BATCH_BYTES = 256 << 20  # activations held at once


def activations(
    model: "onnx.ModelProto", name: str, inputs: NDArray[Any], *, batch: int | None = None
) -> Iterator[Activations]:
    """Yield every float tensor of the main graph, with its inputs and outputs, for batches of `inputs` (N, …).

    `name` is the model's input for them; other inputs, which do not affect the output, get zeros. `batch` is the fixed
    batch of a model that has one; N is then a multiple of it. Raises InputError for a model that onnxruntime does not
    run.
    """
    from kdbench.worker.runtimes.onnxruntime import FAULTS, feed

    session = _session(model)
    declared = session.get_inputs()
    names = [value.name for value in session.get_outputs() if value.type == "tensor(float)"]
    start, size = 0, batch or 1
    while start < len(inputs):
        chunk = inputs[start : start + size]
        try:
            values = dict(zip(names, session.run(names, feed(declared, name, chunk)), strict=True))
        except FAULTS as error:
            raise refused(error) from error
        if chunk.dtype == np.float32:
            values[name] = chunk
        yield values
        start += len(chunk)
        if batch is None:  # the first sample shows how many bytes one needs
            size = max(1, _BATCH_BYTES * len(chunk) // max(1, sum(value.nbytes for value in values.values())))


def float_tensors(model: "onnx.ModelProto") -> frozenset[str]:
    """Return the names of the float32 tensors that nodes of the main graph compute.

    Raises InputError for a model that onnxruntime does not load.
    """
    return frozenset(value.name for value in _session(model).get_outputs() if value.type == "tensor(float)")


def refused(error: Exception) -> InputError:
    """Return the InputError for a model that onnxruntime does not load or run, with onnxruntime's reason."""
    hint = "compress a model that onnxruntime runs: kdbench bench MODEL --no-accuracy shows whether it does"
    return InputError(f"onnxruntime does not run this model: {first_line(error)}", hint)


def _session(model: "onnx.ModelProto") -> Any:
    import onnx
    import onnxruntime

    from kdbench.worker.runtimes.onnxruntime import FAULTS

    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    shown = {value.name for value in model.graph.output}
    tensors = (name for node in model.graph.node for name in node.output if name and name not in shown)
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            observed.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except FAULTS as error:
        raise refused(error) from error
