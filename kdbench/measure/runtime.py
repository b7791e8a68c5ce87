"""A loaded model as a callable: onnxruntime with every setting that moves a number stated.

numpy and onnxruntime only: it runs in the measuring process.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from kdbench.measure.jobs import GRAPH_OPTIMIZATION, PROVIDERS, JobModel


class ProviderError(RuntimeError):
    """The execution provider that was asked for is not the one that would run the model."""


# onnxruntime's exceptions share no base class below Exception.
FAULTS: tuple[type[Exception], ...] = (
    *(e for e in vars(onnxruntime_pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)),
    RuntimeError,
    ValueError,
    MemoryError,
    OSError,
)


def describe(error: Exception) -> str:
    """Return what went wrong in one line, without onnxruntime's numbering."""
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text[:300]


class Target:
    """A model loaded with `threads` inter- and intra-op threads, sequential execution and every optimisation.

    Called with prepared inputs (batch, *shape), it returns its output as an array. Raises one of FAULTS.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:
        wanted = PROVIDERS[provider]
        if wanted not in onnxruntime.get_available_providers():
            raise ProviderError(f"this onnxruntime has no {wanted}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, GRAPH_OPTIMIZATION)
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        if provider != "cpu":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session = onnxruntime.InferenceSession(model.path, options, providers=[wanted])
        used = self._session.get_providers()[0]
        if used != wanted:
            raise ProviderError(f"{wanted} was asked for, but {used} would run the model")
        self._names = [model.output]
        self._input = model.input
        self._device = provider

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`."""
        output: NDArray[np.generic] = self._session.run(self._names, {self._input: inputs})[0]
        return output

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        On the CPU that is `session.run` itself, as an application would call it. On a device inputs and outputs
        are bound there first, and a call ends when its outputs are complete.
        """
        if self._device == "cpu":
            return self._session.run, [(self._names, {self._input: each}) for each in inputs]
        bindings = []
        for each in inputs:
            binding = self._session.io_binding()
            value = onnxruntime.OrtValue.ortvalue_from_numpy(each, self._device, 0)
            binding.bind_ortvalue_input(self._input, value)
            binding.bind_output(self._names[0], self._device)
            bindings.append((binding,))
        return self._run_bound, bindings

    def _run_bound(self, binding: Any) -> None:
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
