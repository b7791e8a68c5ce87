"""Observing a model in onnxruntime: the tensors inside it for given inputs, and approximate times of calls.

The times are accurate enough for warnings that a file is slower.
"""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from kdbench.compress.activations import refused
from kdbench.errors import InputError
from kdbench.modelfile.facts import ModelFacts

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, NDArray[Any]]

CALLS = 15  # of each model in turns, after one untimed call
_CHUNK = 8  # samples whose tensors are in memory at once


class Observer:
    """A model in onnxruntime that returns the tensors `names`, which may be inner ones.

    With `simulated`, QuantizeLinear and DequantizeLinear compute in floating point, so that the result is the same on
    every CPU, while an integer kernel may saturate. `input_name` is the input for samples, by default the first. Other
    inputs, which do not affect the output, get zeros. `threads` 0 means as many as there are cores. Raises InputError
    for a model that onnxruntime does not load.
    """

    def __init__(
        self,
        model: "onnx.ModelProto",
        names: Iterable[str],
        *,
        simulated: bool = False,
        input_name: str = "",
        threads: int = 0,
    ) -> None:
        import onnx
        import onnxruntime

        from kdbench.worker.runtimes.onnxruntime import FAULTS, session_options

        self._names = list(dict.fromkeys(names))
        declared = {value.name: value for value in model.graph.output}
        observed = onnx.ModelProto()
        observed.CopyFrom(model)
        del observed.graph.output[:]
        observed.graph.output.extend(declared.get(name, onnx.ValueInfoProto(name=name)) for name in self._names)
        options = session_options(threads, spinning=False, fallback=True)
        options.log_severity_level = 4
        if simulated:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except FAULTS as error:
            raise refused(error) from error
        self._declared = self._session.get_inputs()
        stored = {tensor.name for tensor in model.graph.initializer}
        self._input_name = input_name or next((value.name for value in self._declared if value.name not in stored), "")

    def __call__(self, inputs: NDArray[Any]) -> Tensors:
        """Return the tensors for `inputs` (N, …); raises InputError for inputs that the model does not take."""
        from kdbench.worker.runtimes.onnxruntime import FAULTS, feed

        try:
            arguments = feed(self._declared, self._input_name, inputs)
            return dict(zip(self._names, self._session.run(self._names, arguments), strict=True))
        except FAULTS as error:
            raise refused(error) from error


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs (N, …) for observing a model, and the names of its input and output.

    `input_name` is the model's input for them and `output_name` the output to observe, by default the first ones.
    `batch` is the fixed batch of a model that has one; an incomplete last batch is left out.
    """

    inputs: NDArray[Any]
    input_name: str = ""
    output_name: str = ""
    batch: int | None = None

    @classmethod
    def of(cls, facts: ModelFacts, inputs: NDArray[Any]) -> Self:
        """Return `inputs` with the names and the batch in the model's `facts`."""
        return cls(inputs, facts.input_name, facts.output.name, facts.fixed_batch)

    def observer(self, model: "onnx.ModelProto", names: Iterable[str], *, simulated: bool = False) -> Observer:
        """Return the observer of the tensors `names` of `model`."""
        return Observer(model, names, simulated=simulated, input_name=self.input_name)

    def parts(self) -> list[NDArray[Any]]:
        """Return the inputs in parts of the batch, or of 8; raises InputError if they do not fill one batch."""
        size, count = self.batch or _CHUNK, len(self.inputs)
        if not count or (self.batch and count < self.batch):
            message = f"there are {count} samples to observe the model on, and its batch is {self.batch or 1}"
            raise InputError(message, "give more samples")
        kept = count - count % size if self.batch else count
        return [self.inputs[start : start + size] for start in range(0, kept, size)]


def probe_shape(facts: ModelFacts) -> tuple[int, ...] | None:
    """Return the shape of a model's input for one call; None if it is open, or the input is not float32."""
    sample = [size for size in facts.sample_shape if size]
    if facts.input_dtype != "float32" or not facts.input_shape or len(sample) < len(facts.sample_shape):
        return None
    return (facts.fixed_batch or 1, *sample)


def require_loads(path: Path, facts: ModelFacts) -> None:
    """Raise InputError unless onnxruntime loads the file at `path`, and runs it if the input's size is known."""
    import numpy as np
    import onnx

    model = onnx.load(path)
    observer = Observer(model, [model.graph.output[0].name], input_name=facts.input_name)
    if (shape := probe_shape(facts)) is not None:
        observer(np.zeros(shape, np.float32))


def time_ratio(model: "onnx.ModelProto", reference: "onnx.ModelProto", facts: ModelFacts) -> float | None:
    """Return the ratio of the times of a call of `model` and of `reference`, called in turns.

    Both get the input that `facts` describe, and one thread; None if the input's size is open. The result is the median
    of the ratios of successive calls, which is robust against other work. `kdbench bench` measures with an interval.
    """
    if (shape := probe_shape(facts)) is None:
        return None
    inputs = np.zeros(shape, np.float32)
    outputs = [reference.graph.output[0].name]
    both = [Observer(of, outputs, input_name=facts.input_name, threads=1) for of in (model, reference)]
    for run in both:
        run(inputs)
    pairs = [[_seconds(run, inputs) for run in both] for _ in range(CALLS)]
    ratios = [seconds / reference_seconds for seconds, reference_seconds in pairs if reference_seconds]
    return statistics.median(ratios) if ratios else None


def _seconds(run: Observer, inputs: Any) -> float:
    start = time.perf_counter()
    run(inputs)
    return time.perf_counter() - start
