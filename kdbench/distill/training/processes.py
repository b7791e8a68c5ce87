"""The processes that train one network together: their ranks, and what they exchange.

They are started by torchrun, srun, or kdbench itself (`workflows.stages.launch`), and do the same work on different
parts of the data. Fabric recognizes them by the same environment variables.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed

from kdbench.errors import InputError, KdbenchError

if TYPE_CHECKING:  # importing Fabric takes as long as torch: it loads torch's compiler
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The number of processes, `count`, and the `rank` of this one, from 0."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """Return the first process's `value` in all processes, transferred as a pickle. Every process must call it."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def on_rank_zero(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call `work` in the first process and return its result in all; a KdbenchError is raised in all."""
        result: T | KdbenchError | None = None
        if self.first:
            try:
                result = work(*args, **options)
            except KdbenchError as error:
                result = error
        result = self.broadcast(result)
        if isinstance(result, KdbenchError):
            raise result
        return result  # type: ignore[return-value]

    def first_before_others(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call `work` in the first process, then in the others, which can use the files that it wrote."""
        done: list[T] = []
        self.on_rank_zero(lambda: done.append(work(*args, **options)))
        return done[0] if self.first else work(*args, **options)

    def summed(self, values: Tensor) -> Tensor:
        """Add `values`, a tensor on the CPU, over the processes, in place, and return it."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values


def environment() -> "ClusterEnvironment | None":
    """Return Fabric's description of the launcher that started several processes; None if there was none.

    Raises InputError for srun without the option that Fabric needs.
    """
    if distributed.is_available() and distributed.is_torchelastic_launched():
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        return TorchElasticEnvironment()
    # A batch script has all variables but the step's: a program started without srun is one process.
    if "SLURM_STEP_ID" not in os.environ:
        return None
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    if SLURMEnvironment.detect():
        try:
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise InputError(str(error).partition(" HINT")[0], "use srun --ntasks-per-node=…, not --ntasks") from error
    return None


def world_size() -> int:
    """Return how many processes a launcher started to train together; 1 without a launcher."""
    cluster = environment()
    return 1 if cluster is None else cluster.world_size()


def process_group() -> Processes:
    """Join the process group of the processes that were started with this one, once, and return it."""
    if distributed.is_available() and distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    cluster = environment()
    if cluster is None or cluster.world_size() == 1:
        return Processes()
    backend = "gloo"
    if torch.cuda.is_available():
        # Both: gradients go between GPUs, all else between CPUs.
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(cluster.local_rank() % torch.cuda.device_count())
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
    distributed.init_process_group(backend, rank=cluster.global_rank(), world_size=cluster.world_size())
    return Processes(cluster.global_rank(), cluster.world_size())
