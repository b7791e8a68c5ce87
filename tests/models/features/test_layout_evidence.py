"""Layouts of layers whose shapes alone leave them open."""

import pytest
import torch
from models.features.probed import layout
from torch import Tensor, nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.features.layout_evidence import layouts_of
from kdbench.models.features.layouts import Layout

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
    with pytest.raises(InputError, match=r"'block' of Fixed returns \(8, 8, 8\): it is unclear which axis") as caught:
        layout(Fixed(last=True), "block")
    assert 'student_layout = "NCHW" or "NHWC"' in caught.value.hint
    assert layout(Fixed(last=True), "block", stated="NHWC") == Layout(channel_axis=3)
    with pytest.raises(InputError, match="student_layout is 'NLC'"):
        layout(Fixed(last=True), "block", stated="NLC")


class Windows(nn.Module):
    """A layer on windows of its images, which are as if they were samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        windows = images.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 16)
        return self.inner(windows).reshape(len(images), 4, -1).mean(dim=1)[:, :3]


def test_an_output_that_is_not_one_of_each_sample_is_refused():
    with pytest.raises(InputError, match=r"returns \(12, 3, 4\) for 3 samples, not one feature for each"):
        layout(Windows(), "inner")


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
