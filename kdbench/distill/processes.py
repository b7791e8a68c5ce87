"""The processes that train one network together: who they are, what they agree on, what they add up.

They are started from outside, by torchrun, srun, or kdbench itself (`pipeline.spreading`), and all do the same work
on their own parts of the data. Lightning's `Trainer` finds them by the same marks in the environment.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, distributed

from kdbench.errors import InputError, KdbenchError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """All processes of this work, `count` of them, and the place of this one: `rank`, from 0."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """Return the first process's `value` in all of them; it is pickled on its way. Every process has to ask."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def on_rank_zero(self, work: Callable[[], T]) -> T:
        """Do `work` in the first process and return its result in all; a KdbenchError is raised in all."""
        result: T | KdbenchError | None = None
        if self.first:
            try:
                result = work()
            except KdbenchError as error:
                result = error
        result = self.broadcast(result)
        if isinstance(result, KdbenchError):
            raise result
        return result  # type: ignore[return-value]

    def first_then_all(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, done in the first process before the others do it, who find what it left."""
        done: list[T] = []
        self.on_rank_zero(lambda: done.append(work()))
        return done[0] if self.first else work()

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum over the processes of `values`, a tensor on the CPU, which it replaces."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.summed(torch.zeros(1))


def environment() -> ClusterEnvironment | None:
    """Return what Lightning knows of whoever started several processes for this work; None where nobody did.

    Raises InputError for srun without the option that Lightning needs.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # A batch script has all variables but the step's: what it starts without srun is one process.
    if "SLURM_STEP_ID" in os.environ and SLURMEnvironment.detect():
        try:
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise InputError(str(error).partition(" HINT")[0], "use srun --ntasks-per-node=…, not --ntasks") from error
    return None


def world_size() -> int:
    """Return how many processes were started from outside to do this work together; 1 where none was."""
    found = environment()
    return 1 if found is None else found.world_size()


def process_group() -> Processes:
    """Meet the processes that were started with this one, unless that is done, and return them all."""
    if distributed.is_available() and distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    found = environment()
    if found is None or found.world_size() == 1:
        return Processes()
    backend = "gloo"
    if torch.cuda.is_available():
        # Both: gradients go from GPU to GPU, and what is agreed on never leaves the CPU.
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(found.local_rank() % torch.cuda.device_count())
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = found.main_address, str(found.main_port)
    distributed.init_process_group(backend, rank=found.global_rank(), world_size=found.world_size())
    return Processes(found.global_rank(), found.world_size())
