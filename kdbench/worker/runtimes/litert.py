"""The same model as a .tflite file, run by LiteRT's interpreter with its XNNPACK delegate, which is checked.

numpy and ai_edge_litert only: it runs in the measuring process. The file takes the model's inputs in its own layout and
type: channels are moved last, and floats rounded for a file of integers, before the clock starts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import ProviderError, Runtime
from kdbench.worker.runtimes.tflite_tensors import fitted, floats

FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, MemoryError, OSError)
FORM = ".tflite"
_DELEGATE = "DELEGATE"


class LoadedModel:
    """A .tflite file with `threads` threads, in XNNPACK as far as that has its operators, at least in part.

    Called with prepared inputs (batch, *shape), it returns its output as an array, floats for a file of integers.
    Raises one of FAULTS; ProviderError where XNNPACK runs nothing, or with other threads.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:  # noqa: ARG002 - XNNPACK has no such setting
        if provider != "cpu":
            raise ProviderError(f"kdbench runs litert on the CPU, not on {provider}", "measure with --provider=cpu")
        if FORM not in model.files:
            raise ValueError("it has no .tflite file")
        self._path, self._threads, self._model = model.files[FORM], threads, model
        self._interpreters: dict[int | None, Interpreter] = {}
        before = _threads()
        self._file_interpreter = self._interpreter(None)
        if (started := _threads() - before) != threads - 1:
            raise ProviderError(f"litert started {started} threads beside its own, not {threads - 1}", "")
        if not self.kernels().get("XNNPACK partitions"):
            raise ProviderError("XNNPACK runs no part of the model: its operators have no kernels there", "")

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`, computed at the file's own batch; the last one is filled up with zeros."""
        source, target = _ends(self._file_interpreter, self._model)
        samples, size = _fitted(inputs, source), int(source["shape"][0])
        outputs = []
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            filling = np.zeros_like(part, shape=(size - len(part), *part.shape[1:]))
            self._file_interpreter.set_tensor(source["index"], np.concatenate([part, filling]))
            self._file_interpreter.invoke()
            output = self._file_interpreter.get_tensor(target["index"])
            outputs.append(floats(output, target["quantization"], self._model)[: len(part)])
        return np.concatenate(outputs)

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        A call copies its input into the interpreter, as an application has to, and leaves the output there. Raises
        ValueError where the file does not take the batch.
        """
        batch = len(inputs[0])
        interpreter = self._interpreter(batch)
        source, _ = _ends(interpreter, self._model)
        put, invoke, place = interpreter.set_tensor, interpreter.invoke, source["index"]

        def run(samples: NDArray[np.generic]) -> None:
            put(place, samples)
            invoke()

        return run, [(np.ascontiguousarray(_fitted(array, source)),) for array in inputs]

    def kernels(self) -> dict[str, int]:
        """Return in how many partitions XNNPACK runs the model, and how many operators give each type of number."""
        operators = self._file_interpreter._get_ops_details()  # noqa: SLF001 - the only place that names them
        types = {
            tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in self._file_interpreter.get_tensor_details()
        }
        counts = Counter(
            types.get(operator["outputs"][0], "unknown") for operator in operators if operator["op_name"] != _DELEGATE
        )
        partitions = sum(operator["op_name"] == _DELEGATE for operator in operators)
        return {"XNNPACK partitions": partitions, **dict(counts.most_common())}

    def _interpreter(self, batch: int | None) -> Interpreter:
        """Return the interpreter for calls of a batch; None for the file's own."""
        if batch not in self._interpreters:
            interpreter = Interpreter(self._path, num_threads=self._threads)
            if batch is None:
                interpreter.allocate_tensors()
                _ends(interpreter, self._model)
            else:
                self._resize(interpreter, batch)
            self._interpreters[batch] = interpreter
        return self._interpreters[batch]

    def _resize(self, interpreter: Interpreter, batch: int) -> None:
        """Prepare an interpreter for calls of `batch` samples; raises ValueError where the file does not take them."""
        source, target = _ends(interpreter, self._model)
        shape = [batch, *source["shape"][1:]]
        interpreter.resize_tensor_input(source["index"], shape)
        try:
            interpreter.allocate_tensors()
            interpreter.set_tensor(source["index"], np.zeros(shape, source["dtype"]))
            interpreter.invoke()  # the shape of the output may depend on values of the graph
        except RuntimeError as error:
            raise ValueError(f"its .tflite file takes no batch {batch}") from error
        if interpreter.get_tensor(target["index"]).shape[0] != batch:
            raise ValueError(f"its .tflite file takes no batch {batch}")


def _ends(interpreter: Interpreter, model: JobModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the details of the input and of the output that is scored; raises ValueError where they are not clear."""
    sources, targets = interpreter.get_input_details(), interpreter.get_output_details()
    alike = [target for target in targets if model.output in target["name"]] if len(targets) > 1 else targets
    named = [target for target in alike if target["name"] == model.output] or alike
    if len(sources) != 1 or len(named) != 1:
        which = "" if len(targets) == 1 else f", {len(named)} of them with {model.output!r} in its name"
        ends = f"{len(sources)} inputs and {len(targets)} outputs{which}"
        raise ValueError(f"its .tflite file has {ends}, not one of each")
    return sources[0], named[0]


def _fitted(inputs: NDArray[np.generic], source: dict[str, Any]) -> NDArray[np.generic]:
    return fitted(inputs, source["shape"], source["dtype"], source["quantization"])


def _threads() -> int:
    """Return the number of threads of this process."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1  # noqa: PTH208, PTH112


RUNTIME = Runtime(
    load=LoadedModel,
    faults=FAULTS,
    facts=lambda _: {
        "version": metadata.version("ai-edge-litert"),
        "delegate": "XNNPACK, where it has the operators",
        "inputs": "in the file's layout and type before the clock starts",
    },
)
