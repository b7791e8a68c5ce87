"""What a runtime computes of given inputs: tensors inside a model, and roughly how long calls take.

The times are enough to warn of what makes a file slower.
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

CALLS = 15  # of each model in turns, after one that does not count
_CHUNK = 8  # samples whose tensors are held at once


class Observer:
    """A model in onnxruntime that gives the tensors `names` out, inner ones too, and nothing else.

    With `simulated`, QuantizeLinear and DequantizeLinear compute in floating point as they stand in the file: the same
    on every CPU, where an integer kernel might saturate. `fed` is the input that takes samples, by default the first.
    Others, which no answer needs, get zeros. `threads` 0 means as many as there are cores. Raises InputError for a
    model that onnxruntime does not load.
    """

    def __init__(
        self,
        model: "onnx.ModelProto",
        names: Iterable[str],
        *,
        simulated: bool = False,
        fed: str = "",
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
        self._fed = fed or next((value.name for value in self._declared if value.name not in stored), "")

    def __call__(self, inputs: NDArray[Any]) -> Tensors:
        """Return the tensors for `inputs` (N, …); raises InputError for inputs that the model does not take."""
        from kdbench.worker.runtimes.onnxruntime import FAULTS, feed

        try:
            arguments = feed(self._declared, self._fed, inputs)
            return dict(zip(self._names, self._session.run(self._names, arguments), strict=True))
        except FAULTS as error:
            raise refused(error) from error


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs (N, …) to observe a model on, and where they go.

    `fed` is the input that takes them and `answer` the output that holds the answer, by default the first ones. `batch`
    is the batch of a model that takes no other; a rest that fills none is left out.
    """

    inputs: NDArray[Any]
    fed: str = ""
    answer: str = ""
    batch: int | None = None

    @classmethod
    def of(cls, facts: ModelFacts, inputs: NDArray[Any]) -> Self:
        """Return `inputs` for a model of these facts."""
        return cls(inputs, facts.input_name, facts.output.name, facts.fixed_batch)

    def observer(self, model: "onnx.ModelProto", names: Iterable[str], *, simulated: bool = False) -> Observer:
        """Return `model`, ready to give out the tensors `names`."""
        return Observer(model, names, simulated=simulated, fed=self.fed)

    def parts(self) -> list[NDArray[Any]]:
        """Return the inputs in parts of the batch, or of 8; raises InputError where they do not fill one batch."""
        size, count = self.batch or _CHUNK, len(self.inputs)
        if not count or (self.batch and count < self.batch):
            message = f"there are {count} samples to observe the model on, and it takes {self.batch or 1} at once"
            raise InputError(message, "give more samples")
        kept = count - count % size if self.batch else count
        return [self.inputs[start : start + size] for start in range(0, kept, size)]


def probe_shape(facts: ModelFacts) -> tuple[int, ...] | None:
    """Return the shape of a model's input for one call; None if that is open, or the input is no float32."""
    sample = [size for size in facts.sample_shape if size]
    if facts.input_dtype != "float32" or not facts.input_shape or len(sample) < len(facts.sample_shape):
        return None
    return (facts.fixed_batch or 1, *sample)


def require_loads(path: Path, facts: ModelFacts) -> None:
    """Raise InputError unless onnxruntime loads the file at `path`, and runs it where the input's size is known."""
    import numpy as np
    import onnx

    model = onnx.load(path)
    observer = Observer(model, [model.graph.output[0].name], fed=facts.input_name)
    if (shape := probe_shape(facts)) is not None:
        observer(np.zeros(shape, np.float32))


def time_ratio(model: "onnx.ModelProto", reference: "onnx.ModelProto", facts: ModelFacts) -> float | None:
    """Return how many times as long as `reference` a call of `model` takes, by calls in turns.

    Both take the input that `facts` describe, in one thread; None if its size is open. It is the median of the ratios
    of neighbouring calls, which other work disturbs least. `kdbench bench` measures with an interval.
    """
    if (shape := probe_shape(facts)) is None:
        return None
    inputs = np.zeros(shape, np.float32)
    answer = [reference.graph.output[0].name]
    both = [Observer(of, answer, fed=facts.input_name, threads=1) for of in (model, reference)]
    for run in both:
        run(inputs)
    pairs = [[_seconds(run, inputs) for run in both] for _ in range(CALLS)]
    ratios = [of_model / of_reference for of_model, of_reference in pairs if of_reference]
    return statistics.median(ratios) if ratios else None


def _seconds(run: Observer, inputs: Any) -> float:
    start = time.perf_counter()
    run(inputs)
    return time.perf_counter() - start
