"""One count for a network in all its forms: as a module, as a graph, as onnxruntime optimises it, quantized."""

from pathlib import Path

import numpy as np
import pytest

from kdbench import models
from kdbench.export.onnx import export_onnx
from kdbench.macs.onnx_counter import count_node, count_onnx
from kdbench.macs.onnx_graph import Operation, computed, load_graph
from kdbench.macs.onnx_origin import origins
from kdbench.macs.onnx_shapes import infer
from kdbench.macs.torch_counter import count_module

pytestmark = pytest.mark.slow  # the exporter takes seconds per network

# Names that stand for any architecture but are none themselves, and what the graph of a named one is large with.
_PATTERNS = {"dense": "784-30-10"}
_SHAPES = {"784-30-10": (1, 28, 28), "keras_student": (1, 28, 28), "keras_teacher": (1, 28, 28)}

# torchvision's classics, one of each way of building: attention, windows, grouped and depthwise convolutions,
# channel shuffles, dense blocks, squeeze-and-excitation.
_CLASSICS = """
    resnet50 resnext50_32x4d mobilenet_v3_large efficientnet_b0 shufflenet_v2_x1_0 mnasnet1_0 regnet_y_400mf
    densenet121 squeezenet1_1 googlenet convnext_tiny vit_b_16 swin_t swin_v2_t
"""


def every_network() -> list[tuple[str, tuple[int, int, int], int]]:
    zoo = [_PATTERNS.get(name, name) for name, _ in models.MODELS]
    own = [(name, _SHAPES.get(name, (3, 32, 32)), 10) for name in zoo]
    return [*own, *((f"torchvision/{name}", (3, 224, 224), 1000) for name in _CLASSICS.split())]


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


def own(path: Path) -> dict[str, int]:
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


@pytest.mark.parametrize(("name", "shape", "classes"), every_network())
def test_module_graph_and_optimised_graph_count_the_same(name, shape, classes, tmp_path):
    network = models.build(name, shape, classes).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, shape, path)
    forms = [path, *(optimised(path, level, tmp_path / f"{level}.onnx") for level in ("BASIC", "EXTENDED"))]
    module = count_module(network, shape)
    assert module.uncounted == ()
    assert module.macs > 0
    for form in forms:
        report = count_onnx(form)
        assert (report.macs, report.uncounted) == (module.macs, ()), form.name
    assert traced(path, forms[-1], shape) == own(forms[-1])
    laid_out = optimised(path, "ALL", tmp_path / "all.onnx")  # channels in whole blocks: of no count of its own
    assert sum(traced(path, laid_out, shape).values()) == module.macs


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("784-30-10", (1, 28, 28)),
        ("resnet8", (3, 32, 32)),
        ("mobilenetv2_x0_5", (3, 32, 32)),
        ("torchvision/shufflenet_v2_x0_5", (3, 64, 64)),
        ("torchvision/efficientnet_b0", (3, 64, 64)),
        ("torchvision/vit_b_32", (3, 32, 32)),
    ],
)
def test_quantizing_changes_no_count(name, shape, tmp_path):
    network = models.build(name, shape, 10).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, shape, path)
    qdq = quantized(path, shape, tmp_path / "qdq.onnx")
    fused = optimised(qdq, "EXTENDED", tmp_path / "fused.onnx")
    macs = count_module(network, shape).macs
    for form in (qdq, fused):
        report = count_onnx(form)
        assert (report.macs, report.uncounted) == (macs, ()), form.name
    assert traced(qdq, fused, shape) == own(fused)
    laid_out = optimised(qdq, "ALL", tmp_path / "all.onnx")
    assert sum(traced(qdq, laid_out, shape).values()) == macs
