import pytest
import torch

from kdbench.distill.training.processes import Processes, process_group, world_size
from kdbench.errors import InputError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "GROUP_RANK": "1"}
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "6",
    "SLURM_NTASKS_PER_NODE": "3",
    "SLURM_PROCID": "2",
    "SLURM_JOB_NAME": "train",
}


@pytest.fixture(autouse=True)
def _nobody(monkeypatch):
    for name in {*TORCHRUN, *SRUN}:
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch, variables, without=()):
    for name, value in variables.items():
        if name not in without:
            monkeypatch.setenv(name, value)


def test_alone_nothing_is_waited_for_and_everything_is_ones_own():
    alone = process_group()
    assert alone == Processes(0, 1)
    assert alone.first
    assert alone.broadcast("mine") == "mine"
    assert alone.on_rank_zero(lambda: 3) == alone.first_before_others(lambda: 3) == 3
    assert alone.summed(torch.tensor([2.0])).tolist() == [2.0]
    with pytest.raises(InputError, match="wrong"):
        alone.on_rank_zero(_wrong)


def _wrong():
    raise InputError("wrong")


@pytest.mark.parametrize(("variables", "count"), [({}, 1), (TORCHRUN, 4), (SRUN, 6)])
def test_whoever_started_several_processes_is_found_by_the_environment(monkeypatch, variables, count):
    set_all(monkeypatch, variables)
    assert world_size() == count


def test_a_batch_script_that_does_not_use_srun_is_one_process(monkeypatch):
    set_all(monkeypatch, SRUN, without=["SLURM_STEP_ID"])
    assert world_size() == 1


def test_srun_without_tasks_per_node_is_told_what_is_missing(monkeypatch):
    set_all(monkeypatch, SRUN, without=["SLURM_NTASKS_PER_NODE"])
    with pytest.raises(InputError) as caught:
        world_size()
    assert "--ntasks-per-node" in caught.value.hint
