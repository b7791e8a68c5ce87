"""The layouts of layers of networks whose forms are known, with shapes from which nothing could be guessed."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.features.layout_evidence import layouts_of
from kdbench.models.features.layouts import Layout, as_map

SWIN = {"patch_size": [2, 2], "embed_dim": 4, "depths": [1, 1], "num_heads": [1, 1], "window_size": [2, 2]}


def swin(**options) -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer(**{**SWIN, "num_classes": 3, **options})


def swin_v2() -> nn.Module:
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    return swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2)


def vit(**options) -> nn.Module:
    from torchvision.models import VisionTransformer

    sizes = {"image_size": 8, "patch_size": 2, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 8}
    return VisionTransformer(**{**sizes, "num_classes": 3, **options})


IMAGES = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)


def layout(network, layer, example=IMAGES, stated=None):
    return layouts_of(network, [layer], example, stated)[layer]


# Every map of the first stage is (B, 4, 4, 4).
@pytest.mark.parametrize(
    ("build", "layer", "axis"),
    [
        (swin, "features.0.0", 1),  # the convolution
        (swin, "features.0", 3),
        (swin, "features.1", 3),
        (swin, "features.1.0", 3),
        (swin, "features.2", 3),
        (swin, "features.3", 3),
        (swin, "permute", 1),
        (swin_v2, "features.1", 3),
        (swin_v2, "features.3", 3),
    ],
)
def test_stages_of_swin_transformers_have_channels_last(build, layer, axis):
    torch.manual_seed(0)
    assert layout(build(), layer) == Layout(channel_axis=axis)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("layer", ["encoder", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.mlp"])
def test_tokens_of_a_vision_transformer_are_a_class_token_and_a_grid(layer):
    """(B, 17, 16): one more than the cells of the image, which are as many as there are channels."""
    result = layout(vit(), layer)
    assert result == Layout(channel_axis=2, before=1, grid=(4, 4))


def test_attention_gives_a_tuple_of_which_the_first_counts():
    result = layout(vit(), "encoder.layers.encoder_layer_0.self_attention")
    assert result == Layout(channel_axis=2, before=1, grid=(4, 4), first_of_several=True)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/convnext_tiny", "resnet8", "wrn16-1"])
def test_convolutional_networks_give_maps(name):
    network = models.build(name, (3, 32, 32), 3)
    layouts = layouts_of(network, network.stages, torch.randn(2, 3, 32, 32))
    assert set(layouts.values()) == {Layout(channel_axis=1)}


class Functional(nn.Module):
    """A network without layers of torch, in one layout or the other, for images of any size."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.block, self.head = Block(last=last), nn.Parameter(torch.randn(8, 3))

    def forward(self, images: Tensor) -> Tensor:
        features = self.block(images)
        return features.mean(dim=(1, 2) if self.block.last else (2, 3)) @ self.head


class Block(nn.Module):
    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last, self.weight = last, nn.Parameter(torch.randn(8, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.conv2d(images, self.weight)
        return maps.permute(0, 2, 3, 1) if self.last else maps


@pytest.mark.parametrize("last", [True, False])
def test_the_axis_that_larger_images_leave_alone_has_the_channels(last):
    assert layout(Functional(last=last), "block") == Layout(channel_axis=3 if last else 1)


class Fixed(Functional):
    """As `Functional`, for images of one size."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.view(-1, 3, 8, 8))


def test_what_cannot_be_known_is_refused_and_can_be_stated():
    with pytest.raises(InputError, match=r"'block' of Fixed gives \(8, 8, 8\): it is unclear which axis") as caught:
        layout(Fixed(last=True), "block")
    assert 'student_layout = "NCHW" or "NHWC"' in caught.value.hint
    assert layout(Fixed(last=True), "block", stated="NHWC") == Layout(channel_axis=3)
    with pytest.raises(InputError, match="student_layout is 'NLC'"):
        layout(Fixed(last=True), "block", stated="NLC")


SEQUENCES = torch.randn(2, 6, 6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv1d(6, 6, 3, padding=1), Layout(channel_axis=1, in_order=True)),
        (nn.Sequential(nn.Conv1d(6, 6, 1), nn.BatchNorm1d(6), nn.ReLU()), Layout(channel_axis=1, in_order=True)),
        (nn.LSTM(6, 6, batch_first=True), Layout(channel_axis=2, in_order=True, first_of_several=True)),
        (nn.GRU(6, 6), Layout(channel_axis=2, batch_axis=1, in_order=True, first_of_several=True)),
        (nn.TransformerEncoderLayer(6, 2, 6, batch_first=True), Layout(channel_axis=2, in_order=True)),
        (nn.Linear(6, 6), Layout(channel_axis=2, in_order=True)),
    ],
)
def test_layers_of_sequences_have_channels_where_their_kind_has_them(layer, expected):
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor) -> Tensor:
            steps_first = isinstance(self.layer, nn.GRU)
            output = self.layer(inputs.transpose(0, 1) if steps_first else inputs)
            output = output[0] if isinstance(output, tuple) else output
            return output.sum(dim=0 if steps_first else 1)[:, :3]

    result = layout(Network(), "layer", SEQUENCES)
    assert result == expected
    output = layer(SEQUENCES.transpose(0, 1) if result.batch_axis else SEQUENCES)
    assert result.canonical(output).shape == (2, 6, 6)


class Steps(nn.Module):
    """Embeds the steps of a sequence, and passes them through layers, reordered or with a token more on the way."""

    def __init__(self, first=None, then=None, end=None, *, ids=True):
        super().__init__()
        self.embed = nn.Embedding(20, 8) if ids else nn.Linear(5, 8)
        self.mix = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True, dropout=0.0)
        self.last, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.orders = [order or (lambda tokens: tokens) for order in (first, then, end)]

    def forward(self, inputs):
        first, then, end = self.orders
        tokens = end(self.mix(then(self.embed(first(inputs)))))
        return self.head(self.last(tokens)[0].mean(dim=1))


def backwards(tokens):
    return tokens.flip(1)


def in_pairs(tokens):
    return tokens[:, [1, 0, 3, 2, 5, 4]]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(
    ("orders", "layer", "reordered"),
    [
        ({}, "last", False),
        ({"first": backwards}, "embed", True),
        ({"first": backwards}, "last", True),
        ({"then": in_pairs}, "embed", False),
        ({"then": in_pairs}, "mix", True),
        ({"then": in_pairs, "end": in_pairs}, "last", False),
        ({"first": backwards, "end": backwards}, "last", False),
        ({"end": backwards}, "mix", False),
        ({"end": backwards}, "last", True),
    ],
)
def test_steps_of_a_sequence_in_another_order_are_known(orders, layer, reordered, ids):
    torch.manual_seed(0)
    inputs = torch.randint(20, (2, 6)) if ids else torch.randn(2, 6, 5)
    result = layout(Steps(**orders, ids=ids).eval(), layer, inputs)
    assert (result.in_order, result.reordered) == (not reordered, reordered)
    assert layout(Steps(**orders, ids=ids).eval(), layer, inputs, stated="NLC").in_order


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_class_tokens_of_sequences_are_left_out(ids, last):
    def with_token(tokens):
        token = network.token.expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens, token] if last else [token, tokens], dim=1)

    torch.manual_seed(0)
    network = Steps(then=with_token, ids=ids).eval()
    result = layout(network, "mix", torch.randint(20, (2, 6)) if ids else torch.randn(2, 6, 5))
    assert (result.before, result.after, result.in_order) == (int(not last), int(last), True)


class Pooling(nn.Module):
    """Two stages of tokens with a class token, as PiT: the second one's cells are a convolution of the first one's."""

    def __init__(self, *, mixed=False):
        super().__init__()
        layer = partial(nn.TransformerEncoderLayer, 8, 2, 8, batch_first=True, dropout=0.0)
        self.embed, self.first, self.second = nn.Conv2d(3, 8, 2, 2), layer(), layer()
        self.pool, self.token = nn.Conv2d(8, 8, 2, 2), nn.Parameter(torch.randn(1, 1, 8))
        self.head, self.mixed = nn.Linear(8, 3), mixed

    def forward(self, images):
        cells = self.embed(images)
        tokens = self.first(torch.cat([self.token.expand(len(images), -1, -1), cells.flatten(2).mT], dim=1))
        cells = self.pool(tokens[:, 1:].mT.reshape(cells.shape)).flatten(2).mT
        tokens = torch.cat([tokens[:, :1], cells], dim=1)
        return self.head(self.second(tokens + tokens.mean(dim=1, keepdim=True) if self.mixed else tokens)[:, 0])


def test_a_class_token_of_an_earlier_stage_is_left_out_beside_its_map():
    """By then it depends on the sample, so that its values do not tell."""
    assert layout(Pooling().eval(), "second") == Layout(channel_axis=2, before=1, grid=(2, 2))
    assert layout(Pooling().eval(), "second", stated="class_token").class_token


def test_tokens_among_which_may_be_a_class_token_are_refused():
    with pytest.raises(InputError, match="its tokens may include class tokens of an earlier layer") as caught:
        layout(Pooling(mixed=True).eval(), "second")
    assert 'student_layout = "NLC"' in caught.value.hint
    assert layout(Pooling(mixed=True).eval(), "second", stated="NLC").before == 0
    assert layout(Pooling(mixed=True).eval(), "first").before == 1


class Windows(nn.Module):
    """A layer on windows of its images, which are as if they were samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        windows = images.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 16)
        return self.inner(windows).reshape(len(images), 4, -1).mean(dim=1)[:, :3]


def test_an_output_that_is_not_one_of_each_sample_is_refused():
    with pytest.raises(InputError, match=r"gives \(12, 3, 4\) for 3 samples, not one feature for each"):
        layout(Windows(), "inner")


class Patchwork(nn.Module):
    """Tokens of an image in an order, with class tokens at the end."""

    def __init__(self, order: list[int], classes: int) -> None:
        super().__init__()
        self.order, self.patches = order, nn.Conv2d(3, 6, 2, 2)
        self.classes, self.norm = nn.Parameter(torch.randn(1, classes, 6)), nn.LayerNorm(6)
        self.mix = nn.TransformerEncoderLayer(6, 2, 6, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)[:, self.order]
        tokens = self.norm(torch.cat([tokens, self.classes.expand(len(images), -1, -1)], dim=1))
        return self.mix(tokens).mean(dim=1)[:, :3]


def test_class_tokens_may_come_last_and_cells_in_an_order_that_is_no_map():
    rows = list(range(16))
    assert layout(Patchwork(rows, 2), "mix") == Layout(channel_axis=2, after=2, grid=(4, 4))
    assert layout(Patchwork(rows, 0), "mix") == Layout(channel_axis=2, grid=(4, 4))
    columns = [4 * (place % 4) + place // 4 for place in rows]
    assert layout(Patchwork(columns, 1), "mix") == Layout(channel_axis=2, after=1)


class Unrolled(nn.Module):
    """Cells of an image, row by row until blocks take them in another order, as in Hiera (Ryali et al. 2023)."""

    def __init__(self, order: list[int], *, restores: bool) -> None:
        super().__init__()
        self.order, self.back = order, [order.index(place) for place in range(16)] if restores else list(range(16))
        self.patches, self.embed, self.places = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 6), torch.randn(1, 16, 6)
        self.mix, self.norm = nn.TransformerEncoderLayer(6, 2, 6, batch_first=True), nn.LayerNorm(6)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(self.patches(images).flatten(2).transpose(1, 2)) + self.places
        return self.norm(self.mix(tokens[:, self.order])[:, self.back]).mean(dim=1)[:, :3]


ROWS = list(range(16))
WINDOWS = [8 * (place // 8) + 4 * (place // 2 % 2) + 2 * (place // 4 % 2) + place % 2 for place in ROWS]
SNAKE = [4 * (place // 4) + (3 - place % 4 if place // 4 == 1 else place % 4) for place in ROWS]


@pytest.mark.parametrize("order", [WINDOWS, SNAKE, ROWS[::-1]])
def test_cells_that_a_network_reorders_on_the_way_are_no_map_until_they_are_back(order):
    network = Unrolled(order, restores=True)
    assert layout(network, "embed") == Layout(channel_axis=2, grid=(4, 4))
    assert layout(network, "mix") == Layout(channel_axis=2)
    assert layout(network, "norm") == Layout(channel_axis=2, grid=(4, 4))
    assert layout(Unrolled(order, restores=False), "norm") == Layout(channel_axis=2)
    assert layout(Unrolled(ROWS, restores=False), "norm") == Layout(channel_axis=2, grid=(4, 4))


class Mixer(nn.Module):
    """As an MLP-mixer (Tolstikhin et al. 2021): one layer mixes the places of each channel, another the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6)
        self.places, self.channels = nn.Sequential(nn.Linear(16, 16), nn.GELU()), nn.Linear(6, 6)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = tokens + self.places(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        return self.channels(self.norm(tokens)).mean(dim=1)[:, :3]


def test_a_linear_layer_may_work_on_places():
    torch.manual_seed(0)
    network = Mixer()
    assert layout(network, "places") == Layout(channel_axis=1, grid=(4, 4))
    assert layout(network, "channels") == Layout(channel_axis=2, grid=(4, 4))


def test_the_network_is_left_as_it_was():
    network = vit(dropout=0.3).train()
    network.encoder.ln.eval()
    before, chance = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    modes = [module.training for module in network.modules()]
    layout(network, "encoder")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_canonical_forms():
    maps, tokens = torch.randn(2, 5, 7, 3), torch.randn(2, 1 + 6, 4)
    assert torch.equal(Layout(channel_axis=3).canonical(maps), maps.permute(0, 3, 1, 2))
    assert Layout(channel_axis=1).canonical(maps) is maps
    cells = Layout(channel_axis=2, before=1, grid=(2, 3))
    assert torch.equal(cells.canonical(tokens), tokens[:, 1:])
    assert torch.equal(as_map(cells.canonical(tokens), cells)[:, :, 1, 2], tokens[:, 6])
    assert torch.equal(Layout(channel_axis=2, before=1, class_token=True).canonical(tokens), tokens[:, 0])
    assert torch.equal(Layout(channel_axis=1).canonical(tokens), tokens.transpose(1, 2))
    assert torch.equal(Layout(channel_axis=2, batch_axis=1).canonical(tokens), tokens.transpose(0, 1))
    volumes = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(Layout(channel_axis=4).canonical(volumes), volumes.permute(0, 4, 1, 2, 3))


class Keyword(nn.Module):
    """A network whose blocks are called by keyword and give a tuple of one tensor, as those of language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block, self.head = nn.Conv2d(3, 4, 2, 2), KeywordBlock(), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        (tokens,) = self.block(hidden=tokens)
        return self.head(tokens.mean(dim=1))


class KeywordBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor]:
        return (self.norm(hidden + self.linear(hidden)),)


def test_a_tuple_of_one_tensor_is_that_tensor():
    expected = Layout(channel_axis=2, grid=(4, 4), first_of_several=True)
    assert layout(Keyword(), "block") == expected
