"""Batch norm behind integer weights: gone from the graph, and in its numbers."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators of other quantizers
from onnx import numpy_helper
from torch import nn

from kdbench.distill.quantize import deployed, with_fake_quantization
from kdbench.export import onnx as exporting
from kdbench.export.onnx import export_onnx
from kdbench.recipe import Quantize


def batch_norm(channels: int, kind=nn.BatchNorm2d) -> nn.Module:
    """Batch norm as training may leave it: with factors below and above 0, and one that is 0."""
    norm = kind(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 1, channels))
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 3)
    assert 0 in norm.weight
    return norm


def network(*layers: nn.Module, images: torch.Tensor) -> nn.Module:
    """The layers quantized, their ranges seen, batch norm left as it is."""
    quantized = with_fake_quantization(nn.Sequential(*layers), Quantize(weight_bits=3))
    norms = [layer.eval() for layer in quantized.train() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
    quantized(images)
    assert norms
    return quantized.eval()


def operators(path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def logits(path, images) -> np.ndarray:
    how = ort.SessionOptions()
    how.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    (result,) = ort.InferenceSession(path, how, providers=["CPUExecutionProvider"]).run(None, {"input": images.numpy()})
    return result


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_behind_a_convolution_it_goes_into_scales_and_bias(tmp_path, bias, groups):
    torch.manual_seed(0)
    images, path = torch.rand(8, 3, 6, 6), tmp_path / "net.onnx"
    # Zero padding after the norm's shift would differ: what is folded is what comes behind the convolution.
    whole = network(nn.Conv2d(3, 9, 3, padding=1, bias=bias, groups=groups), batch_norm(9), nn.Flatten(), images=images)
    export_onnx(deployed(whole), (3, 6, 6), path)
    assert "BatchNormalization" not in operators(path)
    np.testing.assert_allclose(logits(path, images), whole(images).detach().numpy(), atol=1e-5)
    onnx.checker.check_model(path, full_check=True)


def test_behind_a_linear_layer_too(tmp_path):
    torch.manual_seed(0)
    images, path = torch.rand(8, 1, 4, 4), tmp_path / "net.onnx"
    whole = network(nn.Flatten(), nn.Linear(16, 5), batch_norm(5, nn.BatchNorm1d), images=images)
    export_onnx(deployed(whole), (1, 4, 4), path)
    assert [value.name for value in onnx.load(path).graph.output] == ["logits"]
    assert "BatchNormalization" not in operators(path)
    np.testing.assert_allclose(logits(path, images), whole(images).detach().numpy(), atol=1e-5)


def test_no_integer_leaves_its_range_and_no_scale_is_zero(tmp_path):
    torch.manual_seed(0)
    images, path = torch.rand(8, 3, 6, 6), tmp_path / "net.onnx"
    whole = network(nn.Conv2d(3, 9, 3), batch_norm(9), nn.Conv2d(9, 9, 3), batch_norm(9), nn.Flatten(), images=images)
    export_onnx(deployed(whole), (3, 6, 6), path)
    graph = onnx.load(path).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [node.input for node in graph.node if node.input[0] in tensors and node.op_type == "DequantizeLinear"]
    assert len(weights) == 2
    for integers, scale, _ in weights:
        assert tensors[integers].min() >= -127
        assert (tensors[scale] > 0).all()


def test_what_two_read_stays(tmp_path):
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 3, 3), batch_norm(3)

        def forward(self, images):
            result = self.conv(images)
            return (result + self.norm(result)).flatten(1)

    torch.manual_seed(0)
    images, path = torch.rand(4, 1, 5, 5), tmp_path / "net.onnx"
    whole = with_fake_quantization(Forked(), Quantize()).train()
    whole.norm.eval()
    whole(images)
    export_onnx(deployed(whole.eval()), (1, 5, 5), path)
    assert "BatchNormalization" in operators(path)
    np.testing.assert_allclose(logits(path, images), whole(images).detach().numpy(), atol=1e-5)


def test_weights_beside_the_file_are_folded_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_INLINE_LIMIT_BYTES", 0)
    torch.manual_seed(0)
    images, path = torch.rand(8, 3, 6, 6), tmp_path / "net.onnx"
    whole = network(nn.Conv2d(3, 9, 3), batch_norm(9), nn.Flatten(), images=images)
    export_onnx(deployed(whole), (3, 6, 6), path)
    assert (tmp_path / "net.onnx.data").exists()
    np.testing.assert_allclose(logits(path, images), whole(images).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("zero_point", "integers", "folded"),
    [(0, [-127, 0, 127], True), (0, [-128, 0, 127], False), (3, [-127, 0, 127], False)],
)
def test_weights_of_other_quantizers_are_folded_only_if_they_can_change_sign(tmp_path, zero_point, integers, folded):
    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("integers", torch.tensor(integers, dtype=torch.int8).view(3, 1, 1, 1))
            self.register_buffer("scales", torch.tensor([0.01, 0.02, 0.03]))
            self.register_buffer("zero_points", torch.full((3,), zero_point, dtype=torch.int32))
            self.norm = batch_norm(3)

        def forward(self, images):
            weights = torch.ops.quantized_decomposed.dequantize_per_channel(
                self.integers, self.scales, self.zero_points, 0, -128, 127, torch.int8
            )
            return self.norm(nn.functional.conv2d(images, weights)).flatten(1)

    torch.manual_seed(0)
    images, path, whole = torch.rand(4, 1, 5, 5), tmp_path / "net.onnx", Quantized().eval()
    export_onnx(whole, (1, 5, 5), path)
    assert ("BatchNormalization" not in operators(path)) is folded
    norm, pixels = whole.norm, images.numpy().astype(np.float64)
    weights = (np.array(integers) - zero_point) * np.array([0.01, 0.02, 0.03])
    factor, shift = (value.detach().numpy()[:, None, None] for value in (norm.weight, norm.bias))
    mean, variance = (value.numpy()[:, None, None] for value in (norm.running_mean, norm.running_var))
    expected = (pixels * weights[:, None, None] - mean) / np.sqrt(variance + 1e-5) * factor + shift
    np.testing.assert_allclose(logits(path, images), expected.reshape(4, -1), atol=1e-5)
