"""The runtimes, one file each, imported only in the measuring process that uses it.

The runtime called `torch-compiled` is the module `torch_compiled` of this package; its `RUNTIME` defines how a model is
loaded. numpy only, because a process that measures one runtime must not load another. The probes import this folder,
and `testing` for its smoke runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel


class ProviderError(RuntimeError):
    """Raised if the requested device or execution provider would not run the model; `hint` is the remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class LoadedModel(Protocol):
    """A loaded model as a callable."""

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for prepared `inputs` (batch, *shape)."""

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return `run` for a timed loop, and for each of `inputs` the arguments of one call.

        On a device, inputs are copied there before; a call ends when its outputs are complete.
        """


@runtime_checkable
class ReportsKernels(Protocol):
    """A loaded model that reports the precision of its kernels."""

    def kernels(self) -> Mapping[str, int]:
        """Return the number of layers in each precision, by the runtime's names: {"f32": 20, "u8": 2}."""


@runtime_checkable
class RemoteModel(Protocol):
    """A model loaded by another process, with the times `load_ns` of loading and `call_ns` of the last call there."""

    load_ns: int
    call_ns: int


@runtime_checkable
class ReportsDeployment(Protocol):
    """A loaded model that reports the resources that it needs when deployed."""

    def properties(self) -> Mapping[str, float]:
        """Return numbers by name, such as `arena_bytes`."""


class Load(Protocol):
    """A runtime's function that loads a model; raises one of its faults."""

    def __call__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> LoadedModel:
        """Return `model` on `provider` ("cpu" or "cuda") with `threads`; with `spinning` if the runtime supports it."""


@dataclass(frozen=True)
class Runtime:
    """One runtime: its function that loads a model, its exceptions, and its properties that affect numbers.

    `faults` are the exceptions that loading and running may raise; `facts` maps a provider to JSON values.
    """

    load: Load
    faults: tuple[type[Exception], ...]
    facts: Callable[[str], Mapping[str, Any]]


def runtime(name: str) -> Runtime:
    """Return the runtime called `name`; raises ImportError if it is not installed."""
    chosen = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").RUNTIME
    assert isinstance(chosen, Runtime)
    return chosen
