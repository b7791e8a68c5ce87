"""The engines by name, for `--on`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kdbench.errors import InputError
from kdbench.machine.cores import available_cores
from kdbench.machine.system_files import quota_cores
from kdbench.workflows.sweeping.execution.engine import Engine, Inline
from kdbench.workflows.sweeping.execution.processes import Processes
from kdbench.workflows.sweeping.tasks import perform
from kdbench.workflows.sweeping.work import Planned, tasks_of

_HERE = ("local", "inline")
_PROCESS_BYTES, _COPIES = 1_000_000_000, 4  # of a training process: its libraries, and copies of the data

EngineOf = Callable[[Planned], Engine]
"""Returns the engine for a plan; raises InputError for a plan that it could never run to its end."""


@contextmanager
def connected(on: str, measure_on: str | None = None) -> Iterator[EngineOf]:
    """Connect with what `on` names, and yield what makes an engine of it; disconnect when the block ends.

    `local` are processes of this machine, `inline` is this process; everything else is the address of a Ray cluster,
    on whose nodes with the label `measure_on` models are measured. Raises InputError for what cannot be reached.
    """
    if on not in _HERE:
        from kdbench.workflows.sweeping.execution.cluster import connecting

        with connecting.connected(on, measure_on) as engine_of:
            yield lambda planned: engine_of(tasks_of(planned))
        return
    if measure_on is not None:
        message = f"--measure-on {measure_on} selects nodes of a cluster, but --on {on} measures on this machine"
        raise InputError(message, "leave it out, or name the cluster: --on auto or ray://HOST:PORT")
    here: dict[str, EngineOf] = {"local": _processes, "inline": lambda _: Inline(perform)}
    yield here[on]


def _processes(planned: Planned) -> Processes:
    quota, cores = quota_cores(), len(available_cores())
    cpus = max(1, cores if quota is None else min(cores, round(quota)))
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    run_data = planned.checked.run_data
    parts = (run_data.train, run_data.validation, run_data.dataset.test)
    data_bytes = sum(part.inputs.nbytes for part in parts if part is not None)
    engine = Processes(cpus, gpus, _PROCESS_BYTES + _COPIES * data_bytes)
    trainings = [task for task in tasks_of(planned) if task.kind == "train"]
    engine.slots = max(1, *(min(cpus // t.cpus, len(gpus) // t.gpus if t.gpus else cpus) for t in trainings))
    return engine
