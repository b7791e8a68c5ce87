"""Networks that their factory compiled or wrapped: kdbench takes them as they were before."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from kdbench.export.factories import network_from
from kdbench.export.state_dicts import load_weights
from kdbench.models import MODELS, build
from kdbench.models.features.extractor import FeatureExtractor
from kdbench.plugins.wrappers import unwrapped

INPUTS = torch.linspace(-1, 1, 12).view(3, 4)


class Net(nn.Module):
    """Two layers in `body`, which `forward` also reaches by a second name."""

    def __init__(self, num_classes=5, in_channels=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_channels, 6), nn.ReLU())
        self.alias = self.body
        self.head = nn.Linear(6, num_classes)

    def forward(self, inputs):
        return self.head(self.alias(inputs))


def never(*_):
    raise AssertionError("the compiler runs")


def whole(network):
    return torch.compile(network, backend=never)


def in_place(network):
    network.compile(backend=never)
    return network


def body(network):
    network.body = network.alias = torch.compile(network.body, backend=never)
    return network


def layer_in_place(network):
    network.body[0].compile(backend=never)
    return network


def all_layers(network):
    network.body[0] = torch.compile(network.body[0], backend=never)
    return whole(body(network))


def parts_in_parallel(network):
    network.body = network.alias = nn.DataParallel(network.body)
    return nn.DataParallel(whole(network))


WAYS = [whole, in_place, body, layer_in_place, all_layers, nn.DataParallel, parts_in_parallel, AveragedModel]


@pytest.fixture
def registered(request):
    way = request.param
    MODELS.register("compiled")(lambda num_classes, in_channels: way(Net(num_classes, in_channels)))
    yield way
    MODELS.forget(__name__)


@pytest.mark.parametrize("registered", WAYS, indirect=True)
def test_a_network_that_its_factory_wrapped_is_taken_as_it_was(registered):
    torch.manual_seed(0)
    plain = Net()
    torch.manual_seed(0)
    network = build("compiled", (4,), 5)
    assert type(network) is Net
    assert network.state_dict().keys() == plain.state_dict().keys()
    logits, features = FeatureExtractor(network).run(INPUTS, ["body.0"])
    assert torch.equal(logits, plain(INPUTS))
    assert torch.equal(features["body.0"], plain.body[0](INPUTS))


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_were_saved_from_a_wrapped_network_have_its_layers_names(way, tmp_path):
    saved, network = Net(), Net()
    torch.save(way(saved).state_dict(), tmp_path / "weights.pth")
    assert load_weights(unwrapped(network), tmp_path / "weights.pth") == ()
    assert torch.equal(network(INPUTS), unwrapped(saved)(INPUTS))


COMPILED = whole(Net())


def test_a_compiled_network_by_import_path_is_taken_as_it_was():
    assert type(network_from(f"{__name__}:COMPILED")) is Net


def test_a_network_that_is_not_wrapped_stays_as_it_is():
    network = Net()
    assert unwrapped(network) is network
