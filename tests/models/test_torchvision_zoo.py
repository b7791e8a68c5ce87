import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks, middle_stage


def test_mobilenet_v3_small_is_torchvisions():
    from torchvision.models import MobileNet_V3_Small_Weights

    network = models.build("mobilenet_v3_small", (3, 224, 224), 1000)
    published = MobileNet_V3_Small_Weights.DEFAULT.meta["num_params"]
    assert sum(parameter.numel() for parameter in network.parameters()) == published
    assert len(network.stages) == 13


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ("layer1", "layer2", "layer3", "layer4")),
        ("squeezenet1_1", tuple(f"features.{i}" for i in (3, 4, 6, 7, 9, 10, 11, 12))),
        ("alexnet", ("features.2", "features.5", "features.12")),
        ("regnet_y_400mf", tuple(f"trunk_output.block{i}" for i in (1, 2, 3, 4))),
    ],
)
def test_stages_are_the_blocks_that_give_feature_maps(name, stages):
    network = models.build(f"torchvision/{name}", (3, 64, 64), 10)
    assert network.stages == stages
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_auxiliary_heads_are_left_out():
    network = models.build("torchvision/googlenet", (3, 32, 32), 10)
    assert isinstance(network(torch.rand(2, 3, 32, 32)), torch.Tensor)


def test_other_channel_counts_get_a_first_convolution_of_their_own():
    network = models.build("torchvision/resnet18", (1, 32, 32), 10).eval()
    assert isinstance(network.conv1, nn.Conv2d)
    assert network.conv1.in_channels == 1
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 10)


def test_a_vision_transformer_fits_the_image_and_its_stages_give_tokens():
    network = models.build("torchvision/vit_b_32", (3, 64, 64), 10).eval()
    assert network.stages == tuple(f"encoder.layers.encoder_layer_{number}" for number in range(12))
    with torch.no_grad(), FeatureHooks(network, [middle_stage(network)]) as hooks:
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    assert hooks.features["encoder.layers.encoder_layer_5"].shape == (1, 1 + 4, 768)


@pytest.mark.parametrize(("name", "shape"), [("inception_v3", (3, 32, 32)), ("vit_b_16", (3, 30, 30))])
def test_an_image_it_cannot_take_is_refused(name, shape):
    with pytest.raises(InputError, match="cannot take inputs of"):
        models.build(f"torchvision/{name}", shape, 10)
