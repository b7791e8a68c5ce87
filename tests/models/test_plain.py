import pytest
import torch

from kdbench import models
from kdbench.errors import InputError


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_teacher_of_hinton_et_al():
    # 784·1200 + 1200·1200 + 1200·10 weights and 1200 + 1200 + 10 biases: arXiv:1503.02531, section 3.
    with torch.device("meta"):
        network = models.build("784-1200-1200-10", (1, 28, 28), 10)
    assert parameters(network) == 2_395_210
    assert network.stages == ("blocks.0", "blocks.1")


def test_named_and_given_widths_are_the_same_network():
    torch.manual_seed(0)
    named = models.build("64-20-10", (1, 8, 8), 10)
    torch.manual_seed(0)
    positional = models.build("dense", (1, 8, 8), 10, hidden=[20])
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(named(x), positional(x))


@pytest.mark.parametrize("name", ["784-30-10", "64-30-11", "64-0-10"])
def test_widths_that_do_not_fit_are_refused(name):
    with pytest.raises(InputError, match=name):
        models.build(name, (1, 8, 8), 10)


def test_the_fitting_name_is_offered():
    with pytest.raises(InputError) as caught:
        models.build("784-300-10", (3, 32, 32), 100)
    assert "'3072-300-100'" in caught.value.hint
