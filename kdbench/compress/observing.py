"""Tensors inside a model, as a runtime computes them on given inputs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from kdbench.errors import InputError, first_line
from kdbench.modelfile.facts import ModelFacts

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, NDArray[Any]]

_CHUNK = 32  # samples whose tensors are held at once


class Observer:
    """A model in onnxruntime that gives the tensors `names` out, inner ones too, and nothing else.

    With `simulated`, QuantizeLinear and DequantizeLinear compute in floating point as they stand in the file: the same
    on every CPU, where an integer kernel might saturate. Raises InputError for a model that onnxruntime does not load.
    """

    def __init__(self, model: "onnx.ModelProto", names: Iterable[str], *, simulated: bool = False) -> None:
        import onnx
        import onnxruntime

        from kdbench.worker.runtimes.onnxruntime import FAULTS, session_options

        self._names = list(dict.fromkeys(names))
        declared = {value.name: value for value in model.graph.output}
        observed = onnx.ModelProto()
        observed.CopyFrom(model)
        del observed.graph.output[:]
        observed.graph.output.extend(declared.get(name, onnx.ValueInfoProto(name=name)) for name in self._names)
        options = session_options(0, spinning=False, fallback=True)
        options.log_severity_level = 4
        if simulated:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except FAULTS as error:
            raise _refused(error) from error
        self._declared = self._session.get_inputs()
        stored = {tensor.name for tensor in model.graph.initializer}
        self.input = next((value.name for value in self._declared if value.name not in stored), "")

    def __call__(self, inputs: NDArray[Any], others: Tensors | None = None) -> Tensors:
        """Return the tensors for `inputs` (N, …) of the first input, and of `others` by name.

        Raises InputError for inputs that the model does not take.
        """
        from kdbench.worker.runtimes.onnxruntime import FAULTS, feed

        given = others or {}
        declared = [value for value in self._declared if value.name not in given]
        try:
            arguments = feed(declared, self.input, inputs) | given
            return dict(zip(self._names, self._session.run(self._names, arguments), strict=True))
        except FAULTS as error:
            raise _refused(error) from error


def chunks(inputs: NDArray[Any], batch: int | None) -> list[NDArray[Any]]:
    """Return `inputs` (N, …) in parts of a model's fixed `batch`, without the rest, or of 32 samples.

    Raises InputError where there are fewer samples than one batch.
    """
    size = batch or min(_CHUNK, len(inputs))
    if not size or len(inputs) < size:
        raise InputError(
            f"{len(inputs)} samples to observe the model on, and it takes {batch or 1} at once", "give more"
        )
    kept = len(inputs) - len(inputs) % size if batch else len(inputs)
    return [inputs[start : start + size] for start in range(0, kept, size)]


def probe_shape(facts: ModelFacts) -> tuple[int, ...] | None:
    """Return the shape of a model's input for one call; None if that is open, or the input is no float32."""
    sample = [size for size in facts.sample_shape if size]
    if facts.input_dtype != "float32" or not facts.input_shape or len(sample) < len(facts.sample_shape):
        return None
    return (facts.fixed_batch or 1, *sample)


def _refused(error: Exception) -> InputError:
    hint = "compress a model that onnxruntime runs: kdbench bench MODEL --no-accuracy shows whether it does"
    return InputError(f"onnxruntime does not run this model: {first_line(error)}", hint)
