"""A feature extractor returns each layer's value as the layer returned it."""

import copy

import pytest
import torch
from models.features.calls import values_when_returned
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.features.extractor import FeatureExtractor, require_gradients


def overwritten_layers(network, inputs):
    """Return the layers whose outputs differ at the end of the forward from what they were."""
    values, kept, handles = values_when_returned(copy.deepcopy(network), inputs), {}, []
    for path, module in network.named_modules():
        keep = lambda _module, _inputs, output, path=path: kept.__setitem__(path, output)  # noqa: E731
        handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        network(inputs)
    return [path for path, value in values.items() if not torch.equal(kept[path], value)]


@pytest.mark.parametrize(
    ("name", "options", "overwritten"),
    [
        ("torchvision/resnet18", {}, 17),
        ("torchvision/densenet121", {}, 121),
        ("wrn16-1", {}, 13),
        ("torchvision/mobilenet_v3_small", {}, None),
        ("784-30-10", {"dropout": 0.5}, None),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_every_layer_of_a_network_is_as_it_was_returned(name, options, overwritten, training):
    shape = (1, 28, 28) if name.startswith("784") else (3, 32, 32)
    torch.manual_seed(0)
    network = models.build(name, shape, 10, **options).train(training)
    inputs = torch.randn(2, *shape)
    torch.manual_seed(1)
    expected = values_when_returned(copy.deepcopy(network), inputs)
    extractor = FeatureExtractor(copy.deepcopy(network))
    for _ in range(2):  # in the second call, the overwritten values are known
        extractor.network.load_state_dict(network.state_dict())
        torch.manual_seed(1)
        _, features = extractor.run(inputs, list(expected))
        assert all(torch.equal(features[path], value) for path, value in expected.items())
    if overwritten is not None and training:
        assert len(overwritten_layers(network, inputs)) >= overwritten


class Repeating(nn.Module):
    """A network that calls one layer several times."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.relu, self.unused = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)
        self.calls = 3

    def forward(self, inputs: Tensor) -> Tensor:
        for _ in range(self.calls):
            inputs = self.relu(self.linear(inputs))
        return inputs


@pytest.mark.parametrize("layers", [["linear"], ["relu"], ["relu", "linear"]])
def test_a_layer_that_is_called_again_gives_its_last_value_also_without_the_output(layers):
    network, inputs = Repeating(), torch.randn(5, 4)
    values, extractor = values_when_returned(network, inputs), FeatureExtractor(network)
    for output in (True, False, False):
        _, features = extractor.run(inputs, layers, output=output)
        assert all(torch.equal(features[layer], values[layer]) for layer in layers)


def test_a_layer_that_is_not_used_is_refused():
    with pytest.raises(InputError, match="'unused' of Repeating is not used"):
        FeatureExtractor(Repeating()).run(torch.randn(5, 4), ["relu", "unused"])


def test_structures_are_kept_whole():
    """A recurrent layer returns its outputs and its states."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(4, 3, batch_first=True)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs, (hidden, _) = self.cell(inputs)
            outputs += 1
            return outputs[:, -1] + hidden[0]

    network, inputs = Recurrent(), torch.randn(5, 7, 4)
    outputs, (hidden, state) = FeatureExtractor(network).run(inputs, ["cell"])[1]["cell"]
    expected, (last, final) = network.cell(inputs)
    for value, right in ((outputs, expected), (hidden, last), (state, final)):
        torch.testing.assert_close(value, right)


def test_a_container_that_the_network_changes_is_kept_as_the_layer_gave_it():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> dict[str, object]:
            return {"hidden": self.linear(inputs), "all": [self.linear(inputs)]}

    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, inputs: Tensor) -> Tensor:
            outputs = self.pair(inputs)
            outputs["hidden"] = torch.relu(outputs["hidden"])
            outputs["all"].append(outputs["hidden"])
            return outputs["hidden"]

    network, inputs = Replacing(), torch.randn(5, 4)
    expected, extractor = network.pair.linear(inputs), FeatureExtractor(network)
    for _ in range(2):
        kept = extractor.run(inputs, ["pair"])[1]["pair"]
        torch.testing.assert_close(kept, {"hidden": expected, "all": [expected]})


def test_a_user_network_whose_number_of_calls_varies_gives_its_last_value():
    """Only the networks of known libraries end their forward early."""
    network, inputs = Repeating(), torch.randn(5, 4)
    extractor = FeatureExtractor(network)
    for network.calls in (1, 3, 2):
        expected = values_when_returned(network, inputs)
        _, features = extractor.run(inputs, ["linear"], output=False)
        assert torch.equal(features["linear"], expected["linear"])


def test_a_network_of_kdbench_ends_early_where_its_output_is_not_needed():
    network, reached = models.build("convnet", (1, 8, 8), 10, widths=[4, 6, 8]), []
    network.head.register_forward_hook(lambda *_: reached.append(1))
    extractor = FeatureExtractor(network)
    for _ in range(3):
        extractor.run(torch.rand(2, 1, 8, 8), ["blocks.1"], output=False)
    assert len(reached) == 1


class Checkpointed(nn.Module):
    """A network whose block keeps no values for the backward pass, or none of whose gradients reach the block."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.block, self.norm = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), nn.BatchNorm1d(4)
        self.how = how

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.norm(self.stem(inputs))
        if self.how == "no_grad":
            with torch.no_grad():
                hidden = self.block(hidden)
            return self.head(hidden)
        if self.how == "plain":
            return self.head(self.block(hidden))
        return self.head(checkpoint(self.block, hidden, use_reentrant=self.how == "reentrant"))


def test_checkpointed_blocks_have_the_values_and_gradients_of_plain_ones():
    inputs, gradients = torch.randn(5, 4), []
    for how in ("not reentrant", "plain"):
        network = Checkpointed(how)
        output, features = FeatureExtractor(network).run(inputs, ["block.0"])
        (output.sum() + features["block.0"].pow(3).sum()).backward()
        gradients.append([weight.grad for weight in network.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("how", ["reentrant", "no_grad", "frozen"])
def test_a_layer_that_no_loss_can_teach_is_refused_before_the_training(how):
    network, inputs = Checkpointed(how), torch.randn(5, 4)
    if how == "frozen":
        network.requires_grad_(requires_grad=False)
        network.head.requires_grad_(requires_grad=True)
        network.how = "plain"
    state = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError, match=r"'block\.0'.* has no effect"):
        require_gradients(network, ["block.0"], inputs)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    require_gradients(network, ["head"], inputs)
