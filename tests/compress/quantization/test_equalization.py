import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from small_graphs import model_of, run, session_of, stored

from kdbench.compress.quantization.equalization import equalize, find_pairs

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def pointwise(between, weights=None, *, first=None, second=None, shape=("n", 3, 6, 6), outputs=("y",), **options):
    """Build conv -> `between`, from a to b -> conv."""
    nodes = [("Conv", ["x", "w1", "c1"], ["a"], {}), *between, ("Conv", ["b", "w2"], ["y"], {})]
    stored_weights = {"w1": normal(8, 3, 1, 1), "c1": normal(8), "w2": normal(4, 8, 1, 1), **(weights or {})}
    return model_of(nodes, stored_weights, {"x": list(shape)}, outputs, **options)


RELU = [("Relu", ["a"], ["b"], {})]


def chain():
    """Build conv, depthwise (two outputs a channel), grouped, transposed, pooling, flattening, Gemm, MatMul + Add."""
    nodes = [
        ("Conv", ["x", "w1", "c1"], ["a1"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["a1"], ["r1"], {}),
        ("Conv", ["r1", "w2", "c2"], ["a2"], {"group": 6, "pads": [1, 1, 1, 1]}),
        ("LeakyRelu", ["a2"], ["r2"], {"alpha": 0.1}),
        ("Conv", ["r2", "w3"], ["a3"], {"group": 3}),
        ("PRelu", ["a3", "slope"], ["r3"], {}),
        ("ConvTranspose", ["r3", "w4", "c4"], ["a4"], {"group": 3}),
        ("Relu", ["a4"], ["r4"], {}),
        ("MaxPool", ["r4"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "w5", "c5"], ["a5"], {"transB": 1}),
        ("Relu", ["a5"], ["r5"], {}),
        ("MatMul", ["r5", "w6"], ["a6"], {}),
        ("Add", ["c6", "a6"], ["b6"], {}),
        ("Relu", ["b6"], ["r6"], {}),
        ("Gemm", ["r6", "w7", "c7"], ["y"], {"alpha": 0.5}),
    ]
    weights = {
        "w1": normal(6, 3, 3, 3), "c1": normal(6), "w2": normal(12, 1, 3, 3), "c2": normal(12),
        "w3": normal(9, 4, 1, 1), "slope": np.abs(normal(9, 1, 1)), "w4": normal(9, 2, 1, 1), "c4": normal(6),
        "w5": normal(10, 54), "c5": normal(1, 10), "w6": normal(10, 7), "c6": normal(7),
        "w7": normal(7, 5), "c7": normal(5),
    }  # fmt: skip
    return model_of(nodes, weights, {"x": ["n", 3, 6, 6]})


def replaced(model, **arrays):
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name in arrays:
            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name].astype(np.float32), tensor.name))
    return copy


def magnitudes(model, name, axis):
    """Return the largest magnitude of each slice along an axis."""
    return np.abs(np.moveaxis(stored(model, name), axis, 0)).reshape(stored(model, name).shape[axis], -1).max(axis=1)


def test_a_chain_of_all_layers_keeps_its_answers_and_gets_equal_ranges():
    model = chain()
    s = np.exp(RNG.uniform(-3, 3, 6))  # rows of the first layer become very different
    shifted = replaced(model, w1=stored(model, "w1") * s[:, None, None, None], c1=stored(model, "c1") * s,
                       w2=stored(model, "w2") / np.repeat(s, 2)[:, None, None, None])  # fmt: skip
    even = equalize(shifted)
    x = normal(5, 3, 6, 6)
    assert len(find_pairs(model)) == 6
    np.testing.assert_allclose(run(even, x=x), run(model, x=x), rtol=1e-3, atol=1e-3)
    # Conv to depthwise: filter 2c and 2c + 1 read channel c.
    np.testing.assert_allclose(magnitudes(even, "w1", 0), magnitudes(even, "w2", 0).reshape(6, 2).max(1), rtol=1e-3)
    # Depthwise to three groups of four inputs, each read by three filters.
    grouped = np.abs(stored(even, "w3").reshape(3, 3, 4)).max(axis=1).ravel()
    np.testing.assert_allclose(magnitudes(even, "w2", 0), grouped, rtol=1e-3)
    np.testing.assert_allclose(magnitudes(even, "w3", 0), magnitudes(even, "w4", 0), rtol=1e-3)
    # Transposed: group g of three inputs gives outputs 2g and 2g + 1; flattened, each has nine places.
    transposed = np.abs(stored(even, "w4").reshape(3, 3, 2)).max(axis=1).ravel()
    flattened = np.abs(stored(even, "w5").reshape(10, 6, 9)).max(axis=(0, 2))
    np.testing.assert_allclose(transposed, flattened, rtol=1e-3)
    np.testing.assert_allclose(magnitudes(even, "w5", 0), magnitudes(even, "w6", 0), rtol=1e-3)
    np.testing.assert_allclose(magnitudes(even, "w6", 1), magnitudes(even, "w7", 0), rtol=1e-3)


def test_one_pair_gets_the_papers_factor():
    model = pointwise(RELU)
    r1, r2 = magnitudes(model, "w1", 0), magnitudes(model, "w2", 1)
    even = equalize(model)
    np.testing.assert_allclose(magnitudes(even, "w1", 0), np.sqrt(r1 * r2), rtol=1e-3)
    np.testing.assert_allclose(magnitudes(even, "w2", 1), np.sqrt(r1 * r2), rtol=1e-3)
    np.testing.assert_allclose(stored(even, "c1"), stored(model, "c1") / np.sqrt(r1 / r2), rtol=1e-3)


@pytest.mark.parametrize(
    ("between", "weights", "opset"),
    [
        ([("Identity", ["a"], ["b"], {})], {}, 17),
        ([("Add", ["a", "k"], ["i"], {}), ("Relu", ["i"], ["b"], {})], {"k": normal(8, 1, 1)}, 17),
        ([("GlobalAveragePool", ["a"], ["b"], {})], {}, 17),
        ([("Pad", ["a", "p"], ["b"], {})], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, 17),
        ([("Pad", ["a"], ["b"], {"pads": [0, 0, 1, 1, 0, 0, 1, 1]})], {}, 9),
        ([("Pad", ["a", "p", "z"], ["b"], {"mode": "reflect"})],
         {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "z": np.float32(1)}, 17),
        ([("PRelu", ["a", "k"], ["b"], {})], {"k": np.float32([0.2])}, 17),
        ([("Dropout", ["a"], ["b"], {})], {}, 17),
    ],
)  # fmt: skip
def test_what_lets_a_factor_pass_makes_a_pair(between, weights, opset):
    model = pointwise(between, weights, opset=opset)
    x = normal(2, 3, 6, 6)
    assert len(find_pairs(model)) == 1
    even = equalize(model)
    assert not np.allclose(stored(even, "w1"), stored(model, "w1"))
    np.testing.assert_allclose(run(even, x=x), run(model, x=x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("between", "weights", "options"),
    [
        ([("Clip", ["a", "z", "six"], ["b"], {})], {"z": np.float32(0), "six": np.float32(6)}, {}),
        ([("Sigmoid", ["a"], ["b"], {})], {}, {}),
        ([("HardSwish", ["a"], ["b"], {})], {}, {}),
        ([("Softmax", ["a"], ["b"], {"axis": 1})], {}, {}),
        (RELU, {}, {"outputs": ("y", "b")}),  # given out as well
        ([("Relu", ["a"], ["r"], {}), ("Add", ["a", "r"], ["b"], {})], {}, {}),  # a skip connection
        ([("Add", ["a", "k"], ["b"], {})], {"k": np.float32(1)}, {}),  # one offset that all channels share
        ([("Add", ["a", "k"], ["b"], {})], {"k": normal(8, 6, 6)}, {}),
        ([("Pad", ["a", "p", "z"], ["b"], {})], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "z": np.float32(1)}, {}),
        ([("Pad", ["a", "p"], ["b"], {})], {"p": np.array([0, 0, 0, 0, 1, 0, 0, 0])}, {}),  # of the batch
        ([("Transpose", ["a"], ["b"], {"perm": [0, 1, 3, 2]})], {}, {}),
        (RELU, {"w1": normal(8, 3, 1, 1) * np.float32(np.inf)}, {}),
    ],
)
def test_what_bends_a_factor_or_is_shared_makes_no_pair(between, weights, options):
    model = pointwise(between, weights, **options)
    assert find_pairs(model) == []
    assert equalize(model) == model


def test_shared_weights_and_offsets_make_no_pair():
    nodes = [("Conv", ["x", "w", "c"], ["a"], {}), ("Relu", ["a"], ["b"], {}), ("Conv", ["b", "w", "c"], ["y"], {})]
    shared = model_of(nodes, {"w": normal(3, 3, 1, 1), "c": normal(3)}, {"x": ["n", 3, 6, 6]})
    assert find_pairs(shared) == []
    nodes[2] = ("Conv", ["b", "v", "c"], ["y"], {})
    offsets = model_of(nodes, {"w": normal(3, 3, 1, 1), "v": normal(3, 3, 1, 1), "c": normal(3)}, {"x": ["n", 3, 6, 6]})
    assert find_pairs(offsets) == []


@pytest.mark.parametrize(("target", "pairs"), [([0, -1], 1), ([-1, 72], 1), ([-1, 8], 0)])
def test_a_reshape_must_keep_the_places_of_a_channel_together(target, pairs):
    nodes = [("Conv", ["x", "w1"], ["a"], {}), ("Reshape", ["a", "to"], ["f"], {}), ("Gemm", ["f", "w2"], ["y"], {})]
    inputs = 8 if target == [-1, 8] else 72
    weights = {"w1": normal(8, 3, 1, 1), "w2": normal(inputs, 5), "to": np.array(target)}
    assert len(find_pairs(model_of(nodes, weights, {"x": ["n", 3, 3, 3]}))) == pairs


def test_constants_that_are_nodes_count_as_weights():
    model = pointwise(RELU)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w1")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w1"], value=weights))
    model.graph.initializer.remove(weights)
    even = equalize(model)
    assert not np.allclose(stored(even, "w2"), stored(model, "w2"))
    x = normal(2, 3, 6, 6)
    np.testing.assert_allclose(run(even, x=x), run(model, x=x), rtol=1e-4, atol=1e-4)


def test_the_offset_of_a_dead_channel_does_not_outgrow_the_others():
    model = pointwise(RELU)
    weights, offsets = stored(model, "w1").copy(), np.abs(stored(model, "c1"))
    weights[2] = 0
    weights[3] *= 1e-9  # as a batch norm leaves a channel that it switched off; √(r₁/r₂) would be 3e-5 or so
    dead = replaced(model, w1=weights, c1=offsets)
    even = equalize(dead)
    alive = np.delete(stored(even, "c1"), [2, 3])
    assert stored(even, "c1")[2:4].max() <= alive.max() * 1.001
    assert np.abs(stored(even, "w2")[:, 2:4]).max() <= np.abs(stored(even, "w2")).max(axis=(0, 2, 3)).max()
    x = normal(2, 3, 6, 6)
    np.testing.assert_allclose(run(even, x=x), run(dead, x=x), rtol=1e-4, atol=1e-4)


class Images(CalibrationDataReader):
    def __init__(self, images):
        self._batches = iter(np.array_split(images, 4))

    def get_next(self):
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


@pytest.mark.slow
def test_equalization_restores_a_network_whose_channels_were_rescaled(resnet20, cifar, tmp_path):
    images, labels = cifar[0][:500], cifar[1][:500]

    def accuracy(model):
        return np.mean(session_of(model).run(None, {"input": images})[0].argmax(axis=1) == labels)

    def quantized(model, name):
        onnx.save(model, tmp_path / "float.onnx")
        target = tmp_path / f"{name}.onnx"
        quantize_static(tmp_path / "float.onnx", target, Images(cifar[0][500:600]), activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)  # fmt: skip
        return target

    model = onnx.load(resnet20)
    pairs = find_pairs(model)
    assert len(pairs) == 9  # in each block, the first convolution and the second
    rng, arrays = np.random.default_rng(3), {}
    for pair in pairs:
        s = np.exp(rng.uniform(-5, 5, pair.channels))
        first, second = (stored(model, node.input[1]) for node in (pair.first, pair.second))
        arrays[pair.first.input[1]] = first * s[:, None, None, None]
        arrays[pair.second.input[1]] = second / s[:, None, None]
        arrays[pair.shifts[0]] = stored(model, pair.shifts[0]) * s
    rescaled = replaced(model, **arrays)
    even = equalize(rescaled)
    for pair in find_pairs(even):
        outgoing, incoming = magnitudes(even, pair.first.input[1], 0), magnitudes(even, pair.second.input[1], 1)
        np.testing.assert_allclose(outgoing, incoming, rtol=2e-3)  # of channels that training switched off too
    logits = run(model, input=images[:50])
    for changed in (rescaled, even):
        np.testing.assert_allclose(run(changed, input=images[:50]), logits, atol=2e-3)
    floating, broken, restored = (
        accuracy(model),
        accuracy(quantized(rescaled, "bad")),
        accuracy(quantized(even, "good")),
    )
    assert broken < 0.5
    assert abs(restored - floating) <= 0.012
