import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks
from kdbench.models.resnet import PadShortcut


def sizes(network, shape):
    with FeatureHooks(network.eval(), network.stages) as hooks:
        network(torch.zeros(1, *shape))
    return [tuple(feature.shape[1:]) for feature in hooks.features.values()]


def test_empty_stages_leave_out_their_stride_and_width():
    network = models.build("residual", (3, 32, 32), 10, blocks=[2, 2, 0, 0])
    assert sizes(network, (3, 32, 32)) == [(64, 32, 32), (128, 16, 16)]
    assert isinstance(network.head[-1], nn.Linear)
    assert network.head[-1].in_features == 128


def test_an_empty_stage_in_the_middle():
    network = models.build("residual", (3, 32, 32), 10, blocks=[1, 0, 1], width=0.5)
    assert sizes(network, (3, 32, 32)) == [(32, 32, 32), (128, 16, 16)]


@pytest.mark.parametrize(
    ("stem", "sizes_by_stride"),
    [("cifar", {None: 32, 1: 32, 2: 16, 4: 8}), ("imagenet", {None: 8, 1: 32, 2: 16, 4: 8})],
)
def test_the_stem_strides_as_asked(stem, sizes_by_stride):
    for stride, size in sizes_by_stride.items():
        network = models.build("residual", (3, 32, 32), 10, blocks=[1], stem=stem, stem_stride=stride)
        assert sizes(network, (3, 32, 32)) == [(64, size, size)]


def test_resnet50_computes_what_torchvisions_does():
    from torchvision.models import resnet50

    torch.manual_seed(0)
    ours = models.build("resnet50", (3, 64, 64), 10).eval()
    theirs = resnet50(weights=None, num_classes=10).eval()
    # Both register their parameters in the order of the forward, torchvision the shortcut last in its block.
    source, target = ours.state_dict(), theirs.state_dict()
    assert [tensor.shape for tensor in source.values()] == [tensor.shape for tensor in target.values()]
    theirs.load_state_dict(dict(zip(target, source.values(), strict=True)))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_option_a_skips_cells_and_pads_channels():
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4)
    y = PadShortcut(2, 4, 2)(x)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3]].any()


@pytest.mark.parametrize(("name", "hint"), [("resnet21", "resnet20"), ("resnet2", "resnet8"), ("wrn41-2", "wrn40-2")])
def test_a_depth_that_does_not_exist_is_answered_with_the_nearest(name, hint):
    with pytest.raises(InputError, match="layers") as caught:
        models.build(name, (3, 32, 32), 10)
    assert hint in caught.value.hint
