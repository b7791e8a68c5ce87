"""What a graph does to its input first."""

import numpy as np
import onnx
import pytest
from small_graphs import model_of, run

from kdbench.modelfile.graphs.inputs import input_quantization, scales_pixels


def steps(*steps, **stored):
    """Build a model that applies `steps`, (operator, operands; "x" is the value so far), and then a matrix product."""
    nodes, value = [], "x"
    for number, (op, operands) in enumerate((*steps, ("Flatten", ["x"]), ("MatMul", ["x", "w"]))):
        nodes.append((op, [value if name == "x" else name for name in operands], [f"v{number}"], {}))
        value = f"v{number}"
    arrays = {name: np.asarray(array, np.float32) for name, array in {"w": np.ones((12, 2)), **stored}.items()}
    return model_of(nodes, arrays, {"x": ["n", 3, 2, 2]}, [value])


CHANNELS = {"mean": np.reshape([123.7, 116.3, 103.5], (3, 1, 1)), "std": np.reshape([58.4, 57.1, 57.4], (3, 1, 1))}
PIXELS = {
    "divided": steps(("Div", ["x", "k"]), k=255),
    "multiplied": steps(("Mul", ["k", "x"]), k=1 / 255),
    "to -1 … 1": steps(("Mul", ["x", "k"]), ("Add", ["x", "b"]), k=1 / 127.5, b=-1),
    "per channel": steps(("Sub", ["x", "mean"]), ("Div", ["x", "std"]), **CHANNELS),
    "scaled, then per channel": steps(
        ("Div", ["x", "k"]), ("Sub", ["x", "m"]), ("Div", ["x", "s"]), k=255, m=np.full((3, 1, 1), 0.45), s=0.23
    ),
    "mean alone": steps(("Sub", ["x", "mean"]), mean=CHANNELS["mean"]),
    "before what does not fit it": steps(("Div", ["x", "k"]), ("Sub", ["x", "m"]), k=np.full((2, 1), 255), m=[1, 2, 3]),
    "behind a transposition": steps(("Transpose", ["x"]), ("Div", ["x", "k"]), k=255),
    "batch norm": steps(
        ("BatchNormalization", ["x", "o", "z", "m", "v"]), o=np.ones(3), z=np.zeros(3), m=np.full(3, 120), v=[60**2] * 3
    ),
    "1×1 convolution": steps(("Conv", ["x", "k", "b"]), k=np.reshape(np.eye(3) / 58, (3, 3, 1, 1)), b=[-2, -2, -1.8]),
    "1×1 convolution that turns the channels round": steps(
        ("Conv", ["x", "k"]), k=np.reshape(np.eye(3)[::-1] / 255, (3, 3, 1, 1))
    ),
}
OTHERS = {
    "nothing": steps(),
    "of values from 0 to 1": steps(("Sub", ["x", "m"]), ("Div", ["x", "s"]), m=0.485, s=0.229),
    "of pixels from 0 to 16": steps(("Div", ["x", "k"]), k=16),
    "to pixels": steps(("Mul", ["x", "k"]), k=255),
    "there and back": steps(("Mul", ["x", "k"]), ("Sub", ["x", "m"]), ("Div", ["x", "s"]), k=255, m=123.7, s=58.4),
    "turned over": steps(("Sub", ["k", "x"]), k=255),
    "1×1 convolution of all channels": steps(("Conv", ["x", "k"]), k=np.full((3, 3, 1, 1), 1 / 58)),
    "1×1 convolution of a grey image to more channels": steps(
        ("Conv", ["x", "k", "b"]), k=np.reshape([0.5, -0.3, 0.01], (3, 1, 1, 1)), b=[0.1, 0.2, -0.9]
    ),
    "3×3 convolution": steps(("Conv", ["x", "k"]), k=np.reshape(np.eye(9)[:, 4] / 58, (1, 1, 3, 3))),
    "by nothing": steps(("Mul", ["x", "k"]), k=0),
}


@pytest.mark.parametrize("which", {**PIXELS, **OTHERS})
def test_a_normalisation_of_pixels_is_recognised(which):
    assert scales_pixels({**PIXELS, **OTHERS}[which], "x") == (which in PIXELS)


def test_a_constant_may_be_written_as_a_number():
    model = steps(("Div", ["x", "k"]))
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["k"], value_float=255.0))
    assert scales_pixels(model, "x")


@pytest.mark.parametrize(
    ("first", "operands"),
    [
        ("Slice", {"starts": [-1], "ends": [-(2**31)], "axes": [1], "steps": [-1]}),  # BGR for RGB
        ("Gather", {"order": [2, 1, 0]}),
        ("Clip", {"low": 0.0, "high": 255.0}),
        ("Pad", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}),
        ("Resize", {"roi": [], "scales": [1.0, 1.0, 2.0, 2.0]}),
    ],
)
def test_a_normalisation_may_follow_a_choice_of_pixels(first, operands):
    model = steps((first, ["x", *operands]), ("Sub", ["x", "k"]), k=127.5)
    whole = {"starts", "ends", "axes", "steps", "order", "pads"}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.int64 if name in whole else np.float32), name)
        for name, value in operands.items()
    )
    assert scales_pixels(model, "x")


def by_channel(way, means, stds):
    """Build a model that normalises each channel by its own mean and deviation, and joins them again."""
    stored = {f"at{place}": np.array([place]) for place in range(4)} | {"w": np.ones((12, 2), np.float32)}
    stored |= {f"m{c}": np.float32(mean) for c, mean in enumerate(means)}
    stored |= {f"s{c}": np.float32(std) for c, std in enumerate(stds)} | {"ones": np.ones(3, np.int64)}
    nodes = [("Split", ["x", "ones"], ["c0", "c1", "c2"], {"axis": 1})] if way == "Split" else []
    for c in range(3):
        if way == "Slice":
            nodes += [("Slice", ["x", f"at{c}", f"at{c + 1}", "at1"], [f"c{c}"], {})]
        elif way == "Gather":
            nodes += [("Gather", ["x", f"at{c}"], [f"c{c}"], {"axis": 1})]
        nodes += [("Sub", [f"c{c}", f"m{c}"], [f"d{c}"], {}), ("Div", [f"d{c}", f"s{c}"], [f"n{c}"], {})]
    nodes += [("Concat", ["n0", "n1", "n2"], ["n"], {"axis": 1}), ("Flatten", ["n"], ["f"], {})]
    return model_of([*nodes, ("MatMul", ["f", "w"], ["y"], {})], stored, {"x": ["n", 3, 2, 2]})


@pytest.mark.parametrize("way", ["Slice", "Gather", "Split"])
def test_a_normalisation_may_treat_each_channel_alone(way):
    means, stds = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    model = by_channel(way, 255 * means, 255 * stds)
    assert run(model, x=np.full((1, 3, 2, 2), 255, np.float32))[0, 0] == pytest.approx(4 * ((1 - means) / stds).sum())
    assert scales_pixels(model, "x")
    assert not scales_pixels(by_channel(way, means, stds), "x")  # of values from 0 to 1
    assert not scales_pixels(by_channel(way, [120, 120, 0], [60, 60, 1]), "x")


@pytest.mark.parametrize(
    ("scale", "zero_point", "pixels"),
    [
        (1.0, np.uint8(0), True),
        (250 / 255, np.int8(-128), True),
        (1.0, None, True),  # uint8, from 0
        (1 / 255, np.uint8(0), False),  # values from 0 to 1
        (4.7 / 255, np.uint8(115), False),  # normalised values
        (1.0, np.uint8(124), False),  # pixels without their mean
        (2.0, np.int8(0), False),
        (250 / 65535, np.uint16(0), True),
        (250 / 65535, np.int16(-32768), True),
        (1 / 65535, np.uint16(0), False),
        (250 / 65535, np.uint16(32768), False),
    ],
)
@pytest.mark.parametrize("then", ["DequantizeLinear", "QLinearConv"])
def test_the_range_of_a_quantized_input_tells_pixels(scale, zero_point, pixels, then):
    stored = {"s": np.float32(scale), "z": zero_point} if zero_point is not None else {"s": np.float32(scale)}
    nodes = [("QuantizeLinear", ["x", *stored], ["q"], {}), (then, ["q", *stored], ["y"], {})]
    assert scales_pixels(model_of(nodes, stored, {"x": ["n", 3, 2, 2]}), "x") == pixels


@pytest.mark.parametrize(("scale", "pixels"), [(250 / 65535, True), (1 / 65535, False)])
def test_a_quantization_without_a_zero_point_may_name_its_type(scale, pixels):
    type_ = {"output_dtype": onnx.TensorProto.UINT16}
    nodes = [("QuantizeLinear", ["x", "s"], ["q"], type_), ("DequantizeLinear", ["q", "s"], ["y"], {})]
    assert scales_pixels(model_of(nodes, {"s": np.float32(scale)}, {"x": ["n", 3, 2, 2]}), "x") == pixels


def test_a_damaged_quantization_of_the_input_tells_nothing():
    assert not scales_pixels(steps(("QuantizeLinear", ["x"])), "x")


def test_an_empty_constant_normalises_no_pixels():
    assert not scales_pixels(steps(("Add", ["x", "k"]), k=np.ones(0)), "x")


def test_an_input_whose_size_is_read_is_recognised():
    """A module that asks for its batch, as for a class token, has a Shape of the input."""
    model = steps(("Div", ["x", "k"]), k=255)
    model.graph.node.append(onnx.helper.make_node("Shape", ["x"], ["sizes"]))
    assert scales_pixels(model, "x")
    scale = {"s": np.float32(0.5), "z": np.uint8(3)}
    quantized = model_of(
        [("Shape", ["x"], ["n"], {}), ("DequantizeLinear", ["x", "s", "z"], ["y"], {})], scale, {"x": ["n", 4]}
    )
    assert input_quantization(quantized, "x") == (0.5, 3)


READ_WITH_A_SCALE = {
    "a convolution": [("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"], {})],
    "a product": [
        ("Flatten", ["x"], ["f"], {}),
        ("QLinearMatMul", ["f", "s", "z", "w", "t", "z", "t", "z"], ["y"], {}),
    ],
    "the right side of a sum": [("QLinearAdd", ["w", "t", "z", "x", "s", "z", "t", "z"], ["y"], {})],
    "dequantization of moved axes": [
        ("Transpose", ["x"], ["t0"], {"perm": [0, 3, 1, 2]}),
        ("DequantizeLinear", ["t0", "s", "z"], ["y"], {}),
    ],
    "two operators alike": [
        ("DequantizeLinear", ["x", "s", "z"], ["d"], {}),
        ("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"], {}),
    ],
}
READ_WITHOUT_ONE = {
    "integers": [("ConvInteger", ["x", "w", "z"], ["y"], {})],
    "floats": [("Cast", ["x"], ["c"], {"to": 1}), ("DequantizeLinear", ["c", "s"], ["y"], {})],
    "two scales": [("DequantizeLinear", ["x", "s", "z"], ["d"], {}), ("DequantizeLinear", ["x", "t", "z"], ["y"], {})],
}


@pytest.mark.parametrize("which", {**READ_WITH_A_SCALE, **READ_WITHOUT_ONE})
def test_the_scale_of_an_integer_input_is_that_of_the_operators_that_read_it(which):
    stored = {"s": np.float32(0.25), "t": np.float32(0.5), "z": np.uint8(7), "w": np.ones((4, 4), np.uint8)}
    model = model_of({**READ_WITH_A_SCALE, **READ_WITHOUT_ONE}[which], stored, {"x": ["n", 2, 2, 4]})
    assert input_quantization(model, "x") == ((0.25, 7) if which in READ_WITH_A_SCALE else None)


def test_rows_of_a_table_that_the_input_chooses_are_no_pixels():
    model = steps(("Gather", ["k", "x"]), ("Div", ["x", "s"]), k=np.ones((5, 1)), s=127.5)
    assert not scales_pixels(model, "x")


def test_an_input_that_is_also_read_elsewhere_is_not_recognised():
    model = steps(("Div", ["x", "k"]), k=255)
    model.graph.node.append(onnx.helper.make_node("Identity", ["x"], ["again"]))
    assert not scales_pixels(model, "x")
