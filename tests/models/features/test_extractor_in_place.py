"""Operations in place behind a feature layer change neither its value nor a gradient."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.models.features.extractor import FeatureExtractor

GRADIENTS = pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])


class Overwriting(nn.Module):
    """A network with an operation in place behind the layer `first`, or with its twin that is not in place."""

    def __init__(self, operation, twin) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.operation, self.twin = operation, twin
        self.in_place = True

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        return self.head(self.operation(hidden) if self.in_place else self.twin(hidden))


def added(hidden):
    hidden += 2
    return hidden


def masked(hidden):
    hidden[:, ::2] = 0
    return hidden


def through_data(hidden):
    hidden.data.clamp_(min=0)  # torch counts no change
    return hidden


EVENS = torch.tensor([0.0, 1] * 3)
OPERATIONS = {
    "relu": (nn.ReLU(inplace=True), nn.ReLU()),
    "functional relu_": (functional.relu_, functional.relu),
    "hardswish": (nn.Hardswish(inplace=True), nn.Hardswish()),
    "leaky, functional": (
        lambda x: functional.leaky_relu(x, 0.1, inplace=True),
        lambda x: functional.leaky_relu(x, 0.1),
    ),
    "+=": (added, lambda hidden: hidden + 2),
    "a slice": (masked, lambda hidden: hidden * EVENS),
    "a view": (lambda x: functional.relu_(x.view(-1, 2, 3)).flatten(1), functional.relu),
    "dropout": (nn.Dropout(0.5, inplace=True), nn.Dropout(0.5)),
}


@GRADIENTS
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_in_place_changes_neither_a_value_nor_a_gradient(name, mode):
    network, inputs = Overwriting(*OPERATIONS[name]), torch.randn(5, 4)
    results = []
    for network.in_place in (True, False):
        extractor = FeatureExtractor(network)
        for _ in range(2):
            network.zero_grad()
            torch.manual_seed(3)
            with mode():
                output, features = extractor.run(inputs, ["first"])
            if mode is nullcontext:
                (output.square().sum() + features["first"].pow(3).sum()).backward()
            results.append((output, features["first"], network.first.weight.grad))
    for result in results[1:]:
        for value, expected in zip(result, results[0], strict=True):
            torch.testing.assert_close(value, expected)
    torch.testing.assert_close(results[0][1], functional.linear(inputs, network.first.weight, network.first.bias))
    assert not results[0][1].is_inference()


@GRADIENTS
def test_a_change_that_torch_does_not_count_is_seen_too(mode):
    network, inputs = Overwriting(through_data, None), torch.randn(5, 4)
    with mode():
        _, features = FeatureExtractor(network).run(inputs, ["first"])
    assert (features["first"] < 0).any()


def test_what_nothing_overwrites_is_the_very_tensor():
    """A copy would be one more term, at another place, in the sums of gradients."""
    network, returned = Overwriting(None, functional.relu), []
    network.in_place = False
    network.first.register_forward_hook(lambda *call: returned.append(call[2]))
    extractor = FeatureExtractor(network)
    features = [extractor.run(torch.randn(5, 4), ["first"])[1]["first"] for _ in range(3)]
    assert all(feature is value for feature, value in zip(features, returned, strict=True))


@GRADIENTS
@pytest.mark.parametrize("name", ["relu", "+=", "a view"])
def test_what_is_overwritten_in_some_steps_only_is_right_in_all(name, mode):
    operation, twin = OPERATIONS[name]
    network, inputs = Overwriting(operation, twin), torch.randn(5, 4)
    extractor = FeatureExtractor(network)
    for network.in_place in (False, True, False, True):
        with mode():
            output, features = extractor.run(inputs, ["first"])
        first = functional.linear(inputs, network.first.weight, network.first.bias)
        expected = network.head(twin(first))
        torch.testing.assert_close((features["first"], output), (first, expected))
        if mode is nullcontext:
            gradients = [
                torch.autograd.grad(out.sum() + feature.pow(3).sum(), network.first.weight)[0]
                for out, feature in ((output, features["first"]), (expected, first))
            ]
            torch.testing.assert_close(*gradients)


UNCOUNTED = {
    "data": lambda hidden: hidden.data.mul_(2),
    "a slice of data": lambda hidden: hidden.data[:, 0].zero_(),
    "numpy": lambda hidden: hidden.detach().numpy().__imul__(2),
    "other data": lambda hidden: setattr(hidden, "data", torch.zeros_like(hidden)),
    "detached": lambda hidden: hidden.detach().mul_(2),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_changes_behind_torchs_back_are_seen_at_every_step(name):
    class Changing(Overwriting):
        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            UNCOUNTED[name](hidden)
            return self.head(hidden)

    network, inputs = Changing(None, None), torch.randn(5, 4)
    extractor, expected = FeatureExtractor(network), network.first(inputs)
    for _ in range(3):
        torch.testing.assert_close(extractor.run(inputs, ["first"])[1]["first"], expected)


class Shifting(nn.Module):
    """A network that normalises its inputs in place."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        inputs -= 5
        return self.linear(inputs)


@GRADIENTS
def test_inputs_stay_as_they_are(mode):
    network, inputs = Shifting(), torch.randn(5, 4)
    before, extractor = inputs.clone(), FeatureExtractor(network)
    with mode():
        outputs = [extractor.run(inputs)[0] for _ in range(3)]
        torch.testing.assert_close(outputs[2], network.linear(inputs - 5))
    assert torch.equal(inputs, before)
