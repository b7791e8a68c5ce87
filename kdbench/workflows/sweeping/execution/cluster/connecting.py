"""Connect to a Ray cluster by its address."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kdbench.errors import InputError, first_line
from kdbench.extras import require
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster
from kdbench.workflows.sweeping.execution.cluster.nodes import alive_nodes, require_capacity
from kdbench.workflows.sweeping.execution.names import AUTO, address_of
from kdbench.workflows.sweeping.execution.schedule import Task

_CONNECT_S = 10.0
_START = "start one with `ray start --head`; on a node of a cluster --on auto finds it"
_LOOK = (
    "something responds there: see `ray status`; if `ray start` reported token authentication, set RAY_AUTH_MODE=token "
    "here and on all nodes, with the same token"
)
_SLOW_START = ("client server failed", "Proxy failed to Connect")  # in Ray's message on a process that starts too late
_TRY_AGAIN = (
    "the head started no process for this connection within Ray's half minute: try again when it is less busy, or look "
    "into ray_client_server*.err in its /tmp/ray/session_latest/logs"
)

EngineOf = Callable[[Sequence[Task]], Cluster]
"""Returns the engine for tasks; raises InputError if one of them could never run."""


@contextmanager
def connected(on: str, label: str | None) -> Iterator[EngineOf]:
    """Connect with the cluster at `on` while the block runs; nodes with `label` measure.

    `on` is `auto` (the cluster of this machine), HOST:PORT of its head, or ray://HOST:PORT of Ray's client server, for
    a machine that is not one of its nodes. Raises InputError if none responds.
    """
    address = address_of(on)
    require("cluster", f"--on {on}")
    if address is not None:
        _try_connection(on, *address)
    import ray
    from ray.util import scheduling_strategies  # noqa: F401 - not loaded with ray

    joined = ray.is_initialized()  # by the program that calls kdbench
    if not joined:
        if address is None and (recorded := _recorded_address()) is not None:
            _try_connection(f"{recorded[0]}:{recorded[1]}, which auto stands for", *recorded)
        _join(ray, on)
    try:
        yield lambda tasks: _engine(ray, tasks, label)
    finally:
        if not joined:
            ray.shutdown()


def _engine(ray: Any, tasks: Sequence[Task], label: str | None) -> Cluster:
    require_capacity(tasks, alive_nodes(ray.nodes()), label)
    return Cluster(ray, tasks, label)


def _recorded_address() -> tuple[str, int] | None:
    """Return the address that `auto` stands for, in RAY_ADDRESS or as `ray start` wrote it down; None if there is none.

    It is still written down after the cluster was killed.
    """
    try:
        # Ray has no public function for it, and may move this one.
        from ray._private.services import canonicalize_bootstrap_address

        return address_of(os.environ.get("RAY_ADDRESS") or str(canonicalize_bootstrap_address(AUTO)))
    except (ImportError, ConnectionError, ValueError, InputError):  # `ray.init` says why
        return None


def _try_connection(on: str, host: str, port: int) -> None:
    """Raise InputError if nothing listens there, because Ray would take a minute or more to notice."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at {on}: {error.strerror or error}", _START) from error


def _join(ray: Any, on: str) -> None:
    # Ray prints events of nodes to standard output, which is for results; no option prevents it.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # noqa: SLF001
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(on, namespace="kdbench", log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        message = f"the Ray cluster at {on} cannot be joined: {_reason(error)}"
        if "ersion mismatch" in str(error):
            hint = "install the same versions of Python and Ray here and on the nodes"
            raise InputError(f"{message}: {' '.join(str(error).split())[:300]}", hint) from error
        is_slow = any(text in str(error) for text in _SLOW_START)
        hint = _TRY_AGAIN if is_slow else _START if on == AUTO else _LOOK
        raise InputError(message, hint) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's handler would skip kdbench's cleanup


def _reason(error: Exception) -> str:
    """Return an error's first line, and its last line if the first is only a heading of another process's report."""
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [first_line(error)]
    return f"{first} {others[-1]}" if others and first.endswith(":") else first
