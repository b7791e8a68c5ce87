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
