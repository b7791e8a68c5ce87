"""How long calls of one model take against another's, roughly: enough to warn of what makes a file slower."""

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.compress.observing import Observer, probe_shape

if TYPE_CHECKING:
    import onnx

    from kdbench.modelfile.facts import ModelFacts

CALLS = 15  # of each model in turns, after one that does not count


def time_ratio(model: "onnx.ModelProto", reference: "onnx.ModelProto", facts: "ModelFacts") -> float | None:
    """Return how many times as long as `reference` a call of `model` takes, by medians of calls in turns.

    Both take the input that `facts` describe; None if its size is open. `kdbench bench` measures with an interval.
    """
    if (shape := probe_shape(facts)) is None:
        return None
    inputs = np.zeros(shape, np.float32)
    answer = [reference.graph.output[0].name]
    both = [Observer(of, answer, fed=facts.input_name) for of in (model, reference)]
    for run in both:
        run(inputs)
    seconds: list[list[float]] = [[], []]
    for _ in range(CALLS):
        for run, times in zip(both, seconds, strict=True):
            times.append(_seconds(run, inputs))
    of_model, of_reference = map(statistics.median, seconds)
    return of_model / of_reference if of_reference else None


def _seconds(run: Observer, inputs: Any) -> float:
    start = time.perf_counter()
    run(inputs)
    return time.perf_counter() - start
