import pytest
import torch

from kdbench.distill import devices
from kdbench.distill.devices import check_devices, devices_of, processes_of, strategy_of
from kdbench.errors import InputError
from kdbench.recipe import Training


def training(**keys) -> Training:
    return Training.model_validate({"device": "cpu", **keys})


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """Eight cores, and nobody who started several processes."""
    monkeypatch.setattr(devices, "_available", lambda device: 8 if device == "cpu" else 2)
    monkeypatch.setattr(devices, "world_size", lambda: 1)


@pytest.mark.parametrize("options", [{}, {"devices": "auto"}, {"devices": 4}, {"devices": 2, "strategy": "ddp"}])
def test_what_the_machine_can_do_is_let_be(options):
    check_devices(training(**options))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"devices": 9}, "devices is 9, and this machine has 8 CPU cores", "training.devices = 8"),
        ({"devices": 0}, "devices is 0", '"auto"'),
        ({"devices": -1}, "devices is -1", '"auto"'),
        ({"strategy": "dpp"}, "'dpp'", "did you mean 'ddp'"),
        ({"strategy": "fsdp"}, "none that kdbench can train with", "ddp"),
        ({"strategy": "ddp_spawn"}, "none that kdbench can train with", "ddp"),
        ({"num_nodes": 2}, "nobody started kdbench on the other nodes", "torchrun or srun"),
        ({"devices": 4, "batch": 7}, "less than two samples to each of 4 devices", "larger"),
    ],
)
def test_what_it_cannot_do_is_refused_with_a_hint(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        check_devices(training(**options))
    assert hint in caught.value.hint


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match="devices is 3, and this machine has 2 GPUs"):
        check_devices(training(device="cuda", devices=3))


@pytest.fixture
def slurm(monkeypatch):
    """Four processes on two nodes, started by srun."""
    for name, value in {"STEP_ID": 0, "NTASKS": 4, "NTASKS_PER_NODE": 2, "NNODES": 2, "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setattr(devices, "world_size", lambda: 4)


@pytest.mark.usefixtures("slurm")
def test_processes_that_were_started_have_to_be_as_many_on_each_node_as_are_asked_for():
    check_devices(training(devices=2, num_nodes=2))
    with pytest.raises(InputError, match="4 processes were started together"):
        check_devices(training(devices=2))
    with pytest.raises(InputError, match="number of tasks per node"):
        check_devices(training(devices=4))


def test_auto_is_all_gpus_and_one_process_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 6)
    assert devices_of(training(devices="auto")) == 1
    assert processes_of(training(devices="auto", device="cuda", num_nodes=3)) == 18


def test_a_strategy_that_copes_with_every_loss_unless_one_is_named():
    assert strategy_of(training()) == strategy_of(training(strategy="ddp")) == "auto"
    assert strategy_of(training(devices=2)) == "ddp_find_unused_parameters_true"
    assert strategy_of(training(devices=2, strategy="ddp")) == "ddp"
