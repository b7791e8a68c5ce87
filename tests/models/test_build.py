"""Names, options and inputs: what is built, and what a user's mistake says."""

import pytest
import torch

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.memory_limit import within_memory

FAMILIES = [
    ("784-32-7", {}, (1, 28, 28)),
    ("dense", {"hidden": [32]}, (1, 8, 8)),
    ("keras_teacher", {}, (1, 28, 28)),
    ("keras_student", {}, (3, 9, 7)),
    ("lenet5", {}, (1, 28, 28)),
    ("convnet", {"widths": [8, 16]}, (1, 8, 8)),
    ("vgg8_bn", {"width": 0.25}, (1, 28, 28)),
    ("resnet8", {"shortcut": "pad"}, (3, 15, 15)),
    ("resnet18", {}, (1, 28, 28)),
    ("residual", {"blocks": [1, 1, 0, 0], "stem_stride": 4}, (3, 32, 32)),
    ("wrn16-1", {}, (3, 32, 32)),
    ("mobilenetv2", {"width": 0.35}, (1, 28, 28)),
    ("mobilenet_v3_small", {}, (1, 32, 32)),
]


@pytest.mark.parametrize(("name", "options", "shape"), FAMILIES)
def test_maps_a_batch_to_finite_logits_and_names_existing_stages(name, options, shape):
    torch.manual_seed(0)
    network = models.build(name, shape, 7, **options)
    assert network.training
    logits = network.eval()(torch.rand(2, *shape))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    assert network.stages
    assert all(network.get_submodule(stage) for stage in network.stages)


@pytest.mark.parametrize(("name", "options", "shape"), FAMILIES)
def test_every_parameter_gets_a_gradient(name, options, shape):
    torch.manual_seed(0)
    network = models.build(name, shape, 7, **options)
    network(torch.rand(4, *shape)).square().sum().backward()
    assert [path for path, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [
        ("vgg12_bn", "vgg11_bn"),
        ("vgg_11bn", "vgg11_bn"),
        ("resnet_20", "resnet20"),
        ("wrn40_2x", "wrn40-2"),
        ("mobilenetv2_0_75", "mobilenetv2_x0_75"),
        ("keras_techer", "keras_teacher"),
        ("torchvision/resnet5", "torchvision/resnet50"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(misspelt, nearest):
    with pytest.raises(InputError) as caught:
        models.build(misspelt, (3, 32, 32), 10)
    assert repr(nearest) in caught.value.hint


def test_a_misspelt_option_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown option 'widht'") as caught:
        models.build("vgg11_bn", (3, 32, 32), 10, widht=0.5)
    assert "'width'" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "options", "complaint", "hint"),
    [
        ("vgg11_bn", {"width": -1}, "option 'width'", "its options: width, head, dropout"),
        ("vgg11_bn", {"width": "wide"}, "option 'width'", "its options: width, head, dropout"),
        ("vgg11_bn", {"dropout": 1.0}, "option 'dropout'", "its options: width, head, dropout"),
        ("vgg11_bn", {"classes": 10}, "unknown option 'classes'", "known here: width, head, dropout"),
        ("resnet20", {"shortcut": "none"}, "option 'shortcut'", "its options: shortcut"),
        ("mobilenetv2_x0_75", {"width": 0.5}, "unknown option 'width'", "known here: dropout"),
        ("convnet", {"widths": []}, "option 'widths'", "its options: widths, strides"),
        ("convnet", {"widths": [8, 8], "strides": [1]}, "2 widths but 1 strides", "one stride per width"),
        ("residual", {"stem_stride": 3}, "option 'stem_stride'", "its options: block, blocks, stem"),
        ("residual", {"blocks": [0, 0]}, "every stage is empty", "at least one stage a block"),
        ("residual", {"blocks": [1, -1]}, "option 'blocks", "its options: block, blocks, stem"),
    ],
)
def test_a_bad_option_is_named(name, options, complaint, hint):
    with pytest.raises(InputError, match=complaint) as caught:
        models.build(name, (3, 32, 32), 10, **options)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("shape", "classes"), [((0, 32, 32), 10), ((3, -1, 32), 10), ((3, 32, 32), 0)])
def test_an_impossible_shape_is_refused(shape, classes):
    with pytest.raises(InputError, match=r"input shape|classes"):
        models.build("resnet8", shape, classes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dense", {"hidden": [10_000_000]}),
        ("dense", {"hidden": [8] * 100_000}),
        ("64-10000000-10", {}),
        (f"64-{'9' * 5000}-10", {}),
        ("vgg8_bn", {"width": 1e7}),
        ("convnet", {"widths": [8], "strides": [10**7]}),
        ("gru", {"layers": 10**7}),
        ("fused", {"count": 10**7}),
    ],
)
def test_impossible_sizes_are_refused(name, options):
    with pytest.raises(InputError, match=r"less than or equal|at most|above 65,536"):
        models.build(name, (1, 8, 8) if name != "gru" else (4, 8), 10, **options)


def test_a_network_larger_than_the_memory_is_refused_before_its_weights_are_written():
    # 64·w + w + 10·w + 10 weights of 4 bytes, four times: the limit lies at the last layer's.
    memory = 4 * 4 * (65 * 100 + 10 * 100 + 10)
    with within_memory("it", memory):
        models.build("dense", (1, 8, 8), 10, hidden=[100])
    with torch.device("meta"), pytest.raises(InputError, match=r"it has 0\.0 GB"), within_memory("it", memory - 1):
        models.build("dense", (1, 8, 8), 10, hidden=[100])
    with torch.device("meta"), pytest.raises(InputError, match=r"model 'dense' has [\d.]+ GB of weights"):
        models.build("dense", (1, 8, 8), 10, hidden=[65_536] * 1000)
