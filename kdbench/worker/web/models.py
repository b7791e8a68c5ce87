"""A model in onnxruntime-web, as measuring processes see it: called over a connection, timed where it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError
from kdbench.worker.inputs import filled_shape
from kdbench.worker.jobs import JobModel
from kdbench.worker.loads import PRIME_BELOW_NS
from kdbench.worker.runtimes import ProviderError, Runtime
from kdbench.worker.web.engine import Engine, engine, running
from kdbench.worker.web.settling import settle

_BYTES_AT_ONCE = 64 << 20
FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, MemoryError, OSError, InputError)


class LoadedModel:
    """A model in WebAssembly with `threads` threads, SIMD and every optimisation, in a page or in Node.js.

    Called with prepared inputs (batch, *shape), it returns its output as an array; `load_ns` and `call_ns` are how long
    loading and the last call took there. Raises one of FAULTS; ProviderError where it would run with other threads, or
    without SIMD.
    """

    def __init__(self, model: JobModel, *, program: str, name: str, provider: str, threads: int) -> None:
        if provider != "cpu":
            raise ProviderError(f"kdbench runs {name} on the CPU, not on {provider}", "measure with --provider=cpu")
        self._engine, self._input, self._path = engine(program, threads), model.input, model.path
        self._number, self._declared, self.load_ns = self._engine.load(Path(model.path), model.output)
        self.call_ns = 0

    def __call__(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the output for `inputs`."""
        answer, content = self._engine.ask(*self._request("call", [inputs]))
        self.call_ns = round(answer["call_ms"] * 1e6)
        return np.frombuffer(content, np.dtype(answer["type"])).reshape(answer["dims"])

    def bind(self, inputs: list[NDArray[np.generic]]) -> tuple[Callable[..., object], list[tuple[Any, ...]]]:
        """Return what a timed loop needs: `run`, and for each of `inputs` the arguments of one call.

        The inputs are tensors of the page before, and a call leaves its output there as one, as an application calls
        the library. The first time, it is called until its code is compiled for the last time (`settling`).
        """
        most = max(_BYTES_AT_ONCE // max(inputs[0].nbytes, 1), 1)
        bound = BoundModel(self._engine, self._number, self._request("bind", inputs[:most]))
        if self._path not in self._engine.settled:
            settle(bound.time, self._engine.helpers_s)
            self._engine.settled.add(self._path)
        return bound, [()]

    def _request(self, do: str, inputs: list[NDArray[np.generic]]) -> tuple[dict[str, Any], bytes]:
        """Return a request with tensors of `inputs`, and zeros for placeholders."""
        arrays = [
            np.ascontiguousarray(array)
            if declared["name"] == self._input
            else np.zeros(filled_shape(declared["shape"], len(array)), declared["type"])
            for array in inputs
            for declared in self._declared
        ]
        described = [{"type": a.dtype.name, "dims": a.shape, "size": a.nbytes} for a in arrays]
        names = [declared["name"] for declared in self._declared]
        request = {"do": do, "model": self._number, "names": names, "tensors": described}
        return request, b"".join(array.tobytes() for array in arrays)


class BoundModel:
    """A model with its inputs. `calls_per_step` calls are timed at once, as many as its clock needs."""

    def __init__(self, owner: Engine, number: int, request: tuple[dict[str, Any], bytes]) -> None:
        self._engine, self._number, self._request = owner, number, request
        self._call_ns = 0.0
        self.calls_per_step = 1
        owner.ask(*request)
        self.time(np.empty(1, np.int64))

    def __call__(self) -> None:
        """Call once."""
        self.time(np.empty(1, np.int64))

    def time(self, out: NDArray[np.int64], gap_ms: int = 0) -> None:
        """Time `calls_per_step` calls for each element of `out`, in ns a call, with `gap_ms` of idle time before each.

        More calls are timed at once where they turn out to be faster, never fewer.
        """
        calls_per_step = 1 if gap_ms else self.calls_per_step
        prime = not gap_ms and self._call_ns < PRIME_BELOW_NS
        request = {"do": "time", "model": self._number, "times": len(out), "together": calls_per_step, "gap_ms": gap_ms}
        _, content = self._engine.ask({**request, "prime": prime})
        out[:] = np.frombuffer(content, np.float64)
        self._call_ns = float(np.median(out))
        if not gap_ms:
            self.calls_per_step = max(self.calls_per_step, self._engine.calls_per_step(self._call_ns))

    def preemptions(self) -> int:
        """Return how often the system took a core from what runs the model."""
        return self._engine.preemptions()


def runtime_in(program: str, name: str) -> Runtime:
    """Return the runtime called `name` that runs models in `program`."""

    def load(model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> LoadedModel:  # noqa: ARG001 - its threads do not spin
        return LoadedModel(model, program=program, name=name, provider=provider, threads=threads)

    def facts(provider: str) -> dict[str, Any]:  # noqa: ARG001 - there is one
        now = running()
        return {} if now is None else now.facts

    return Runtime(load=load, faults=FAULTS, facts=facts)
