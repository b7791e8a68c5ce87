"""Small ONNX files that are valid as messages and impossible as models."""

import random
from collections.abc import Callable

from onnx import ModelProto, TensorProto, helper

from benchmarks.faults.material.mutations import damaged

_FLOAT = TensorProto.FLOAT
_SIZES = (0, -1, -(2**63), 2**31, 2**62, 10**9, 100_000)
_OPERATORS = (
    *("Identity", "Cast", "Reshape", "Flatten", "Transpose", "Gather", "Slice", "Constant", "TopK", "Softmax", "Add"),
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "MatMulNBits", "Conv", "MatMul"),
    *("Gemm", "Mul", "BatchNormalization", "If", "Loop", "Scan", "Shape", "Concat", "Split", "LSTM", "Einsum"),
)
_PLACES = ("/etc/passwd", "../../../etc/passwd", "/dev/zero", ".", "", "a\0b", "x" * 5000, "model.onnx", "missing.bin")


def linear() -> ModelProto:
    """Return 64 pixels times a matrix: the model that the others are made from."""
    weights = helper.make_tensor("w", _FLOAT, [64, 10], bytes(4 * 640), raw=True)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["z"])]
    return _model(nodes, [weights])


def _model(nodes: list[object], stored: list[TensorProto], outputs: int | None = 10) -> ModelProto:
    x = helper.make_tensor_value_info("x", _FLOAT, [None, 1, 8, 8])
    z = helper.make_tensor_value_info("z", _FLOAT, [None, outputs])
    graph = helper.make_graph(nodes, "g", [x], [z], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _input(dice: random.Random) -> ModelProto:
    model = linear()
    shape = dice.choice(
        ([None, 1, 8, dice.choice(_SIZES)], [dice.choice(_SIZES), 1, 8, 8], [], None, [None] * 20, [None])
    )
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", dice.choice((1, 1, 1, 0, 7, 8, 99)), shape))
    return model


def _output(dice: random.Random) -> ModelProto:
    model = linear()
    shape = dice.choice(([None, dice.choice(_SIZES)], [], None, [None, None], [1, 1, 1, 1, 1]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", dice.choice((1, 1, 7, 8, 99)), shape))
    return model


def _tensor(dice: random.Random) -> ModelProto:
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.dims[dice.randrange(2)] = dice.choice(_SIZES)
    if dice.random() < 0.3:
        tensor.data_type = dice.choice((0, 8, 22, 99, -1))
    if dice.random() < 0.3:
        tensor.ClearField("raw_data")
    return model


def _external(dice: random.Random) -> ModelProto:
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    numbers = ("0", "2560", "-1", "9" * 30, "x", "")
    for key, value in zip(("location", "offset", "length"), (_PLACES, numbers, numbers), strict=True):
        tensor.external_data.add(key=key, value=dice.choice(value))
    return model


def _cycle(dice: random.Random) -> ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    if dice.random() < 0.5:
        return _model([*nodes, helper.make_node("Flatten", ["a"], ["z"])], [], 64)
    model = linear()
    call = helper.make_node("F", ["a"], ["b"], domain="own")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [call], opsets))
    model.opset_import.append(opsets[1])
    model.graph.node.append(helper.make_node("F", ["z"], ["y"], domain="own"))
    model.graph.output[0].name = "y"
    return model


def _connected(dice: random.Random) -> ModelProto:
    """Return a model of nodes with any number of operands, connected anyhow."""
    values = ["x", "a", "b", "z", "", "w"]
    own = dice.choice(("", "", "own", "com.microsoft"))
    nodes = [
        helper.make_node(
            dice.choice(_OPERATORS),
            dice.choices(values, k=dice.choice((0, 1, 1, 2, 3, 9))),
            dice.choices(values[1:5], k=dice.choice((0, 1, 1, 1, 2))),
            domain=own,
        )
        for _ in range(dice.choice((1, 2, 4, 20)))
    ]
    model = _model(nodes, [helper.make_tensor("w", _FLOAT, [64, 10], bytes(4 * 640), raw=True)])
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _large(dice: random.Random) -> ModelProto:
    """Return a small file whose answer needs any amount of memory."""
    sizes = helper.make_tensor("s", TensorProto.INT64, [2], [dice.choice(_SIZES), 64])
    make = (
        helper.make_node("Expand", ["f", "s"], ["e"])
        if dice.random() < 0.5
        else helper.make_node("ConstantOfShape", ["s"], ["e"])
    )
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), make, helper.make_node("ReduceSum", ["e"], ["r"], keepdims=0)]
    return _model([*nodes, helper.make_node("Add", ["f", "r"], ["z"])], [sizes], 64)


def _attributes(dice: random.Random) -> ModelProto:
    kernel = helper.make_tensor("w", _FLOAT, [4, 1, 3, 3], bytes(4 * 36), raw=True)
    name = dice.choice(("pads", "strides", "dilations", "kernel_shape", "group"))
    value = dice.choice(_SIZES)
    conv = helper.make_node(
        "Conv", ["x", "w"], ["c"], **{name: value if name == "group" else [value] * (4 if name == "pads" else 2)}
    )
    return _model([conv, helper.make_node("Flatten", ["c"], ["z"])], [kernel], None)


def _words(dice: random.Random) -> ModelProto:
    model = linear()
    word = dice.choice(("", "a\0b", "x" * 100_000, "\x1b[31m<b>", "../x"))
    match dice.randrange(4):
        case 0:
            model.graph.node[0].op_type = word or "Nonsense"
        case 1:
            model.graph.node[0].input[0] = model.graph.input[0].name = word
        case 2:
            model.metadata_props.add(
                key=dice.choice(("names", "imgsz", "stride")), value=dice.choice(("[" * 50_000, "{", "[-1,-1]", word))
            )
        case _:
            model.opset_import[0].version = dice.choice(_SIZES)
            model.ir_version = dice.choice((0, 8, 2**40))
    return model


_KINDS: tuple[Callable[[random.Random], ModelProto], ...] = (
    _input, _output, _tensor, _external, _cycle, _connected, _large, _attributes, _words,
)  # fmt: skip


def hostile_model(dice: random.Random) -> bytes:
    """Return the bytes of a random model: impossible, damaged, or a message that claims gigabytes."""
    kind = dice.random()
    if kind < 0.3:
        return damaged(linear().SerializeToString(), dice)
    if kind < 0.35:
        return dice.choice(
            (
                b"\x08\x08\x3a" + b"\xff" * 8 + b"\x7f",
                b"\x3a\xff\xff\xff\xff\x07",
                b"\xff" * 5000,
                b"\x04\0\0\0ORTM" + bytes(400),
            )
        )
    content: bytes = dice.choice(_KINDS)(dice).SerializeToString()
    return content


def endless() -> bytes:
    """Return a model that never answers: a loop of 2^62 turns."""
    names = ("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("v", _FLOAT, [None, 64])
    inputs = [helper.make_tensor_value_info(*name) for name in names]
    outputs = [helper.make_tensor_value_info(f"{name[0]}o", *name[1:]) for name in names[1:]]
    nodes = [helper.make_node("Identity", [name], [f"{name}o"]) for name in "cv"]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    stored = [
        helper.make_tensor("n", TensorProto.INT64, [], [2**62]),
        helper.make_tensor("t", TensorProto.BOOL, [], [True]),
    ]
    stored.append(helper.make_tensor("w", _FLOAT, [64, 10], bytes(4 * 640), raw=True))
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Loop", ["n", "t", "f"], ["l"], body=body),
        helper.make_node("MatMul", ["l", "w"], ["z"]),
    ]
    content: bytes = _model(nodes, stored).SerializeToString()
    return content
