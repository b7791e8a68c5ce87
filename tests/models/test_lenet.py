import pytest
import torch
from torch.nn import functional

from kdbench import models
from kdbench.errors import InputError


def test_parameters_of_the_paper():
    # LeCun et al. 1998, section II.B; the second convolution is dense (there 1,516), the last layer linear.
    with torch.device("meta"):
        network = models.build("lenet5", (1, 28, 28), 10)
    layers = [156, 2_416, 48_120, 10_164, 850]
    parameters = [parameter.numel() for parameter in network.parameters()]
    assert [weight + bias for weight, bias in zip(parameters[::2], parameters[1::2], strict=True)] == layers


def test_computes_what_its_layers_say():
    torch.manual_seed(0)
    network = models.build("lenet5", (1, 12, 13), 3).eval()
    x = torch.randn(2, 1, 12, 13)
    weights = list(network.parameters())
    y = functional.max_pool2d(functional.conv2d(functional.pad(x, (2, 2, 2, 2)), *weights[:2]).relu(), 2)
    y = functional.max_pool2d(functional.conv2d(y, *weights[2:4]).relu(), 2).flatten(1)
    y = functional.linear(functional.linear(y, *weights[4:6]).relu(), *weights[6:8]).relu()
    torch.testing.assert_close(network(x), functional.linear(y, *weights[8:]))


def test_small_images_are_refused_with_a_network_that_fits():
    with pytest.raises(InputError, match="images of 8×28 are too small") as caught:
        models.build("lenet5", (1, 8, 28), 10)
    assert "convnet" in caught.value.hint
    assert models.build("convnet", (1, 8, 28), 10)(torch.zeros(2, 1, 8, 28)).shape == (2, 10)
