import pytest
import torch
from distill import cases
from distill.networks import tiny
from torch import nn

from kdbench import models
from kdbench.distill.training import devices, loop
from kdbench.distill.training.devices import (
    check_devices,
    compile_forward,
    devices_of,
    evaluation_batch,
    missing_compiler,
    processes_of,
    resolved,
    strategy_of,
)
from kdbench.errors import InputError
from kdbench.recipe import Training


def training(**keys) -> Training:
    return Training.model_validate({"device": "cpu", **keys})


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """Eight cores, and nobody who started several processes."""
    monkeypatch.setattr(devices, "available_cores", lambda: range(8))


@pytest.mark.parametrize("options", [{}, {"devices": "auto"}, {"devices": 4}, {"devices": 2, "strategy": "ddp"}])
def test_what_the_machine_can_do_is_let_be(options):
    check_devices(training(**options), 1)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"devices": 9}, "devices is 9, and this machine has 8 CPU cores", "training.devices = 8"),
        ({"devices": 0}, "devices is 0", '"auto"'),
        ({"devices": -1}, "devices is -1", '"auto"'),
        ({"strategy": "dpp"}, "'dpp'", "did you mean 'ddp'"),
        ({"strategy": "fsdp"}, "not one that kdbench can train with", "ddp"),
        ({"strategy": "ddp_spawn"}, "not one that kdbench can train with", "ddp"),
        ({"num_nodes": 2}, "kdbench was not started on the other nodes", "torchrun or srun"),
        ({"devices": 4, "batch": 7}, "fewer than two samples for each of 4 devices", "larger"),
    ],
)
def test_what_it_cannot_do_is_refused_with_a_hint(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        check_devices(training(**options), 1)
    assert hint in caught.value.hint


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="devices is 3, and this machine has 2 GPUs"):
        check_devices(training(device="cuda", devices=3), 1)


@pytest.fixture
def slurm(monkeypatch):
    """Four processes on two nodes, started by srun."""
    for name, value in {"STEP_ID": 0, "NTASKS": 4, "NTASKS_PER_NODE": 2, "NNODES": 2, "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


@pytest.mark.usefixtures("slurm")
def test_processes_that_were_started_have_to_be_as_many_on_each_node_as_are_asked_for():
    check_devices(training(devices=2, num_nodes=2), 4)
    with pytest.raises(InputError, match="4 processes were started together"):
        check_devices(training(devices=2), 4)
    with pytest.raises(InputError, match="number of tasks per node"):
        check_devices(training(devices=4), 4)


def test_auto_is_all_gpus_and_one_process_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 6)
    assert devices_of(training(devices="auto")) == 1
    assert processes_of(training(devices="auto", device="cuda", num_nodes=3)) == 18


def test_a_strategy_that_copes_with_every_loss_unless_one_is_named():
    assert strategy_of(training()) == strategy_of(training(strategy="ddp")) == "auto"
    assert strategy_of(training(devices=2)) == "ddp_find_unused_parameters_true"
    assert strategy_of(training(devices=2, strategy="ddp")) == "ddp"


LARGE = {"width": 200}
IMAGE = torch.zeros(1, 1, 8, 8)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def hardware(monkeypatch):
    def has(*, bf16=True, device=CPU):
        monkeypatch.setattr(devices, "computes_bf16", lambda _: bf16)
        monkeypatch.setattr(devices, "device_of", lambda _: device)

    return has


@pytest.mark.parametrize(
    ("bf16", "network", "expected"),
    [(True, tiny(**LARGE), "bf16"), (False, tiny(**LARGE), "32"), (True, tiny(), "32")],
    ids=["large", "emulated", "small"],
)
def test_bf16_is_chosen_where_the_device_has_it_and_the_network_gains(hardware, bf16, network, expected):
    hardware(bf16=bf16)
    assert resolved(Training(), network, IMAGE).precision == expected


@pytest.mark.parametrize(
    ("name", "batch", "expected"),
    [
        ("resnet20", 128, "bf16"),
        ("mobilenetv2_x0_75", 128, "bf16"),
        ("mobilenetv2_x0_75", 32, "32"),
        ("torchvision/mobilenet_v3_small", 128, "32"),
        ("torchvision/shufflenet_v2_x1_0", 128, "32"),
    ],
)
def test_depthwise_convolutions_gain_from_bf16_only_where_they_are_large(hardware, name, batch, expected):
    hardware()
    network, image = models.build(name, (3, 32, 32), 100), torch.zeros(1, 3, 32, 32)
    assert resolved(Training(batch=batch), network, image).precision == expected
    assert all(module.training for module in network.modules())
    hardware(device=GPU)
    assert resolved(Training(batch=batch), network, image).precision == "bf16"


def test_the_part_of_the_batch_in_one_process_decides(hardware):
    hardware()
    network, image = models.build("mobilenetv2_x0_75", (3, 32, 32), 100), torch.zeros(1, 3, 32, 32)
    assert resolved(Training(batch=128, devices=4), network, image).precision == "32"
    assert resolved(Training(batch=512, devices=4), network, image).precision == "bf16"


def test_channels_last_is_for_convolutions(hardware):
    hardware()
    assert resolved(Training(), tiny(), IMAGE).channels_last is True
    assert resolved(Training(), nn.Linear(3, 3), torch.zeros(1, 3)).channels_last is False


@pytest.mark.parametrize("device", [CPU, GPU])
def test_nothing_is_compiled_unasked(hardware, device):
    hardware(device=device)
    assert resolved(Training(), tiny(), IMAGE).compile is False


def test_what_a_recipe_says_stays(hardware):
    hardware()
    training = Training(precision="32", channels_last=False, compile=True)
    assert resolved(training, tiny(**LARGE), IMAGE) == training


def test_cuda_that_is_absent_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="sees no GPU"):
        devices.device_of(Training(device="cuda"))
    assert devices.device_of(Training()).type == "cpu"


def test_batches_without_gradients_are_larger_on_a_gpu():
    assert evaluation_batch(GPU, 64) == 512
    assert evaluation_batch(GPU, 1024) == 1024
    assert evaluation_batch(CPU, 16) == 64
    assert evaluation_batch(CPU, 1024) == 128


def test_without_a_compiler_compile_is_refused(monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler  # loads torch's compiler

    def raise_missing(*_):
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", raise_missing)
    assert missing_compiler("cpu") == "a C++ compiler"
    with pytest.raises(InputError, match="lacks a C"):
        check_devices(training(device="cpu", compile=True), 1)


def test_with_a_compiler_compile_is_accepted(monkeypatch):
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda *_: "g++")
    check_devices(training(device="cpu", compile=True), 1)


def test_a_compiled_network_shares_its_weights():
    network = tiny()
    made = compile_forward(network)
    assert {id(p) for p in made.parameters()} == {id(p) for p in network.parameters()}


def test_steps_that_need_features_are_not_compiled_and_all_others_are(tmp_path, monkeypatch):
    steps = []

    def counting(network):
        def call(images):
            steps.append(torch.is_grad_enabled())
            return network(images)

        return call

    monkeypatch.setattr(loop, "compile_forward", counting)
    weights, _ = cases.train(cases.two_stages, tmp_path / "compiled", compile=True)
    # Hints, which need the student's features, in two of four epochs of seven batches; validation is never compiled.
    assert steps == [True] * 14
    expected, _ = cases.train(cases.two_stages, tmp_path / "eager")
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
