import torch
from torch import nn

from kdbench.compress.kernels import kernels_of
from kdbench.distill.quantize import deployed, with_fake_quantization
from kdbench.export.onnx import export_onnx
from kdbench.recipe import Quantize


def chain(*, quantize: bool) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )
    if not quantize:
        return network
    with_fake_quantization(network, Quantize(weight_bits=4, activation_bits=4)).train()(torch.rand(4, 3, 8, 8))
    return network


def test_convolutions_between_two_roundings_run_in_integers_and_nothing_is_left_beside_the_file(tmp_path):
    """The last layer's output is not rounded, so it is no integer's."""
    export_onnx(deployed(chain(quantize=True)), (3, 8, 8), tmp_path / "net.onnx")
    kernels = kernels_of(tmp_path / "net.onnx")
    assert len(kernels.integer) >= 2
    assert len(kernels.layers) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_a_network_in_full_precision_has_none(tmp_path):
    export_onnx(chain(quantize=False), (3, 8, 8), tmp_path / "net.onnx")
    kernels = kernels_of(tmp_path / "net.onnx")
    assert (len(kernels.integer), len(kernels.layers)) == (0, 3)
