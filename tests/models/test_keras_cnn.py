import pytest
import torch
from torch.nn import functional

from kdbench import models
from kdbench.models.plain import same_padding


# The model summaries of keras.io/examples/vision/knowledge_distillation.
@pytest.mark.parametrize(("name", "parameters"), [("keras_teacher", 1_433_610), ("keras_student", 20_490)])
def test_parameters_of_the_tutorial(name, parameters):
    with torch.device("meta"):
        network = models.build(name, (1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    # tensorflow.org/api_docs/python/tf/nn, "Notes on padding": 13 with kernel 6 and stride 5 is its example.
    [
        (28, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (13, 6, 5, (1, 2)),
        (28, 2, 1, (0, 1)),
        (5, 3, 1, (1, 1)),
        (4, 1, 2, (0, 0)),
    ],
)
def test_same_padding(size, kernel, stride, padding):
    assert same_padding(size, kernel, stride) == padding


def test_the_first_block_is_tensorflows():
    torch.manual_seed(0)
    network = models.build("keras_student", (1, 6, 6), 10)
    x = torch.randn(2, 1, 6, 6)
    conv = network.blocks[0][1]
    # Stride 2 over 6 cells pads (0, 1); max pooling "same" sees minus infinity beyond the edge.
    y = functional.leaky_relu(functional.conv2d(functional.pad(x, (0, 1, 0, 1)), conv.weight, conv.bias, stride=2), 0.2)
    y = functional.max_pool2d(functional.pad(y, (0, 1, 0, 1), value=-torch.inf), 2, stride=1)
    assert torch.equal(network.blocks[0](x), y)
