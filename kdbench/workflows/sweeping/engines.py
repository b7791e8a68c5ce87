"""The engines by name: what `--on` takes."""

import os

import torch

from kdbench.errors import InputError
from kdbench.machine.cores import available_cores
from kdbench.machine.system_files import quota_cores
from kdbench.workflows.sweeping.engine import Engine, Inline
from kdbench.workflows.sweeping.processes import Processes
from kdbench.workflows.sweeping.tasks import perform
from kdbench.workflows.sweeping.work import Planned, tasks_of

_PROCESS_BYTES, _COPIES = 1_000_000_000, 4  # of a training process: its libraries, and copies of the data


def engine_for(on: str, planned: Planned) -> Engine:
    """Return the engine that `on` names; raises InputError for one that there is not.

    `inline` runs one task after the other in this process.
    """
    if on == "inline":
        return Inline(perform)
    if on == "local":
        return _processes(planned)
    raise InputError(f"there is no engine {on!r}", "use --on local: processes on this machine")


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
