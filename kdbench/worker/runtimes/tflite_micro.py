"""The same model as a .tflite file in the interpreter for microcontrollers, on this machine: outputs and memory.

numpy and tflite_micro only: it runs in the measuring process. Its kernels are the portable ones, so their times on this
machine do not apply to a microcontroller, and none are measured. The arena, the memory that is planned for activations
and the interpreter's own structures, is counted with 64-bit pointers: an upper estimate for a microcontroller.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import ProviderError, Runtime
from kdbench.worker.runtimes.tflite_tensors import fitted, floats

FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, MemoryError, OSError)
FORM = ".tflite"
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_SMALLEST_ARENA, _LARGEST_ARENA = 1 << 16, 1 << 28


class LoadedModel:
    """A .tflite file in tflite-micro's interpreter, called sample by sample, or at the file's own batch.

    Called with prepared inputs (batch, *shape), it returns its output as an array, floats for a file of integers.
    Raises one of FAULTS. It has one thread, and no times.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:  # noqa: ARG002 - it has one
        if provider != "cpu":
            raise ProviderError(f"tflite-micro runs on the CPU, not on {provider}", "measure with --provider=cpu")
        if FORM not in model.files:
            raise ValueError("it has no .tflite file")
        self._file, self._model = Path(model.files[FORM]), model
        self._interpreter = _interpreter(self._file.read_bytes())
        self._source, self._target = self._interpreter.get_input_details(0), self._interpreter.get_output_details(0)

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`, computed at the file's own batch; the last one is filled up with zeros."""
        source = self._source
        samples = fitted(inputs, source["shape"], source["dtype"], _quantization(source))
        size, outputs = int(source["shape"][0]), []
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            filling = np.zeros_like(part, shape=(size - len(part), *part.shape[1:]))
            self._interpreter.set_input(np.concatenate([part, filling]), 0)
            with _explained():
                self._interpreter.invoke()
            output = np.array(self._interpreter.get_output(0))
            outputs.append(floats(output, _quantization(self._target), self._model)[: len(part)])
        return np.concatenate(outputs)

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:  # noqa: ARG002 - as all runtimes have it
        """Raise RuntimeError: there is nothing to time."""
        raise RuntimeError("a microcontroller's times cannot be measured on another machine")

    def properties(self) -> dict[str, float]:
        """Return the bytes of the arena, and the step of an output of integers (0: floats)."""
        return {"arena_bytes": _arena(self._interpreter), "output_step": _quantization(self._target)[0]}


def _interpreter(content: bytes) -> Any:
    """Return an interpreter with an arena that is large enough; raises RuntimeError with the reason where none is."""
    size = _SMALLEST_ARENA
    while True:
        try:
            with _explained():
                return runtime.Interpreter.from_bytes(content, arena_size=size)
        except RuntimeError:
            if size >= _LARGEST_ARENA:
                raise
            size *= 4


def _quantization(details: dict[str, Any]) -> tuple[float, int]:
    """Return the scale of a tensor, 0 for one of floats, and its zero point."""
    of = details["quantization_parameters"]
    return (float(of["scales"][0]), int(of["zero_points"][0])) if len(of["scales"]) else (0.0, 0)


def _arena(interpreter: Any) -> int:
    """Return the arena's used bytes."""
    with _error_output() as lines:
        interpreter.print_allocations()
    output = "\n".join(lines)
    if (total := _TOTAL.search(output)) is None:
        raise RuntimeError(f"tflite-micro does not say how large its arena is: {output[:200]}")
    return int(total[1])


@contextmanager
def _explained() -> Iterator[None]:
    """Add the lines that the library writes in the block to a RuntimeError, which does not say why."""
    try:
        with _error_output() as lines:
            yield
    except RuntimeError as error:
        raise RuntimeError("; ".join([str(error), *lines])) from error


@contextmanager
def _error_output() -> Iterator[list[str]]:
    """Yield a list; when the block ends, it has the lines that the library wrote to the process's error output."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written = file.read().decode(errors="replace").splitlines()
            lines += [line.strip() for line in written if line.strip()]


RUNTIME = Runtime(
    load=LoadedModel,
    faults=FAULTS,
    facts=lambda _: {
        "version": metadata.version("tflite-micro"),
        "kernels": "portable; no times",
        "arena": "of this machine, with 64-bit pointers",
    },
)
