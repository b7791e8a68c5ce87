import pytest
import torch
from networks import tiny
from torch import nn

from kdbench.distill import placement
from kdbench.distill.placement import evaluation_batch, resolved
from kdbench.errors import InputError
from kdbench.recipe import Training

LARGE = {"width": 200}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def hardware(monkeypatch):
    def has(*, bf16=True, device=CPU, missing=None):
        monkeypatch.setattr(placement, "missing_compiler", lambda _: missing)
        monkeypatch.setattr(placement, "computes_bf16", lambda _: bf16)
        monkeypatch.setattr(placement, "device_of", lambda _: device)

    return has


@pytest.mark.parametrize(
    ("bf16", "network", "expected"),
    [(True, tiny(**LARGE), "bf16"), (False, tiny(**LARGE), "32"), (True, tiny(), "32")],
    ids=["large", "emulated", "small"],
)
def test_bf16_is_chosen_where_the_device_has_it_and_the_network_gains(hardware, bf16, network, expected):
    hardware(bf16=bf16)
    assert resolved(Training(), network).precision == expected


def test_channels_last_is_for_convolutions(hardware):
    hardware()
    assert resolved(Training(), tiny()).channels_last is True
    assert resolved(Training(), nn.Linear(3, 3)).channels_last is False


@pytest.mark.parametrize(
    ("device", "missing", "expected"), [(CPU, None, False), (GPU, None, True), (GPU, "Triton", False)]
)
def test_compiling_is_left_to_gpus_that_have_a_compiler(hardware, device, missing, expected):
    hardware(device=device, missing=missing)
    assert resolved(Training(), tiny()).compile is expected


def test_what_a_recipe_says_stays(hardware):
    hardware()
    said = Training(precision="32", channels_last=False, compile=True)
    assert resolved(said, tiny(**LARGE)) == said


def test_cuda_that_is_absent_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="sees no GPU"):
        placement.device_of(Training(device="cuda"))
    assert placement.device_of(Training()).type == "cpu"


def test_batches_without_gradients_are_larger_on_a_gpu():
    assert evaluation_batch(GPU, 64) == 512
    assert evaluation_batch(GPU, 1024) == 1024
    assert evaluation_batch(CPU, 16) == 64
    assert evaluation_batch(CPU, 1024) == 128
