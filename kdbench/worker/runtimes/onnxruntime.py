"""A loaded model as a callable: onnxruntime with every setting that affects a number stated.

numpy and onnxruntime only: it runs in the measuring process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from kdbench.extras import onnxruntime_for_cuda
from kdbench.machine.nvidia import query
from kdbench.worker.inputs import filled_shape
from kdbench.worker.jobs import GRAPH_OPTIMIZATION, PROVIDERS, JobModel
from kdbench.worker.runtimes import ProviderError, Runtime

# onnxruntime's exceptions share no base class below Exception.
_ERRORS = [e for e in vars(onnxruntime_pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)]
FAULTS: tuple[type[Exception], ...] = (*_ERRORS, RuntimeError, ValueError, MemoryError, OSError)

# float32 is computed as float32, as in the other runtimes; the provider's own default is TF32.
_SETTINGS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
_ELSEWHERE = "assigned to the default CPU EP"  # onnxruntime's message where nodes would run on the CPU instead
_ELEMENTS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class LoadedModel:
    """A model loaded with `threads` inter- and intra-op threads, sequential execution and every optimisation.

    Called with prepared inputs (batch, *shape), it returns its output as an array. Raises one of FAULTS; no provider
    but the requested one runs any node of the model.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:
        name = PROVIDERS[provider]
        if name not in onnxruntime.get_available_providers():
            raise ProviderError(f"this onnxruntime has no {name}", _hint())
        if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA and cuDNN from their Python packages, where the system has none
        options = session_options(threads, spinning=spinning, fallback=provider == "cpu")
        # Without enable_fallback=0 the Python class tries the CPU by itself after a provider's failure.
        try:
            self._session = onnxruntime.InferenceSession(
                model.path, options, providers=[(name, _SETTINGS[provider])], enable_fallback=0
            )
        except FAULTS as error:
            if _ELSEWHERE not in str(error):
                raise
            raise ProviderError(f"{name} cannot be loaded, or does not run every node of the model", _hint()) from error
        used = self._session.get_providers()[0]
        if used != name:  # a provider whose library does not load is dropped, with only a line in the log
            raise ProviderError(f"{name} cannot be loaded: {used} would run the model", _hint())
        self._declared = self._session.get_inputs()
        self._names = [model.output]
        self._input = model.input
        self._device = provider

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`."""
        output: NDArray[np.generic] = self._session.run(self._names, self._feed(inputs))[0]
        return output

    def _feed(self, inputs: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        return feed(self._declared, self._input, inputs)

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        On the CPU that is `session.run` itself, as an application would call it. On a device, inputs are copied and
        memory for outputs is allocated before timing. A call ends when its outputs are complete.
        """
        if self._device == "cpu":
            return self._session.run, [(self._names, self._feed(array)) for array in inputs]
        return self._run_bound, [(self._binding(array),) for array in inputs]

    def _binding(self, inputs: NDArray[np.generic]) -> Any:
        binding = self._session.io_binding()
        for name, array in self._feed(inputs).items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device, 0))
        name = self._names[0]
        declared = next(output for output in self._session.get_outputs() if output.name == name)
        # The first dimension is the batch; one that is open besides is known only when the model has run.
        if all(isinstance(size, int) for size in declared.shape[1:]) and declared.type in _ELEMENTS:
            shape = [len(inputs), *declared.shape[1:]]
            place = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, _ELEMENTS[declared.type], self._device, 0)
            binding.bind_ortvalue_output(name, place)
        else:
            binding.bind_output(name, self._device)
        binding.synchronize_inputs()
        return binding

    def _run_bound(self, binding: Any) -> None:
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()


def _hint() -> str:
    remedy = f"{onnxruntime_for_cuda()}; or --runtime=torch"
    if query(lambda pynvml: pynvml.nvmlDeviceGetCount()):
        return remedy
    return f"NVML finds no NVIDIA GPU here: leave out --provider=cuda. With a GPU: {remedy}"


def feed(declared: Sequence[Any], name: str, inputs: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    """Return the arguments of a call of a session with the `declared` inputs, of which `name` gets `inputs`.

    Placeholders, which no output depends on, get zeros.
    """
    others = (value for value in declared if value.name != name)
    zeros = {value.name: np.zeros(filled_shape(value.shape, len(inputs)), _ELEMENTS[value.type]) for value in others}
    return {name: inputs, **zeros}


def session_options(threads: int, *, spinning: bool, fallback: bool) -> Any:
    """Return the options that every session has; without `fallback`, only the requested provider runs nodes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, GRAPH_OPTIMIZATION)
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    # Threads that went on spinning after a call would fight the next model's for the cores: means doubled.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


RUNTIME = Runtime(
    load=LoadedModel,
    faults=FAULTS,
    facts=lambda provider: {"version": onnxruntime.__version__, "settings": _SETTINGS[provider]},
)
