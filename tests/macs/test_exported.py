"""One count for a network in all its forms: as a module, as a graph, as onnxruntime optimises it, quantized."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn
from torchvision import models as zoo
from torchvision.models import EfficientNet, MobileNetV3, ResNet
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.resnet import Bottleneck
from torchvision.models.swin_transformer import SwinTransformerBlock, SwinTransformerBlockV2

from kdbench import models
from kdbench.export.onnx import export_onnx
from kdbench.macs.onnx_counter import count_node, count_onnx
from kdbench.macs.onnx_graph import Operation, computed, load_graph
from kdbench.macs.onnx_origin import origins
from kdbench.macs.onnx_shapes import infer
from kdbench.macs.torch_counter import count_module
from kdbench.models import mobilenet

# A count is made node by node, so a network that only repeats or widens the blocks of another one proves nothing more.
# Each entry is one way of building, at its smallest: name, options, input shape, and the registered names that it
# represents.
_ZOO: tuple[tuple[str, dict[str, Any], tuple[int, int, int], str], ...] = (
    ("convnet", {}, (3, 32, 32), "convnet"),
    ("lenet5", {}, (1, 28, 28), "lenet5"),
    ("784-30-10", {}, (1, 28, 28), "dense linear"),  # `dense` and `linear` build the same layers, or one of them
    ("fused", {}, (3, 32, 32), "fused"),
    ("keras_student", {}, (1, 28, 28), "keras_student keras_teacher"),  # the teacher has more channels
    ("torchvision/mobilenet_v3_small", {}, (3, 64, 64), "mobilenet_v3_small"),
    (
        "mobilenetv2_x0_5",  # the others differ in width; of the table of stages it has the two kinds
        {},
        (3, 32, 32),
        "mobilenetv2 mobilenetv2_x0_5 mobilenetv2_x1_0 mobilenetv2_x1_4",
    ),
    (
        "resnet8",  # basic blocks behind a 3×3 stem; the others differ in depth, x4 in width
        {},
        (3, 32, 32),
        "resnet8 resnet14 resnet32 resnet44 resnet56 resnet110 resnet32x4",
    ),
    (
        "residual basic",  # builds the two ResNets of basic blocks behind a 7×7 stem
        {"block": "basic", "blocks": (1, 2), "stem": "imagenet"},
        (3, 32, 32),
        "resnet18 resnet34",
    ),
    (
        "residual bottleneck",  # builds the three ResNets of bottlenecks, which differ in blocks per stage
        {"block": "bottleneck", "blocks": (2,), "stem": "imagenet"},
        (3, 32, 32),
        "residual resnet50 resnet101 resnet152",
    ),
    ("vgg8_bn", {}, (3, 32, 32), "vgg8_bn vgg11_bn vgg13_bn vgg16_bn vgg19_bn"),  # they differ in depth
    ("wrn10-1", {}, (3, 32, 32), "wrn16-1 wrn16-2 wrn28-10 wrn40-1"),  # they differ in depth and width
)


def _shallow_resnext() -> nn.Module:
    network = ResNet(Bottleneck, [1, 2, 1, 1], 10, groups=32, width_per_group=4)
    network.layer3 = network.layer4 = nn.Identity()
    network.fc = nn.Linear(512, 10)
    return network


def _shallow_googlenet() -> nn.Module:
    network = models.build("torchvision/googlenet", _IMAGE, 10)
    for name, _ in list(network.named_children()):  # the first of its inception blocks stays, between the poolings
        if name.startswith("inception") and name != "inception3a":
            setattr(network, name, nn.Identity())
    network.fc = nn.Linear(256, 10)
    return network


def _shallow_mobilenet() -> nn.Module:
    kinds = [(16, 3, 16, 24, True, "RE", 2), (24, 5, 96, 24, True, "HS", 1)]
    return MobileNetV3([InvertedResidualConfig(*kind, 1, 1.0) for kind in kinds], 64, 10)


def _shallow_shufflenet() -> nn.Module:
    network = zoo.ShuffleNetV2([2, 1, 1], [24, 48, 48, 48, 64], 10)
    network.stage3 = network.stage4 = nn.Identity()
    return network


def _swin() -> nn.Module:
    """A block of the first Swin, which shifts its windows, and behind a merging of patches one of the second Swin."""

    def block(width: int, *arguments: Any, **options: Any) -> nn.Module:
        if width == 8:
            return SwinTransformerBlock(width, *arguments, **options | {"shift_size": [2, 2]})
        return SwinTransformerBlockV2(width, *arguments, **options)

    return zoo.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4], num_classes=10, block=block)


# torchvision's classics, one of each way of building: attention, windows, grouped and depthwise convolutions, channel
# shuffles, dense blocks, squeeze-and-excitation. MNASNet, RegNet and SqueezeNet combine these. torchvision's classes
# make them with fewer blocks, but with each kind of block that the full one has. Images are small, because cells only
# scale a count.
_IMAGE = (3, 64, 64)
_INVERTED = ((1, 3, 1, 32, 16, 1), (6, 5, 1, 16, 16, 1))
_CLASSICS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "mobilenet_v3_small": (_shallow_mobilenet, _IMAGE),
    "resnext50_32x4d": (_shallow_resnext, _IMAGE),
    "efficientnet_b0": (lambda: EfficientNet([MBConvConfig(*kind) for kind in _INVERTED], 0.2, num_classes=10), _IMAGE),
    "shufflenet_v2_x0_5": (_shallow_shufflenet, _IMAGE),
    "densenet121": (lambda: zoo.DenseNet(32, (2, 1), 64, num_classes=10), _IMAGE),
    "googlenet": (_shallow_googlenet, _IMAGE),
    "convnext_tiny": (
        lambda: zoo.ConvNeXt([CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)], num_classes=10),
        _IMAGE,
    ),
    "vit_b_16": (lambda: zoo.VisionTransformer(32, 16, 1, 2, 32, 64, num_classes=10), (3, 32, 32)),
    "swin": (_swin, (3, 32, 32)),
}


def zoo_network(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return the registered network `name`, or torchvision's after the slash, and its input shape."""
    if name.startswith("torchvision/"):
        make, shape = _CLASSICS[name.removeprefix("torchvision/")]
        return make().eval(), shape
    options, shape = next((options, shape) for entry, options, shape, _ in _ZOO if entry == name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet, "STAGES", ((1, 16, 1, 1), (6, 24, 2, 2)))
        return models.build(name.partition(" ")[0], shape, 10, **options).eval(), shape


def optimised(path: Path, level: str, saved: Path) -> Path:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(saved)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # it warns that the graph is made for this machine
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return saved


def quantized(path: Path, shape: tuple[int, ...], saved: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"input": np.random.default_rng(0).random((1, *shape), np.float32)}])

        def get_next(self):
            return next(self.left, None)

    quantize_static(path, saved, Samples(), quant_format=QuantFormat.QDQ, per_channel=True)
    return saved


def kdbench_macs(path: Path) -> dict[str, int]:
    """Return the MACs of each node of a file by its own shapes, by the node's name."""
    model = load_graph(path)
    known, batch = infer(model, None)
    return {
        node.name: macs // batch
        for node in computed(model.graph)
        if (macs := count_node(model, Operation(node, known)).macs)
    }


def traced(path: Path, fused: Path, shape: tuple[int, ...]) -> dict[str, int]:
    """Return the MACs of each node of the file `fused` by the layers of `path` that it is traced to."""
    result = origins(path, fused, shape)
    assert [origin.reason for origin in result.values() if origin.macs is None] == []
    return {name: origin.macs for name, origin in result.items() if origin.macs}


def test_every_registered_network_has_a_representative():
    represented = [name for *_, names in _ZOO for name in names.split()]
    represented += ["gru", "lstm"]  # tests/models/test_recurrent.py counts them in the module and in the file
    assert sorted(represented) == sorted(name for name, _ in models.MODELS)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a network by name, its shape and its file; the exporter takes seconds for each."""
    known: dict[str, tuple[nn.Module, tuple[int, int, int], Path]] = {}

    def export(name: str) -> tuple[nn.Module, tuple[int, int, int], Path]:
        if name not in known:
            network, shape = zoo_network(name)
            path = tmp_path_factory.mktemp("exported") / "model.onnx"
            export_onnx(network, shape, path)
            known[name] = network, shape, path
        return known[name]

    return export


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", dict.fromkeys([*(name for name, *_ in _ZOO), *(f"torchvision/{name}" for name in _CLASSICS)])
)
def test_module_graph_and_optimised_graph_count_the_same(name, exported, tmp_path):
    network, shape, path = exported(name)
    forms = [path, *(optimised(path, level, tmp_path / f"{level}.onnx") for level in ("BASIC", "EXTENDED"))]
    module = count_module(network, shape)
    assert module.uncounted == ()
    assert module.macs >= 784 * 30 + 30 * 10  # of the smallest
    for form in forms:
        report = count_onnx(form)
        assert (report.macs, report.uncounted) == (module.macs, ()), form.name
    assert traced(path, forms[-1], shape) == kdbench_macs(forms[-1])
    laid_out = optimised(path, "ALL", tmp_path / "all.onnx")  # channels in whole blocks: of no count of its own
    assert sum(traced(path, laid_out, shape).values()) == module.macs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "784-30-10",
        "resnet8",
        "mobilenetv2_x0_5",
        *(f"torchvision/{name}" for name in ("shufflenet_v2_x0_5", "efficientnet_b0", "vit_b_16")),
    ],
)
def test_quantizing_changes_no_count(name, exported, tmp_path):
    network, shape, path = exported(name)
    qdq = quantized(path, shape, tmp_path / "qdq.onnx")
    fused = optimised(qdq, "EXTENDED", tmp_path / "fused.onnx")
    macs = count_module(network, shape).macs
    for form in (qdq, fused):
        report = count_onnx(form)
        assert (report.macs, report.uncounted) == (macs, ()), form.name
    assert traced(qdq, fused, shape) == kdbench_macs(fused)
    laid_out = optimised(qdq, "ALL", tmp_path / "all.onnx")
    assert sum(traced(qdq, laid_out, shape).values()) == macs
