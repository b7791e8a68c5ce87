"""What torch exports holds the MACs that the module does."""

import pytest
import torch

from kdbench import models
from kdbench.measure.macs.onnx_counter import count_onnx
from kdbench.measure.macs.torch_counter import count_module

pytestmark = pytest.mark.slow  # the exporter takes seconds per network


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("vgg11_bn", (3, 32, 32), {}),
        ("resnet8", (3, 32, 32), {"shortcut": "pad"}),
        ("keras_student", (1, 28, 28), {}),
        ("mobilenet_v3_small", (3, 32, 32), {}),
    ],
)
def test_the_graph_counts_as_the_module(name, shape, options, tmp_path):
    network = models.build(name, shape, 100, **options).eval()
    path = tmp_path / "model.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network, (torch.zeros(2, *shape),), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    report = count_onnx(path)
    assert report.macs == count_module(network, shape).macs
    assert report.uncounted == ()
