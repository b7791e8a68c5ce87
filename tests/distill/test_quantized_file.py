"""The file of a quantized network: integers, and the same logits."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from distill.networks import batches, tiny
from distill.quantized import SHAPE, after_batches, options, quantized
from distill.students import VALIDATION, run_fit, training

from kdbench.distill.objective import Objective
from kdbench.distill.quantize import deployed, rounding_sensitivity, weight_on_grid, weight_scale
from kdbench.export.onnx import check_parity, export_onnx


def run_file(path, images, *, optimised):
    how = ort.SessionOptions()
    how.log_severity_level = 3
    if not optimised:
        how.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    (result,) = ort.InferenceSession(path, how, providers=["CPUExecutionProvider"]).run(None, {"input": images.numpy()})
    return result


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a network of so many bits after some batches, and its file, which is made once."""

    @cache
    def make(*bits):
        network, path = after_batches(quantized(options(*bits))), tmp_path_factory.mktemp("export") / "net.onnx"
        images = torch.rand(8, *SHAPE)
        before = network(images)
        export_onnx(deployed(network), SHAPE, path)
        assert torch.equal(network(images), before), "the network is left as it was"
        return network, path

    return make


class TestFile:
    @pytest.mark.parametrize("precision", ["32", "bf16"])
    def test_a_student_of_few_bits_learns_and_its_file_says_what_it_says(self, tmp_path, precision):
        network = quantized(options(3, 8))
        summary = run_fit(tmp_path, network, Objective(), training(epochs=12, precision=precision))
        assert summary.curve[-1].validation_top1 > 0.9
        (batch,) = batches(VALIDATION, 48)
        export_onnx(deployed(network), SHAPE, tmp_path / "net.onnx")
        result = run_file(tmp_path / "net.onnx", batch.inputs, optimised=True)
        assert (result.argmax(1) == batch.labels.numpy()).mean() > 0.9

    @pytest.mark.parametrize("bits", [(3, 8, 8), (8, 3, 8), (4, 4, 4), (2, 3, 5)])
    def test_the_file_computes_what_the_network_computes(self, exported, bits):
        network, path = exported(*bits)
        onnx.checker.check_model(path, full_check=True)
        images = torch.rand(64, *SHAPE)
        expected = network(images).detach().numpy()
        off = np.abs(run_file(path, images, optimised=False) - expected)
        assert np.median(off) < 1e-5, "most images cross no rounding boundary"
        assert check_parity(network, path, images, rounding=rounding_sensitivity(network, images)).holds

    def test_rounding_moves_the_logits_of_some_images_by_steps_and_those_of_others_by_nothing(self):
        network = after_batches(quantized(options(3, 3, 3)))
        images = torch.rand(256, *SHAPE)
        moved = rounding_sensitivity(network, images)
        assert moved.shape == (256,)
        assert (moved < 1e-3).float().mean() > 0.5
        assert moved.max() > 1e-2
        assert torch.equal(moved, rounding_sensitivity(network, images))

    def test_weights_are_stored_in_one_byte_each_on_their_grid(self, exported):
        network, path = exported(3, 8, 8)
        tensors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
        integers = {array.shape: array for array in tensors if array.dtype == np.int8 and array.ndim > 1}
        assert sum(array.size for array in integers.values()) == sum(
            p.numel() for p in network.parameters() if p.dim() > 1
        )
        assert not [array.shape for array in tensors if array.dtype == np.float32 and array.ndim > 1]
        inner = network.second[0]
        stored = integers[tuple(inner.weight.shape)]
        assert np.abs(stored).max() == 3
        grid = stored * weight_scale(inner.weight, 3).numpy().reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(grid, weight_on_grid(inner.weight, 3).detach().numpy(), atol=1e-7)

    def test_activations_below_eight_bits_are_clipped_to_their_range(self, exported):
        _, path = exported(8, 3, 8)
        graph = onnx.load(path).graph
        (clip,) = [node for node in graph.node if node.op_type == "Clip"]
        values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        assert [values[name].item() for name in clip.input[1:]] == [0, 7]
        assert len([node for node in graph.node if node.op_type == "QuantizeLinear"]) == 3

    def test_a_network_in_full_precision_goes_as_it_is(self):
        network = tiny()
        assert deployed(network) is network
        assert rounding_sensitivity(network.eval(), torch.rand(2, *SHAPE)) is None

    def test_the_sensitivity_leaves_the_network_as_it_was(self):
        network = after_batches(quantized())
        images = torch.rand(8, *SHAPE)
        before = network(images)
        rounding_sensitivity(network, images)
        assert torch.equal(network(images), before)


@pytest.mark.parametrize("layer", ["first.0", "second.0", "head"])
def test_the_gate_notices_a_wrong_grid(exported, tmp_path, layer):
    network, right = exported(3, 8, 8)
    model, path = onnx.load(right), tmp_path / "net.onnx"
    shape = tuple(network.get_submodule(layer).weight.shape)
    (weights,) = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tuple(tensor.dims) in {shape, shape[::-1]}
    ]
    outputs = tuple(weights.dims).index(shape[0])  # a linear layer's weights may be transposed
    wrong = np.roll(onnx.numpy_helper.to_array(weights), 1, axis=outputs)
    weights.CopyFrom(onnx.numpy_helper.from_array(wrong, weights.name))
    onnx.save(model, path)
    images = torch.rand(64, *SHAPE)
    assert not check_parity(network, path, images, rounding=rounding_sensitivity(network, images)).holds
