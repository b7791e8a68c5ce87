"""What the merged record says of a device beside its numbers."""

from types import SimpleNamespace

import pytest

from kdbench.edge.results.merging import _kernels, device_name

OPERATORS = {"int8": ["QuantizeLinear", "QLinearConv", "Conv", "Relu"], "shapes": ["Reshape"]}


def test_layers_in_integers_are_counted_among_all_layers():
    nodes = {id_: [SimpleNamespace(operator=one) for one in operators] for id_, operators in OPERATORS.items()}
    steps = SimpleNamespace(kernels=SimpleNamespace(nodes=nodes))
    result = SimpleNamespace(content=SimpleNamespace(steps=steps))
    assert _kernels(result) == {"int8": "1 of 2 layers in integers"}
    steps.kernels = None  # the measurement ended before them
    assert _kernels(result) == {}


@pytest.mark.parametrize(
    ("host", "target_fits", "name"),
    [
        ({"board": "Raspberry Pi 5 Model B Rev 1.0", "cpu": "Cortex-A76"}, True, "pi-gate"),
        ({"board": "Raspberry Pi 5 Model B Rev 1.0", "cpu": "Cortex-A76"}, False, "raspberry-pi-5-model-b-rev-1-0"),
        ({"board": None, "cpu": "Intel(R) Core(TM) i7-1165G7 @ 2.80GHz"}, False, "intel-r-core-tm-i7-1165g7-2-80ghz"),
        ({"board": None, "cpu": None, "machine": "aarch64"}, False, "aarch64"),
        ({"board": "开发板", "cpu": None}, False, "device"),
        ({"board": f"{'x' * 39} y", "cpu": None}, False, "x" * 39),
    ],
)
def test_a_device_is_called_as_its_target_or_its_board(host, target_fits, name):
    device = SimpleNamespace(host=SimpleNamespace(**host))
    known = SimpleNamespace(plan=SimpleNamespace(target="pi-gate"))
    assert device_name(SimpleNamespace(content=SimpleNamespace(device=device), known=known), target_fits) == name
