import numpy as np
import pytest
import torch
from distill.networks import tiny
from distill.quantized import SHAPE, after_batches, options, quantized
from distill.students import Stops, objective_of, run_fit, same_weights, student, training
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from kdbench.distill.objective import Objective
from kdbench.distill.quantize import (
    MOMENTUM,
    FakeQuantizedConv2d,
    FakeQuantizedLinear,
    activation_grid,
    activation_on_grid,
    forget_ranges,
    is_quantized,
    weight_on_grid,
    with_fake_quantization,
)
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks

EVERY_WIDTH = pytest.mark.parametrize("bits", range(2, 9))


def quantize_dequantize(numbers, scale, zero_point, least, most):
    """Jacob et al. 2018 (arXiv:1712.05877), equation 12, about a zero point, in double precision."""
    integers = np.clip(np.rint(np.asarray(numbers, np.float64) / scale) + zero_point, least, most)
    return scale * (integers - zero_point)


class TestGrids:
    @EVERY_WIDTH
    def test_a_channels_weights_lie_on_its_own_symmetric_grid(self, bits):
        weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6).view(
            5, 1, 1, 1
        )
        result = weight_on_grid(weight, bits)
        for channel, rounded in zip(weight.numpy(), result.numpy(), strict=True):
            most = 2 ** (bits - 1) - 1
            scale = np.abs(channel).max() / most
            np.testing.assert_allclose(rounded, quantize_dequantize(channel, scale, 0, -most, most), atol=1e-6 * scale)
            assert len(np.unique(rounded)) <= 2**bits - 1

    @EVERY_WIDTH
    def test_activations_lie_on_one_grid_that_holds_zero(self, bits):
        inputs = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
        low, high, most = -0.73, 2.11, 2**bits - 1
        result = activation_on_grid(inputs, torch.tensor(low), torch.tensor(high), bits).numpy()
        scale = (high - low) / most
        zero_point = np.clip(np.rint(-low / scale), 0, most)
        np.testing.assert_allclose(result, quantize_dequantize(inputs.numpy(), scale, zero_point, 0, most), atol=1e-6)
        assert len(np.unique(result)) <= 2**bits
        assert activation_on_grid(torch.zeros(1), torch.tensor(low), torch.tensor(high), bits) == 0

    def test_gradients_go_straight_through_but_not_through_what_is_clipped(self):
        weight = torch.randn(4, 6, requires_grad=True)
        weight_on_grid(weight, 3).sum().backward()
        assert torch.equal(weight.grad, torch.ones_like(weight))
        inputs = torch.tensor([-9.0, -0.5, 0.3, 1.4, 9.0], requires_grad=True)
        factors = torch.arange(1.0, 6.0)
        (activation_on_grid(inputs, torch.tensor(-1.0), torch.tensor(2.0), 4) * factors).sum().backward()
        assert inputs.grad.tolist() == [0, 2, 3, 4, 0]

    def test_nothing_but_zeros_stays_zero(self):
        assert torch.equal(weight_on_grid(torch.zeros(2, 3), 2), torch.zeros(2, 3))
        assert torch.equal(activation_on_grid(torch.zeros(3), torch.zeros(()), torch.zeros(()), 2), torch.zeros(3))

    def test_numbers_of_sixteen_bits_are_rounded_in_float32(self):
        weight, inputs = torch.randn(4, 50).bfloat16(), torch.randn(50).bfloat16()
        low, high = torch.tensor(-3.0), torch.tensor(3.0)
        assert torch.equal(weight_on_grid(weight, 8), weight_on_grid(weight.float(), 8))
        assert torch.equal(activation_on_grid(inputs, low, high, 8), activation_on_grid(inputs.float(), low, high, 8))
        assert weight_on_grid(weight, 8).dtype == activation_on_grid(inputs, low, high, 8).dtype == torch.float32


class TestLayers:
    def test_paths_parameters_and_their_values_stay_as_they_are(self):
        before, after = tiny(), quantized()
        assert [path for path, _ in before.named_modules()] == [path for path, _ in after.named_modules()]
        assert {name: p.tolist() for name, p in before.named_parameters()} == {
            name: p.tolist() for name, p in after.named_parameters()
        }
        added = after.state_dict().keys() - before.state_dict().keys()
        assert added == {
            f"{path}.{name}"
            for path in ("first.0", "second.0", "head")
            for name in ("input_low", "input_high", "batches_seen")
        }

    def test_first_and_last_layers_have_bits_of_their_own(self):
        network = quantized(options(2, 3, 6))
        layers = [network.first[0], network.second[0], network.head]
        assert [(layer.weight_bits, layer.activation_bits) for layer in layers] == [(6, 6), (2, 3), (6, 6)]

    def test_a_convolution_computes_with_what_lies_on_the_grids(self):
        network = after_batches(quantized())
        layer = network.second[0]
        inputs = torch.rand(4, 4, 8, 8)
        (low, high), most = (layer.input_low.item(), layer.input_high.item()), 2**4 - 1
        scale = (high - low) / most
        rounded = quantize_dequantize(inputs.numpy(), scale, np.rint(-low / scale), 0, most)
        largest = layer.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True).numpy().astype(np.float64)
        weight = quantize_dequantize(layer.weight.detach().numpy(), largest / 3, 0, -3, 3)
        expected = functional.conv2d(
            torch.from_numpy(rounded), torch.from_numpy(weight), layer.bias.double(), stride=2, padding=1
        )
        torch.testing.assert_close(layer(inputs).double(), expected, atol=1e-5, rtol=0)

    def test_ranges_are_a_mean_at_first_and_an_exponential_moving_average_then(self):
        layer = with_fake_quantization(nn.Sequential(nn.Linear(3, 2)), options())[0].train()
        low = high = 0.0
        for count in range(1, 151):
            inputs = torch.randn(7, 3)
            layer(inputs)
            share = max(1 / count, MOMENTUM)
            low += share * (min(inputs.min().item(), 0) - low)
            high += share * (max(inputs.max().item(), 0) - high)
        assert layer.batches_seen == 150
        assert layer.input_low.item() == pytest.approx(low, rel=1e-4)
        assert layer.input_high.item() == pytest.approx(high, rel=1e-4)

    def test_a_range_holds_zero_whatever_the_inputs(self):
        layer = with_fake_quantization(nn.Sequential(nn.Linear(3, 2)), options())[0].train()
        layer(torch.full((2, 3), 5.0))
        assert (layer.input_low, layer.input_high) == (0, 5)

    def test_evaluation_moves_no_range(self):
        network = after_batches(quantized())
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network(100 * torch.rand(4, *SHAPE))
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_until_a_batch_was_seen_evaluation_is_in_full_precision(self):
        images = torch.rand(4, *SHAPE)
        network = quantized().eval()
        assert torch.equal(network(images), tiny().eval()(images))
        after_batches(network)
        rounded = network(images)
        forget_ranges(network)
        full = network(images)
        assert not torch.equal(full, rounded)
        assert torch.equal(network.train()(images), with_one_batch(network, images))

    def test_every_weight_learns(self):
        network = quantized().train()
        functional.cross_entropy(network(torch.rand(16, *SHAPE)), torch.arange(16) % 3).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())

    def test_under_autocast_the_operands_are_rounded_in_float32(self):
        seen = []

        class Watching(FakeQuantizedLinear):
            def compute(self, inputs, weight):
                seen.append((inputs, weight))
                return super().compute(inputs, weight)

        layer = with_fake_quantization(nn.Sequential(nn.Linear(16, 4)), options())[0].train()
        layer.__class__ = Watching
        inputs = torch.randn(8, 16)
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(inputs)
        assert output.dtype == torch.bfloat16, "the product itself is autocast's"
        ((rounded, weight),) = seen
        assert torch.equal(rounded, activation_on_grid(inputs, inputs.min(), inputs.max(), 8))
        assert torch.equal(weight, weight_on_grid(layer.weight, 8))
        output.float().sum().backward()
        assert layer.weight.grad.dtype == torch.float32

    def test_features_have_the_same_paths(self):
        network = quantized()
        with FeatureHooks(network, ("second", "second.0")) as hooks:
            network(torch.rand(2, *SHAPE))
        assert isinstance(network.second[0], FakeQuantizedConv2d)
        assert hooks.features["second.0"].shape == (2, 8, 4, 4)

    def test_a_subclass_with_a_forward_of_its_own_is_left_alone(self):
        class Shifted(nn.Linear):
            def forward(self, inputs):
                return super().forward(inputs) + 1

        network = with_fake_quantization(nn.Sequential(Shifted(3, 3), nn.Linear(3, 2)), options())
        assert type(network[0]) is Shifted
        assert is_quantized(network)

    def test_the_first_and_the_last_layer_are_those_that_it_calls_first_and_last(self):
        """Whatever their order in __init__; an unused layer is neither."""

        class HeadFirst(nn.Module):
            def __init__(self):
                super().__init__()
                self.head, self.middle = nn.Linear(8, 3), nn.Linear(8, 8)
                self.stem, self.unused = nn.Linear(64, 8), nn.Linear(8, 3)

            def forward(self, images):
                return self.head(self.middle(self.middle(self.stem(images.flatten(1)))))

        network = with_fake_quantization(HeadFirst(), options(3, 4, 8), torch.zeros(2, *SHAPE)).train()
        layers = {name: getattr(network, name) for name in ("stem", "middle", "head", "unused")}
        bits = {name: (layer.weight_bits, layer.activation_bits) for name, layer in layers.items()}
        assert bits == {"stem": (8, 8), "middle": (3, 4), "head": (8, 8), "unused": (3, 4)}
        assert not any(layer.batches_seen or layer._forward_pre_hooks for layer in layers.values())

    def test_where_there_is_nothing_to_quantize_it_is_told(self):
        with pytest.raises(InputError, match="nothing to quantize"):
            with_fake_quantization(nn.Sequential(nn.Flatten(), nn.ReLU()), options())


def with_one_batch(network: nn.Module, images):
    again = quantized().train()
    again.load_state_dict(network.state_dict())
    forget_ranges(again)
    return again(images)


TERMS = pytest.mark.parametrize(
    "term",
    [{"method": "kd", "temperature": 1}, {"method": "hint"}, {"method": "mutual"}],
    ids=lambda term: term["method"],
)


class TestTraining:
    def test_weights_keep_the_ranges(self, tmp_path):
        network = quantized()
        run_fit(tmp_path, network, Objective(), training(epochs=2))
        saved = load_file(tmp_path / fit.WEIGHTS)
        assert saved["first.0.batches_seen"] == 12
        assert saved["first.0.input_high"] > saved["first.0.input_low"]
        again = quantized(seed=9).eval()
        fit.load_weights(again, tmp_path)
        images = torch.rand(8, *SHAPE)
        assert torch.equal(again(images), network(images))

    def test_interrupted_and_resumed_ends_as_an_uninterrupted_training(self, tmp_path):
        how = training(epochs=4, keep="last")
        whole = quantized(dropout=0.2)
        run_fit(tmp_path / "whole", whole, Objective(), how)
        with pytest.raises(KeyboardInterrupt):
            run_fit(tmp_path / "cut", quantized(dropout=0.2), Objective(), how, progress=Stops(2))
        resumed = quantized(seed=77, dropout=0.2)
        run_fit(tmp_path / "cut", resumed, Objective(), how)
        assert same_weights(resumed.state_dict(), whole.state_dict())

    @TERMS
    def test_it_learns_by_any_term_from_a_teacher_in_full_precision(self, tmp_path, term):
        learner, teacher = quantized(options(3, 8)), tiny(1, width=8)
        before = [p.detach().clone() for p in learner.parameters()]
        run_fit(tmp_path, learner, objective_of(student(term), learner, teacher), training(epochs=1))
        assert is_quantized(learner)
        assert not is_quantized(teacher)
        assert all(not torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))


def test_the_grid_of_a_range_is_that_of_torchs_observer():
    """torch's own observer, for as long as torch has it, nudges and scales in the same way."""
    observers = pytest.importorskip("torch.ao.quantization.observer")
    observer = observers.MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
    inputs = torch.randn(1000)
    observer(inputs)
    scale, zero_point = activation_grid(inputs.min(), inputs.max(), 8)
    expected_scale, expected_zero_point = observer.calculate_qparams()
    assert scale.item() == pytest.approx(expected_scale.item(), rel=1e-6)
    assert zero_point.item() == expected_zero_point.item()
