"""ONNX files run by OpenVINO on the CPU, with every setting that affects a number stated and read back.

numpy and openvino only: it runs in the measuring process. A file is compiled for the shape of its calls, each shape
once, as OpenVINO's `benchmark_app` and applications do; one request is reused for all calls of a shape.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import ProviderError, Runtime

_OF_FRONTENDS = tuple(
    error for error in vars(openvino.frontend).values() if isinstance(error, type) and issubclass(error, Exception)
)
FAULTS: tuple[type[Exception], ...] = (*_OF_FRONTENDS, RuntimeError, ValueError, TypeError, MemoryError, OSError)

_DEVICE = "CPU"
# Stated because the defaults would change numbers: on processors with AMX float32 is computed as bfloat16, linear
# layers with compressed weights quantize their inputs, and threads are pinned to cores that kdbench has not chosen.
_SETTINGS: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": openvino.Type.f32,
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}
_THREADS = "INFERENCE_NUM_THREADS"
_REDUCED = ("bf16", "f16")  # precisions of layers that would break the promise of f32
_CONVERSIONS = {"Convert", "Reorder", "Subgraph"}  # what widens the inputs of a float16 file to float32
_NO_LAYERS = {"Const", "Constant", "Input", "Parameter", "Output", "Result"}


class LoadedModel:
    """A model compiled for `threads` threads, one stream, and float32 arithmetic wherever the file has floats.

    Called with prepared inputs (batch, *shape), it returns its output as an array. Raises one of FAULTS; ProviderError
    where OpenVINO would compute with other settings than these.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:  # noqa: ARG002 - its threads do not spin
        if provider != "cpu":
            raise ProviderError(f"kdbench runs openvino on the CPU, not on {provider}", "measure with --provider=cpu")
        self._model = openvino.Core().read_model(model.path)
        self._input, self._output = model.input, model.output
        self._settings = {**_SETTINGS, _THREADS: threads}
        self._requests: dict[tuple[int, ...], Any] = {}
        self._request((model.fixed_batch or 1, *model.shape))

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`."""
        request = self._request(inputs.shape)
        request.infer(self._feed(request, inputs), share_outputs=True)
        output: NDArray[np.generic] = np.array(request.get_tensor(self._output).data)  # a copy: calls share its memory
        return output

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        The inputs are tensors on their own memory before, and a call leaves its output in the request's: no copy is
        timed. `infer` is that of the binding, without the conversions of its Python class, which take 10 µs.
        """
        request = self._request(inputs[0].shape)
        share_outputs, decode_strings = True, False
        arguments = [(self._feed(request, array), share_outputs, decode_strings) for array in inputs]
        infer: Callable[..., object] = super(openvino.InferRequest, request).infer  # type: ignore[misc]  # no stubs
        return infer, arguments

    def kernels(self) -> dict[str, int]:
        """Return how many layers compute in each precision, as OpenVINO calls it: {"f32": 20}."""
        return precisions(next(iter(self._requests.values())).get_compiled_model())

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._requests:
            self._requests[shape] = self._compiled(shape).create_infer_request()
        return self._requests[shape]

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        model = self._model.clone()
        others = {port: _filled(port, shape[0]) for port in model.inputs if self._input not in port.names}
        model.reshape({self._input: list(shape), **others})
        compiled = openvino.Core().compile_model(model, _DEVICE, dict(self._settings))
        for name, value in self._settings.items():
            if (used := compiled.get_property(name)) != value:
                raise ProviderError(f"openvino uses {name} {used}, not {value}", "name as many threads as it has cores")
        if (devices := list(compiled.get_property("EXECUTION_DEVICES"))) != [_DEVICE]:
            raise ProviderError(f"openvino runs the model on {', '.join(devices)}, not on the CPU", "")
        if reduced := [kind for kind in map(_reduced_precision, compiled.get_runtime_model().get_ops()) if kind]:
            kinds = ", ".join(sorted(set(reduced)))
            raise ProviderError(f"openvino computes {len(reduced)} layers in reduced precision ({kinds})", "")
        return compiled

    def _feed(self, request: Any, inputs: NDArray[np.generic]) -> Any:
        """Return the inputs of a call: a tensor on their memory, beside zeros for placeholders."""
        tensor = openvino.Tensor(np.ascontiguousarray(inputs), shared_memory=True)
        ports = request.get_compiled_model().inputs
        if len(ports) == 1:
            return tensor
        zeros = {port: openvino.Tensor(port.element_type, port.shape) for port in ports}
        for placeholder in zeros.values():
            placeholder.data[...] = 0
        return zeros | {port: tensor for port in ports if self._input in port.names}


def precisions(compiled: Any) -> dict[str, int]:
    """Return how many layers of a compiled model compute in each precision, the most frequent first."""
    kinds = (_precision(layer) for layer in compiled.get_runtime_model().get_ops())
    return dict(Counter(kind for kind in kinds if kind).most_common())


def _precision(layer: Any) -> str:
    """Return the precision that a layer computes in; "" for what computes nothing."""
    info = layer.get_rt_info()
    if "runtimePrecision" not in info or info["layerType"].astype(str) in _NO_LAYERS:
        return ""
    return str(info["runtimePrecision"].astype(str))


def _reduced_precision(layer: Any) -> str:
    """Return the precision of a layer that computes in less than float32; "" for others, and for widening to it."""
    kind = _precision(layer)
    widens = layer.get_rt_info()["layerType"].astype(str) in _CONVERSIONS and all(
        output.get_element_type() == openvino.Type.f32 for output in layer.outputs()
    )
    return kind if kind in _REDUCED and not widens else ""


def _filled(port: Any, batch: int) -> list[int]:
    """Return the shape of a placeholder with its open dimensions filled: the first with the batch, others with 1."""
    sides = enumerate(port.get_partial_shape())
    return [side.get_length() if side.is_static else 1 if axis else batch for axis, side in sides]


RUNTIME = Runtime(
    load=LoadedModel,
    faults=FAULTS,
    facts=lambda _: {
        "version": openvino.get_version(),
        "settings": {name: str(getattr(value, "to_string", lambda v=value: v)()) for name, value in _SETTINGS.items()},
        "shapes": "compiled for the shape of each call",
    },
)
