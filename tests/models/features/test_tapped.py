"""What a tapped network gives: each layer's value as the layer returned it, whatever is done in place afterwards."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.features.tapped import TappedNetwork, require_gradients

GRADIENTS = pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])


def values_when_returned(network, inputs):
    """Return a copy of each layer's output, of its last call, made before anything else runs."""
    values, handles = {}, []
    for path, module in network.named_modules():
        if path:
            keep = lambda _module, _inputs, output, path=path: values.__setitem__(path, output.detach().clone())  # noqa: E731
            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return values


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
    tapped = TappedNetwork(copy.deepcopy(network))
    for _ in range(2):  # the second time it knows what is overwritten
        tapped.network.load_state_dict(network.state_dict())
        torch.manual_seed(1)
        _, features = tapped.run(inputs, list(expected))
        assert all(torch.equal(features[path], value) for path, value in expected.items())
    if overwritten is not None and training:
        assert len(overwritten_layers(network, inputs)) >= overwritten


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
        tapped = TappedNetwork(network)
        for _ in range(2):
            network.zero_grad()
            torch.manual_seed(3)
            with mode():
                output, features = tapped.run(inputs, ["first"])
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
        _, features = TappedNetwork(network).run(inputs, ["first"])
    assert (features["first"] < 0).any()


def test_what_nothing_overwrites_is_the_very_tensor():
    """A copy would be one more term, at another place, in the sums of gradients."""
    network, returned = Overwriting(None, functional.relu), []
    network.in_place = False
    network.first.register_forward_hook(lambda *call: returned.append(call[2]))
    tapped = TappedNetwork(network)
    features = [tapped.run(torch.randn(5, 4), ["first"])[1]["first"] for _ in range(3)]
    assert all(feature is value for feature, value in zip(features, returned, strict=True))


@GRADIENTS
@pytest.mark.parametrize("name", ["relu", "+=", "a view"])
def test_what_is_overwritten_in_some_steps_only_is_right_in_all(name, mode):
    operation, twin = OPERATIONS[name]
    network, inputs = Overwriting(operation, twin), torch.randn(5, 4)
    tapped = TappedNetwork(network)
    for network.in_place in (False, True, False, True):
        with mode():
            output, features = tapped.run(inputs, ["first"])
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
    tapped, expected = TappedNetwork(network), network.first(inputs)
    for _ in range(3):
        torch.testing.assert_close(tapped.run(inputs, ["first"])[1]["first"], expected)


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
    before, tapped = inputs.clone(), TappedNetwork(network)
    with mode():
        outputs = [tapped.run(inputs)[0] for _ in range(3)]
        torch.testing.assert_close(outputs[2], network.linear(inputs - 5))
    assert torch.equal(inputs, before)


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
    values, tapped = values_when_returned(network, inputs), TappedNetwork(network)
    for output in (True, False, False):
        _, features = tapped.run(inputs, layers, output=output)
        assert all(torch.equal(features[layer], values[layer]) for layer in layers)


def test_a_layer_that_is_not_used_is_refused():
    with pytest.raises(InputError, match=r"'unused' of Repeating gives nothing \(it is not used\)"):
        TappedNetwork(Repeating()).run(torch.randn(5, 4), ["relu", "unused"])


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
    outputs, (hidden, state) = TappedNetwork(network).run(inputs, ["cell"])[1]["cell"]
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
    expected, tapped = network.pair.linear(inputs), TappedNetwork(network)
    for _ in range(2):
        kept = tapped.run(inputs, ["pair"])[1]["pair"]
        torch.testing.assert_close(kept, {"hidden": expected, "all": [expected]})


def test_a_user_network_whose_number_of_calls_varies_gives_its_last_value():
    """Only the networks of known libraries end their forward early."""
    network, inputs = Repeating(), torch.randn(5, 4)
    tapped = TappedNetwork(network)
    for network.calls in (1, 3, 2):
        expected = values_when_returned(network, inputs)
        _, features = tapped.run(inputs, ["linear"], output=False)
        assert torch.equal(features["linear"], expected["linear"])


def test_a_network_of_kdbench_ends_early_where_its_output_is_not_needed():
    network, reached = models.build("convnet", (1, 8, 8), 10, widths=[4, 6, 8]), []
    network.head.register_forward_hook(lambda *_: reached.append(1))
    tapped = TappedNetwork(network)
    for _ in range(3):
        tapped.run(torch.rand(2, 1, 8, 8), ["blocks.1"], output=False)
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
        output, features = TappedNetwork(network).run(inputs, ["block.0"])
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
