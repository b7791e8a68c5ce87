"""The engines by name, for `--on`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kdbench.errors import InputError
from kdbench.extras import require
from kdbench.machine.cores import available_cores
from kdbench.machine.system_files import quota_cores
from kdbench.workflows.sweeping.execution.engine import Engine, Inline
from kdbench.workflows.sweeping.execution.names import LOCAL, is_slurm
from kdbench.workflows.sweeping.execution.processes import Processes
from kdbench.workflows.sweeping.execution.slurm.options import options_of
from kdbench.workflows.sweeping.execution.slurm.requests import require_capacity, require_commands
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep, tasks_of
from kdbench.workflows.sweeping.tasks import perform

_PROCESS_BYTES, _COPIES = 1_000_000_000, 4  # of a training process: its libraries, and copies of the data

EngineOf = Callable[[PlannedSweep], Engine]
"""Returns the engine for a plan; raises InputError for a plan that it could never run to its end."""


@contextmanager
def connected(on: str, measure_on: str | None = None) -> Iterator[EngineOf]:
    """Connect with the cluster that `on` names, and yield the function that makes its engine; then disconnect.

    `local` are processes of this machine, `inline` is this process, `slurm…` are jobs of Slurm; everything else is the
    address of a Ray cluster. Models are measured on nodes with the label `measure_on`. Raises InputError if there is
    no connection.
    """
    if is_slurm(on):
        yield _slurm(on, measure_on)
        return
    if on not in LOCAL:
        from kdbench.workflows.sweeping.execution.cluster import connecting

        with connecting.connected(on, measure_on) as engine_of:
            yield lambda planned: engine_of(tasks_of(planned))
        return
    if measure_on is not None:
        message = f"--measure-on {measure_on} selects nodes of a cluster, but --on {on} measures on this machine"
        raise InputError(message, "leave it out, or name the cluster: --on auto or ray://HOST:PORT")
    local: dict[str, EngineOf] = {"local": _processes, "inline": lambda _: Inline(perform)}
    yield local[on]


def _slurm(on: str, measure_on: str | None) -> EngineOf:
    options = options_of(on, measure_on)
    require("slurm", f"--on {on}")
    require_commands()
    from kdbench.workflows.sweeping.execution.slurm.engine import Slurm

    def engine_of(planned: PlannedSweep) -> Engine:
        require_capacity(tasks_of(planned), options)
        return Slurm(options)

    return engine_of


def _processes(planned: PlannedSweep) -> Processes:
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
