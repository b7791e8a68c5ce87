from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from compress.readers import OneBatch
from onnxruntime.quantization import QuantType, quantize_static
from small_graphs import model_of

from kdbench.compress.kernels import Kernels
from kdbench.errors import InputError
from kdbench.measure.bench_model import Refusal
from kdbench.recipe import Measure
from kdbench.results.cards import Bits
from kdbench.workflows.files import kernels as kernels_module
from kdbench.workflows.files.kernels import kernel_diagnostic, kernel_findings

INTEGER, FLOAT = ("a", "QLinearConv", 30), ("b", "FusedConv", 10)
BITS = Bits(weights=3, activations=8, first_last=8)


@pytest.mark.parametrize(
    ("kernels", "part"),
    [(Kernels((INTEGER, FLOAT), 0), "1 of 2 layers, 75 % of its multiply"), (Kernels((FLOAT,), 7), "7 casts")],
)
def test_what_does_not_run_as_it_is_stored_is_told(kernels, part):
    warning = kernel_diagnostic("m", kernels)
    assert (warning.code, warning.model) == ("kernels", "m")
    assert part in warning.message


@pytest.mark.parametrize("layers", [(INTEGER,), (FLOAT,), ()])
def test_files_that_run_as_they_are_stored_have_no_warning(layers):
    assert kernel_diagnostic("m", Kernels(layers, 0)) is None


def model(id_, *, variant=None, bits=None, quantized=(), refusal=None):
    card = SimpleNamespace(name=id_.partition("-")[0], variant=variant, bits=bits, input_shape=(1, 8, 8))
    facts = SimpleNamespace(quantized=quantized, sample_shape=(1, 8, 8), layout="NCHW")
    return SimpleNamespace(id=id_, card=card, facts=facts, refusal=refusal, path=id_)


@pytest.fixture
def kernels_by_path(monkeypatch):
    known = {}

    def kernels_of(path, _):
        if path not in known:
            raise InputError("it does not load", "make it again")
        return known[path]

    monkeypatch.setattr(kernels_module, "kernels_of", kernels_of)
    return known


def test_quantized_and_compressed_models_have_a_share_and_others_none(kernels_by_path):
    half = Kernels((INTEGER, (*FLOAT[:2], 30)), 0)
    kernels_by_path.update({"v-seed1": half, "v-seed2": half, "q": Kernels((INTEGER,), 0), "b": half})
    models = [
        model("teacher"),
        model("v-seed1", variant="how"),
        model("v-seed2", variant="how"),
        model("q", quantized=("QLinearConv",)),
        model("b", bits=BITS),
        model("left-out", variant="how", refusal=Refusal("strays")),
        model("broken", variant="how"),
    ]
    findings = kernel_findings(models, Measure())
    shares = {m.model: m.value for m in findings.measurements}
    assert shares == {"v-seed1": 0.5, "v-seed2": 0.5, "q": 1, "b": 0.5, "broken": None}
    assert [m.status for m in findings.measurements if m.value is None] == ["error"]
    assert [(w.model, w.code) for w in findings.warnings] == [("v-seed1", "kernels"), ("b", "quantized")]
    bits = findings.warnings[1]
    assert "weights of 3 bits and activations of 8 (8 in its first and last layer)" in bits.message
    assert "1 of 2 layers in integers" in bits.message


def test_kernels_of_another_provider_are_not_told_by_those_of_the_cpu():
    (missing,) = kernel_findings([model("v", variant="how")], Measure(provider="cuda")).measurements
    assert (missing.value, missing.status) == (None, "unavailable")
    assert "cuda" in missing.reason


@pytest.mark.parametrize(("layout", "axes"), [("NCHW", ["n", 3, "h", "w"]), ("NHWC", ["n", "h", "w", 3])])
def test_the_share_of_a_file_of_open_size_is_that_of_the_inputs_it_is_measured_with(layout, axes, tmp_path):
    """A convolution in integers and a classifier in float32, for images of 6 by 9."""
    rng, channels_last = np.random.default_rng(0), layout == "NHWC"
    nodes = [
        *([("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]})] if channels_last else []),
        ("Conv", ["t" if channels_last else "x", "w0"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["a"], ["r"], {}),
        ("GlobalAveragePool", ["r"], ["m"], {}),
        ("Flatten", ["m"], ["f"], {}),
        ("Gemm", ["f", "w1"], ["y"], {}),
    ]
    weights = {"w0": rng.standard_normal((8, 3, 3, 3)), "w1": rng.standard_normal((8, 5))}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    floating, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(model_of(nodes, weights, {"x": axes}), floating)
    image = rng.standard_normal((2, 6, 9, 3) if channels_last else (2, 3, 6, 9)).astype(np.float32)
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(floating, path, OneBatch(image), op_types_to_quantize=["Conv", "Relu"], reduce_range=True, **kinds)
    card = SimpleNamespace(name="q", variant="how", bits=None, input_shape=(3, 6, 9))
    facts = SimpleNamespace(quantized=(), sample_shape=tuple(n if n == 3 else None for n in axes[1:]), layout=layout)
    measured = SimpleNamespace(id="q", card=card, facts=facts, refusal=None, path=path)
    (share,) = kernel_findings([measured], Measure()).measurements
    convolution, classifier = 8 * 3 * 9 * 6 * 9, 8 * 5
    assert share.value == pytest.approx(convolution / (convolution + classifier))
