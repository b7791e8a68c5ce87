"""timm's classifiers by name, without a download: any input and classes, their blocks, their options."""

import sys

import pytest
import torch

from kdbench import models
from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.models.feature_hooks import FeatureHooks, declared_stages

SHAPE = (13, 32, 32)


@pytest.fixture(autouse=True)
def needs_timm():
    pytest.importorskip("timm", reason="the extra timm is not installed")


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("test_resnet", ("layer1", "layer2", "layer3", "layer4")),
        ("test_vit", tuple(f"blocks.{index}" for index in range(6))),
        ("test_convnext", ("stages.0", "stages.1", "stages.2", "stages.3")),
    ],
)
def test_a_network_of_any_channels_size_and_classes(name, stages):
    network = models.build(f"timm/{name}", SHAPE, 5).eval()
    assert declared_stages(network) == stages
    with torch.no_grad(), FeatureHooks(network, stages) as hooks:
        assert network(torch.zeros(2, *SHAPE)).shape == (2, 5)
    assert list(hooks.features) == list(stages)


def test_options_are_timms():
    narrow = models.build("timm/test_resnet", SHAPE, 5, channels=[4, 4, 4, 4])
    assert narrow.layer1[0].conv1.out_channels == 4
    with pytest.raises(InputError, match="chanels"):
        models.build("timm/test_resnet", SHAPE, 5, chanels=[4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 0}, "built with num_heads: ZeroDivisionError"),
        ({"block_fn": "x", "depth": 1}, "built with block_fn, depth: TypeError"),
        ({"act_layer": "nope"}, "built with act_layer: KeyError: 'nope'"),
    ],
)
def test_wrong_values_of_options_are_the_users_error(options, message):
    with pytest.raises(InputError, match=message) as caught:
        models.build("timm/test_vit", SHAPE, 5, **options)
    assert "options are those of timm" in caught.value.hint


@pytest.mark.parametrize("name", ["test_vit_relpos", "gmlp_ti16_224"])
def test_images_that_are_too_small_are_refused(name):
    with pytest.raises(InputError, match=f"timm/{name} cannot take inputs of 3x7x7") as caught:
        models.build(f"timm/{name}", (3, 7, 7), 5)
    assert caught.value.hint == "give larger or other images"


@pytest.mark.parametrize("option", ["pretrained", "checkpoint_path"])
def test_weights_are_never_loaded_by_an_option(option):
    with pytest.raises(InputError, match=option) as caught:
        models.build("timm/test_resnet", SHAPE, 5, **{option: True})
    assert "weights = " in caught.value.hint


def test_an_unknown_name_has_a_suggestion():
    with pytest.raises(InputError, match="no model 'resnet19'") as caught:
        models.build("timm/resnet19", SHAPE, 5)
    assert "timm/resnet18" in caught.value.hint


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="not installed") as caught:
        models.build("timm/test_resnet", SHAPE, 5)
    assert install("timm") in caught.value.hint
