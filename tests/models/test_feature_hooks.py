import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks, middle_stage


def hook_count(module):
    return sum(len(child._forward_hooks) for child in module.modules())


@pytest.fixture
def network():
    return models.build("convnet", (1, 8, 8), 10, widths=[4, 6, 8])


def test_features_are_what_the_layer_gave_last_with_its_graph(network):
    with FeatureHooks(network, ["blocks.0", "blocks.2"]) as hooks:
        network(torch.rand(2, 1, 8, 8))
        network(torch.rand(3, 1, 8, 8))
    assert {path: tuple(feature.shape) for path, feature in hooks.features.items()} == {
        "blocks.0": (3, 4, 8, 8),
        "blocks.2": (3, 8, 2, 2),
    }
    hooks.features["blocks.0"].sum().backward()
    assert network.blocks[0][0].weight.grad.any()


def test_hooks_go_even_when_the_forward_fails(network):
    hooks = FeatureHooks(network, network.stages)
    with pytest.raises(RuntimeError), hooks:
        network(torch.rand(1, 2, 8, 8))
    assert list(hooks.features) == []
    assert hook_count(network) == 0


def test_other_peoples_hooks_stay(network):
    network.blocks[0].register_forward_hook(lambda *_: None)
    with FeatureHooks(network, network.stages):
        pass
    assert hook_count(network) == 1


def test_an_unknown_path_is_answered_with_the_nearest(network):
    with pytest.raises(InputError, match=r"no layer 'block\.1'") as caught:
        FeatureHooks(network, ["block.1"])
    assert "'blocks.1'" in caught.value.hint


@pytest.mark.parametrize(("widths", "middle"), [([4], "blocks.0"), ([4, 4], "blocks.0"), ([4, 4, 4], "blocks.1")])
def test_the_middle_stage_is_the_lower_of_two(widths, middle):
    assert middle_stage(models.build("convnet", (1, 8, 8), 10, widths=widths)) == middle


def test_a_module_without_stages_has_no_middle():
    with pytest.raises(InputError, match="declares no stages"):
        middle_stage(nn.Linear(2, 2))


def test_stop_early_ends_the_block_and_no_other(network):
    images = torch.rand(2, 1, 8, 8)
    with FeatureHooks(network, ["blocks.2"]) as outer, FeatureHooks(network, ["blocks.0"], stop_early=True) as inner:
        network(images)
        pytest.fail("the forward went on")
    assert set(inner.features) == {"blocks.0"}
    assert outer.features == {}
    assert hook_count(network) == 0


def test_an_error_inside_is_not_swallowed(network):
    with pytest.raises(RuntimeError), FeatureHooks(network, ["blocks.2"], stop_early=True):
        network(torch.rand(2, 3, 8, 8))
    assert hook_count(network) == 0
