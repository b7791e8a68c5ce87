"""The network that a file was exported from, run by PyTorch as it is ("eager").

numpy and torch only: it runs in a measuring process of its own. float32 is computed as float32 (no TF32); on CUDA
cuDNN chooses its algorithms by its heuristics, as PyTorch does by default.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from kdbench.errors import KdbenchError
from kdbench.worker.jobs import JobModel, Network
from kdbench.worker.runtimes import ProviderError, Runtime

# torch's own exceptions, an allocation that fails and a compiler that gives up among them, are RuntimeErrors.
FAULTS = (KdbenchError, SafetensorError, RuntimeError, ValueError, ImportError, MemoryError, OSError)


class LoadedModel:
    """A model's network in evaluation and inference mode, with `threads` threads.

    Called with prepared inputs (batch, *shape), it returns its output as an array. Raises one of FAULTS.
    """

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:  # noqa: ARG002 - OpenMP's waiting is settled before torch is loaded
        if model.network is None:
            raise ValueError("the network that the file was exported from is not known")
        if provider == "cuda" and not torch.cuda.is_available():
            raise ProviderError(
                "PyTorch sees no GPU", "install PyTorch for the driver's CUDA version; nvidia-smi shows both"
            )
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        self._device = torch.device(provider)
        self._network: Callable[[torch.Tensor], torch.Tensor] = build(model.network).eval().to(self._device)

    @torch.inference_mode()
    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`."""
        output: NDArray[np.generic] = self._network(self._placed(inputs)).cpu().numpy()
        return output

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        Inputs are on the device before, outputs stay there. A call enters inference mode, as an application's would,
        and on CUDA ends when the device has finished.
        """
        run = self._run_synchronised if self._device.type == "cuda" else self._run
        return run, [(self._placed(array),) for array in inputs]

    def _placed(self, inputs: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(inputs).to(self._device)

    @torch.inference_mode()
    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        return self._network(inputs)

    @torch.inference_mode()
    def _run_synchronised(self, inputs: torch.Tensor) -> torch.Tensor:
        output = self._network(inputs)
        torch.cuda.synchronize(self._device)
        return output


def build(description: Network) -> nn.Module:
    """Return the described network with its weights, on the CPU; nothing is unpickled."""
    module, _, function = description.builder.partition(":")
    network = getattr(importlib.import_module(module), function)(*description.arguments, **description.options)
    assert isinstance(network, nn.Module), f"{description.builder} returns no torch module"
    if description.weights is not None:
        network.load_state_dict(load_file(description.weights))
    return network


def facts(provider: str) -> dict[str, Any]:
    """Return the version and settings of this PyTorch that affect numbers, and the device it would use."""
    result: dict[str, Any] = {"version": torch.__version__, "float32": "no TF32", "cuda": torch.version.cuda}
    if provider == "cuda" and torch.cuda.is_available():
        result |= {
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "device": torch.cuda.get_device_name(),
        }
    return result


RUNTIME = Runtime(load=LoadedModel, faults=FAULTS, facts=facts)
