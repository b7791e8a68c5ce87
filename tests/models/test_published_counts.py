"""Parameter counts against published figures: the architectures are the ones their names promise."""

import pytest
import torch

from kdbench import models

# github.com/chenyaofo/pytorch-cifar-models, tables of the README: #Params. (M), by model and class count.
CHENYAOFO = [
    ("resnet20", 10, "0.27"),
    ("resnet32", 10, "0.47"),
    ("resnet44", 10, "0.66"),
    ("resnet56", 10, "0.86"),
    ("resnet20", 100, "0.28"),
    ("resnet44", 100, "0.67"),
    ("vgg11_bn", 10, "9.76"),
    ("vgg11_bn", 100, "9.80"),
    ("vgg13_bn", 100, "9.99"),
    ("vgg16_bn", 100, "15.30"),
    ("vgg19_bn", 100, "20.61"),
    ("mobilenetv2_x0_5", 100, "0.82"),
    ("mobilenetv2_x0_75", 100, "1.48"),
    ("mobilenetv2_x1_0", 100, "2.35"),
    ("mobilenetv2_x1_4", 100, "4.50"),
]
# He et al. 2016 (arXiv:1512.03385), table 6, with option A; Zagoruyko & Komodakis 2016 (arXiv:1605.07146), table 4.
PAPERS = [
    ("resnet20", {"shortcut": "pad"}, "0.27"),
    ("resnet32", {"shortcut": "pad"}, "0.46"),
    ("resnet44", {"shortcut": "pad"}, "0.66"),
    ("resnet56", {"shortcut": "pad"}, "0.85"),
    ("resnet110", {"shortcut": "pad"}, "1.7"),
    ("wrn40-1", {}, "0.6"),
    ("wrn40-2", {}, "2.2"),
    ("wrn16-8", {}, "11.0"),
    ("wrn28-10", {}, "36.5"),
]


def parameters(name, shape=(3, 32, 32), classes=10, **options):
    with torch.device("meta"):
        network = models.build(name, shape, classes, **options)
    return sum(parameter.numel() for parameter in network.parameters())


def millions(count, published):
    return f"{count / 1e6:.{len(published.partition('.')[2])}f}"


@pytest.mark.parametrize(("name", "classes", "published"), CHENYAOFO)
def test_cifar_zoo(name, classes, published):
    assert millions(parameters(name, classes=classes), published) == published


@pytest.mark.parametrize(("name", "options", "published"), PAPERS)
def test_papers(name, options, published):
    assert millions(parameters(name, **options), published) == published


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_imagenet_resnets_are_torchvisions(name):
    from torchvision.models import get_model_weights

    published = get_model_weights(name).DEFAULT.meta["num_params"]
    assert parameters(name, (3, 224, 224), 1000) == published


@pytest.mark.parametrize(
    ("name", "classes", "options", "exact"),
    [
        # Idelbayev's resnet20 (github.com/akamaster/pytorch_resnet_cifar10): 269 722 with option A.
        ("resnet20", 10, {"shortcut": "pad"}, 269_722),
        ("resnet20", 10, {}, 272_474),
        ("vgg11_bn", 100, {}, 9_802_596),
        # Four of these make the ensemble of sub-students: half of VGG-11's trunk and Linear 256→256→128.
        ("vgg11_bn", 128, {"width": 0.5, "head": [256]}, 2_407_680),
        # RepDistiller's vgg8, resnet8x4 and resnet32x4, counted from its own modules.
        ("vgg8_bn", 100, {"head": []}, 3_965_028),
        ("resnet8x4", 100, {}, 1_233_540),
        ("resnet32x4", 100, {}, 7_433_860),
        ("wrn28-10", 10, {}, 36_479_194),
        ("wrn40-2", 10, {}, 2_243_546),
    ],
)
def test_exact(name, classes, options, exact):
    assert parameters(name, classes=classes, **options) == exact


def test_spellings_of_a_wide_resnet():
    assert len({parameters(name) for name in ("wrn40-2", "wrn_40_2", "wrn-40-2", "wrn40_2")}) == 1


@pytest.mark.parametrize("size", [1, 8, 28, 32, 64, 224])
def test_vgg_takes_any_size_with_the_same_parameters(size):
    assert parameters("vgg11_bn", (3, size, size), 100) == 9_802_596
    network = models.build("vgg8_bn", (3, size, size), 10, width=0.125).eval()
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 10)


def test_vgg_hidden_layers_pass_the_signal_on():
    """He et al. 2015: a hidden layer keeps the mean square. The last layer, N(0, 0.01²), gives 512 · 0.01² · 1/2."""
    torch.manual_seed(0)
    head = models.build("vgg11_bn", (3, 32, 32), 100).eval().head
    logits = head(torch.relu(torch.randn(1024, 512)))
    assert logits.square().mean().item() == pytest.approx(0.0256, rel=0.25)
