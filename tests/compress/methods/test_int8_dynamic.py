import errno
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from small_graphs import model_of, run

from kdbench.compress import COMPRESSORS, Source
from kdbench.compress.kernels import kernels_of
from kdbench.compress.methods.int8_dynamic import Int8Dynamic
from kdbench.errors import InputError, StorageError
from kdbench.modelfile.facts import inspect

RNG = np.random.default_rng(4)


def compress(path, target, **settings):
    return Int8Dynamic(**settings).compress(Source(path, inspect(path)), target)


@pytest.fixture
def dense(tmp_path):
    nodes = [
        ("Gemm", ["x", "w0", "c0"], ["a"], {"transB": 1}),
        ("Relu", ["a"], ["r"], {}),
        ("MatMul", ["r", "w1"], ["y"], {}),
    ]
    weights = {"w0": RNG.standard_normal((64, 32)), "c0": RNG.standard_normal(64), "w1": RNG.standard_normal((64, 10))}
    model = model_of(nodes, {name: array.astype(np.float32) for name, array in weights.items()}, {"x": ["n", 32]})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 10]))
    onnx.save(model, tmp_path / "dense.onnx")
    return tmp_path / "dense.onnx"


def test_matrix_products_become_integers(dense, tmp_path):
    x = RNG.standard_normal((16, 32)).astype(np.float32)
    outcome = compress(dense, tmp_path / "int8.onnx")
    assert outcome.warnings == ()
    assert kernels_of(tmp_path / "int8.onnx").integer_share == 1
    assert inspect(tmp_path / "int8.onnx").weight_bytes < 0.5 * inspect(dense).weight_bytes
    exact, small = run(onnx.load(dense), x=x), run(onnx.load(tmp_path / "int8.onnx"), x=x)
    assert np.corrcoef(exact.ravel(), small.ravel())[0, 1] > 0.999
    assert COMPRESSORS.get("int8-dynamic") is Int8Dynamic


def test_weights_may_be_declared_as_values(dense, tmp_path):
    """As in files of torch.onnx.export(dynamo=True)."""
    compress(dense, tmp_path / "plain.onnx")
    model = onnx.load(dense)
    values = [onnx.helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in model.graph.initializer]
    model.graph.value_info.extend(values)
    onnx.save(model, dense)
    compress(dense, tmp_path / "int8.onnx")
    assert (tmp_path / "int8.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_convolutions_get_a_warning_with_the_measured_ratio(tmp_path):
    outcome = compress(convolutional(tmp_path / "net.onnx"), tmp_path / "int8.onnx")
    (line,) = outcome.warnings
    assert "ConvInteger" in line
    assert "times as long as in float32" in line


def test_nodes_can_stay_in_float(dense, tmp_path):
    name = next(node.name for node in onnx.load(dense).graph.node if node.op_type == "MatMul")
    compress(dense, tmp_path / "int8.onnx", keep_float=(name,))
    kernels = kernels_of(tmp_path / "int8.onnx")
    assert [macs for _, operator, macs in kernels.layers if operator == "MatMul"] == [640]
    with pytest.raises(InputError, match="is not a node"):
        compress(dense, tmp_path / "int8.onnx", keep_float=("nobody",))


def test_nothing_to_quantize_is_refused(tmp_path):
    model = model_of([("Relu", ["x"], ["y"], {})], {}, {"x": ["n", 4]})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 4]))
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(InputError, match="no convolution or matrix product"):
        compress(tmp_path / "relu.onnx", tmp_path / "int8.onnx")


def test_a_recurrent_network_runs_in_integers(tmp_path):
    weights = {
        name: RNG.standard_normal(shape).astype(np.float32) / 4
        for name, shape in {"w": (1, 32, 6), "r": (1, 32, 8), "b": (1, 64), "v": (8, 3)}.items()
    }
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}),
        ("LSTM", ["t", "w", "r", "b"], ["", "h"], {"hidden_size": 8}),
        ("Squeeze", ["h", "axis"], ["s"], {}),
        ("MatMul", ["s", "v"], ["y"], {}),
    ]
    model = model_of(nodes, weights | {"axis": np.array([0])}, {"x": ["n", 5, 6]})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 3]))
    onnx.save(model, tmp_path / "lstm.onnx")
    assert compress(tmp_path / "lstm.onnx", tmp_path / "int8.onnx").warnings == ()
    kernels = kernels_of(tmp_path / "int8.onnx")
    assert kernels.integer_share == 1
    assert len(kernels.integer) == 2
    x = RNG.standard_normal((4, 5, 6)).astype(np.float32)
    exact, small = (run(onnx.load(tmp_path / name), x=x) for name in ("lstm.onnx", "int8.onnx"))
    assert np.abs(small - exact).max() < 0.1 * np.abs(exact).max()


def test_onnxruntimes_temporary_files_are_removed_with_those_of_kdbench(dense, tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def noting(*arguments, **options):
        made.append(Path(make(*arguments, **options)))
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", noting)
    compress(dense, tmp_path / "int8.onnx")
    ours = [path for path in made if path.name.startswith("kdbench-work-")]
    theirs = [path for path in made if path not in ours]
    assert {path.name.rpartition(".")[0] for path in theirs} == {"pre.quant", "ort.quant"}
    assert {path.parent for path in theirs} <= {*ours}


def test_a_full_disk_of_the_results_is_not_taken_for_that_of_temporary_files(dense):
    with pytest.raises(OSError, match="No space left on device"):
        compress(dense, Path("/dev/full"))


def test_a_full_disk_while_a_model_is_prepared_is_no_fault_of_the_model(dense, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onnxruntime.quantization.shape_inference.quant_pre_process", full)
    with pytest.raises(StorageError, match="no temporary files can be written"):
        compress(dense, tmp_path / "int8.onnx")
