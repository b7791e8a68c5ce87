from contextlib import nullcontext

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from benchmarks.training.rate import convolution_cost, convolutions
from kdbench import models


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v3_small"])
def test_the_operations_are_those_of_the_convolutions_of_the_network(name, monkeypatch):
    monkeypatch.setattr("benchmarks.training.rate.SECONDS", 0.0)
    network, shape = models.build(name, (3, 32, 32), 100), (2, 3, 32, 32)
    counted = FlopCountAnalysis(network.eval(), torch.zeros(shape)).unsupported_ops_warnings(enabled=False)
    expected = counted.by_operator()["conv"]  # multiply-accumulates
    layout = torch.channels_last
    calls = convolutions(network, shape)
    costs = [convolution_cost(layer, size, nullcontext(), layout, first=False) for layer, size in calls]
    assert sum(cost.operations for cost in costs) == pytest.approx(2 * 3 * expected)
    assert all(cost.seconds > 0 for cost in costs)


def test_the_first_convolution_has_no_gradient_of_its_input(monkeypatch):
    monkeypatch.setattr("benchmarks.training.rate.SECONDS", 0.0)
    layer = nn.Conv2d(4, 6, 3, padding=1)  # 8 * 8 outputs of 6 channels, each of 4 * 9 multiply-accumulates
    costs = [
        convolution_cost(layer, (2, 4, 8, 8), nullcontext(), torch.contiguous_format, first=first)
        for first in (True, False)
    ]
    macs = 2 * 6 * 8 * 8 * 36
    assert [cost.operations for cost in costs] == [4 * macs, 6 * macs]
