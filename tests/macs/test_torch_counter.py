"""Known answers of the four conventions, and that counting leaves no trace."""

import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.macs.torch_counter import count_module


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


@pytest.mark.parametrize(
    ("convention", "macs"),
    [
        ("canonical", 13_824 + 80),
        ("fvcore", 14_960),  # fvcore 0.1.5.post20221221
        ("thop", 16_024),  # thop 0.1.1-2209072238
        ("ptflops", 16_122),  # ptflops 0.7.5 with count_functional=False
    ],
)
def test_a_network_with_one_layer_of_each_kind(convention, macs):
    report = count_module(small_network(), (3, 8, 8), convention)
    assert report.macs == macs == sum(layer[2] for layer in report.by_layer)
    assert report.convention == convention


def test_layers_are_named_in_order():
    assert count_module(small_network(), (3, 8, 8)).by_layer == (("0", "conv", 13_824), ("7", "linear", 80))


@pytest.mark.parametrize(
    ("layer", "shape", "convention", "macs"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), (8, 8, 8), "canonical", 4_608),
        (nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False), (8, 8, 8), "canonical", 4_608),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), (8, 8, 8), "thop", 4_608),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (8, 8, 8), "canonical", 8_192),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (8, 8, 8), "fvcore", 8_192),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (8, 8, 8), "ptflops", 8_192 + 4 * 16 * 16),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (8, 8, 8), "thop", 32_768),  # thop's fault, kept
        (nn.Linear(8, 5), (3, 8), "canonical", 120),
        (nn.Linear(8, 5), (3, 8), "ptflops", 120 + 15),
        (nn.Conv1d(4, 6, 5, padding=2), (4, 10), "canonical", 1_200),
    ],
)
def test_single_layers(layer, shape, convention, macs):
    assert count_module(layer, shape, convention).macs == macs


# thop's figure × 128 images is 19 705.10 M. chenyaofo's table (README of pytorch-cifar-models) has 153.34,
# 40.81, 97.44 and 59.43 M MAdds; torchvision says 4.089 G, fvcore's own count is 4.112 G.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "convention", "macs"),
    [
        ("vgg11_bn", (3, 32, 32), 100, "canonical", 153_339_904),
        ("vgg11_bn", (3, 32, 32), 100, "thop", 153_946_112),
        ("resnet20", (3, 32, 32), 10, "canonical", 40_813_184),
        ("resnet44", (3, 32, 32), 100, "canonical", 97_442_048),
        ("mobilenetv2_x0_75", (3, 32, 32), 100, "canonical", 59_425_280),
        ("resnet50", (3, 224, 224), 1000, "canonical", 4_089_184_256),
        ("resnet50", (3, 224, 224), 1000, "fvcore", 4_111_512_576),
        # thop and ptflops themselves, run on these networks; ptflops with count_functional=False.
        ("mobilenetv2_x0_75", (3, 32, 32), 100, "thop", 65_128_704),
        ("vgg11_bn", (3, 32, 32), 100, "ptflops", 154_073_188),
        ("keras_teacher", (1, 28, 28), 10, "thop", 58_505_216),
        ("keras_teacher", (1, 28, 28), 10, "ptflops", 58_688_266),
    ],
)
def test_published_networks(name, shape, classes, convention, macs):
    report = count_module(models.build(name, shape, classes), shape, convention)
    assert report.macs == macs
    if convention == "canonical":
        assert report.uncounted == ()


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "shufflenet_v2_x1_0", "mnasnet0_5", "regnet_y_400mf", "squeezenet1_1", "vit_b_32"]
)
def test_torchvisions_published_counts(name):
    from torchvision.models import get_model_weights

    published = get_model_weights(name).DEFAULT.meta["_ops"]  # in units of 10⁹, three digits
    report = count_module(models.build(f"torchvision/{name}", (3, 224, 224), 1000), (3, 224, 224))
    assert round(report.macs / 1e9, 3) == published
    assert report.uncounted == ()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 5))

    def forward(self, x):
        return torch.nn.functional.relu(x @ self.weight) + 1


@pytest.mark.parametrize(
    ("convention", "macs"), [("canonical", 40), ("fvcore", 40), ("thop", 0), ("ptflops", 40 + 5 + 5)]
)
def test_functional_products_are_missed_by_thop_alone(convention, macs):
    report = count_module(Functional(), (8,), convention)
    assert report.macs == macs
    assert ("Functional" in report.uncounted) == (convention in {"thop", "ptflops"})


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: torch.einsum("bij,bkj->bik", x, x), 6 * 6 * 4),
        (lambda x: torch.einsum("bij,bkj,bkl->bil", x, x, x), 2 * 6 * 6 * 4),
        (lambda x: torch.einsum("...ij,...kj", x, x), 6 * 6 * 4),
        (lambda x: torch.bmm(x, x.transpose(1, 2)), 6 * 6 * 4),
        (lambda x: torch.matmul(x, torch.ones(4)), 6 * 4),
        (lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x), 2 * 6 * 6 * 4),
    ],
)
def test_products_by_function(function, macs):
    assert count_module(Call(function), (6, 4)).macs == macs


class First(nn.Module):
    """The first result of a layer that has several."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        result = self.layer(x)
        return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize(
    ("layer", "shape", "steps"),
    [
        (nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True), (5, 8), 5),
        (nn.LSTM(8, 16, proj_size=4, batch_first=True), (5, 8), 5),
        (nn.GRU(8, 16, batch_first=True), (5, 8), 5),
        (nn.RNN(8, 16, batch_first=True), (5, 8), 5),
        (nn.RNN(8, 16, nonlinearity="relu", batch_first=True), (5, 8), 5),
        (nn.LSTMCell(8, 16), (8,), 1),
        (nn.GRUCell(8, 16), (8,), 1),
    ],
)
def test_recurrent_layers_use_each_weight_once_a_step(layer, shape, steps):
    report = count_module(First(layer), shape)
    assert report.macs == steps * sum(weight.numel() for weight in layer.parameters() if weight.dim() == 2)
    assert report.uncounted == ()


class Deformed(nn.Module):
    def __init__(self):
        from torchvision.ops import DeformConv2d

        super().__init__()
        self.offsets = nn.Conv2d(4, 18, 1)
        self.layer = DeformConv2d(4, 6, 3, padding=1)

    def forward(self, x):
        return self.layer(x, self.offsets(x))


def test_a_deformed_convolution_counts_as_a_convolution():
    report = count_module(Deformed(), (4, 8, 8))
    assert (report.macs, report.uncounted) == (64 * 4 * 18 + 64 * 6 * 4 * 9, ())


class Biased(nn.Module):
    """A linear layer whose bias is computed from a table, as the position bias of Swin v2 is."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(8, 5), nn.Linear(8, 5)
        self.register_buffer("positions", torch.zeros(1, 8))

    def forward(self, x):
        return self.layer(x) + self.table(self.positions)


def test_what_is_computed_from_weights_alone_is_none_of_an_inferences():
    assert count_module(Biased(), (8,)).by_layer == (("layer", "linear", 40),)


def test_what_no_table_knows_is_listed():
    distances = count_module(Call(lambda x: torch.cdist(x, x)), (3, 3))
    assert (distances.macs, distances.uncounted) == (0, ("aten::cdist",))


def test_multi_head_attention_in_its_fused_form():
    layer = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(requires_grad=False)
    report = count_module(Call(lambda x: layer(x, x, x, need_weights=False)[0]), (5, 8))
    # Three projections and the output's: 4·5·8·8; Q·Kᵀ and weights·V: 2·5·5·8.
    assert report.macs == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


@pytest.mark.parametrize("convention", ["canonical", "fvcore", "thop", "ptflops"])
@pytest.mark.parametrize("shape", [(3, 8, 8), (4, 8, 8)])
def test_the_module_is_left_as_it_was_found(convention, shape):
    network = small_network().train()
    network[1].eval()
    modes = [module.training for module in network.modules()]
    network[0].register_forward_hook(lambda *_: None)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if shape[0] == 3:
        count_module(network, shape, convention)
    else:
        with pytest.raises(InputError, match="cannot take an input of 4x8x8"):
            count_module(network, shape, convention)
    assert [module.training for module in network.modules()] == modes
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_hooks_go_when_tracing_fails():
    layer = nn.Linear(2, 2)
    network = nn.Sequential(layer, Call(lambda x: {1: x}))  # the trace takes no dict with such keys
    with pytest.raises(RuntimeError):
        count_module(network, (2,))
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


class Named(nn.Module):
    """A convolution and functions whose inputs are given by name."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(3, 4, 3)

    def forward(self, x):
        shares = nn.functional.softmax(input=self.convolution(input=x).flatten(1), dim=1)
        return torch.matmul(other=torch.ones(56, 5), input=shares)


@pytest.mark.parametrize(
    ("convention", "macs"),
    [("canonical", 504 + 280), ("fvcore", 504 + 280), ("thop", 504), ("ptflops", 504 + 56 + 56 + 280)],
)
def test_inputs_may_be_given_by_name(convention, macs):
    """The convolution has 4 x 14 outputs of 3 x 3 products, its bias and the softmax 56 each, the product 56 x 5."""
    assert count_module(Named(), (3, 16), convention).macs == macs


@pytest.mark.parametrize("function", [lambda x: x.flatten(2), lambda x: {}[x.shape], lambda x: x.absent])
def test_whatever_a_network_raises_for_an_input_is_an_error_of_the_input(function):
    with pytest.raises(InputError, match="cannot take an input of 10: "):
        count_module(Call(function), (10,))


def test_an_unknown_convention_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown MACs convention") as caught:
        count_module(small_network(), (3, 8, 8), "ptflop")
    assert "'ptflops'" in caught.value.hint


class Packed(nn.Module):
    """Four steps of a sequence of six, packed."""

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4]), batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0])[0]


@pytest.mark.parametrize(
    ("recurrent", "macs"),
    [
        (nn.LSTM(8, 3, batch_first=True), 4 * 4 * 3 * (8 + 3)),
        (nn.LSTM(8, 3, batch_first=True, bidirectional=True), 2 * 4 * 4 * 3 * (8 + 3)),
        (nn.LSTM(8, 6, proj_size=2, batch_first=True), 4 * (4 * 6 * (8 + 2) + 6 * 2)),
        (nn.GRU(8, 3, batch_first=True), 4 * 3 * 3 * (8 + 3)),
    ],
)
@pytest.mark.filterwarnings("ignore:Converting")  # torch warns that the trace is for these lengths
def test_packed_sequences_count_their_own_steps(recurrent, macs):
    report = count_module(Packed(recurrent), (6, 8))
    assert (report.macs, report.uncounted) == (macs, ())


def test_a_chain_longer_than_pythons_stack():
    chain = nn.Sequential(*(nn.ReLU() for _ in range(1500)), nn.Linear(8, 8))
    assert count_module(chain, (8,)).macs == 64
