"""A hand-built .tflite file: one fully connected layer on images with channels last."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {np.dtype("float32"): schema.TensorType.FLOAT32, np.dtype("int8"): schema.TensorType.INT8,
          np.dtype("int32"): schema.TensorType.INT32}  # fmt: skip


def tflite_of(weights, shape, *, batch=1, scales=None, reshaped=False, ends=np.int8, operator="FULLY_CONNECTED"):
    """Return the bytes of a model that maps (batch, *shape) to (batch, classes) by `weights` (classes, pixels).

    `scales` (input, weights, output) make it one of INT8 with zero point 0; `weights` are then integers. If `reshaped`,
    the shape of the output is known only after a call, as in a file of Keras with a dynamic batch and a Flatten. With
    `ends` of np.float32 a file of INT8 quantizes its input and dequantizes its output. Any other `operator` stands for
    one that a runtime lacks.
    """
    dtype = np.float32 if scales is None else np.int8
    arrays = [None, np.asarray(weights, dtype), None]
    shapes = [(batch, *shape), arrays[1].shape, (batch, len(weights))]
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = []
    for place, (array, size) in enumerate(zip(arrays, shapes, strict=True)):
        buffer = schema.BufferT()
        if array is not None:
            buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(size), _TYPES[np.dtype(dtype)]
        tensor.buffer, tensor.name = place + 1, f"t{place}"
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scales[place]], [0]
        graph.tensors.append(tensor)
    layer, code, options = schema.OperatorT(), schema.OperatorCodeT(), schema.FullyConnectedOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
    code.version = 1 if scales is None else 4
    layer.inputs, layer.outputs, layer.opcodeIndex = [0, 1, -1], [2], 0
    layer.builtinOptionsType, layer.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
    graph.inputs, graph.outputs, graph.operators = [0], [2], [layer]
    model.operatorCodes, model.subgraphs = [code], [graph]
    if reshaped:
        _reshape(graph, model)
    if scales is not None and ends == np.float32:
        _float_ends(graph, model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _reshape(graph, model):
    """Append `y = reshape(x, x.shape + 0)` to the output `x` of the graph."""
    x = graph.tensors[graph.outputs[0]]
    zero = schema.BufferT()
    zero.data = np.zeros(4, np.uint8)
    model.buffers.append(zero)
    added = [("shape", [2], 0), ("zero", [1], len(model.buffers) - 1), ("same", [2], 0), ("y", x.shape, 0)]
    for name, size, buffer in added:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(size), buffer
        tensor.type = x.type if name == "y" else schema.TensorType.INT32
        tensor.quantization = x.quantization if name == "y" else None
        graph.tensors.append(tensor)
    start = len(graph.tensors) - len(added)
    source, shape, zero_place, same, y = graph.outputs[0], *range(start, start + len(added))
    names = schema.BuiltinOperator
    ends = [(names.SHAPE, [source], shape), (names.ADD, [shape, zero_place], same), (names.RESHAPE, [source, same], y)]
    for builtin, inputs, output in ends:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        model.operatorCodes.append(code)
        operator.inputs, operator.outputs, operator.opcodeIndex = inputs, [output], len(model.operatorCodes) - 1
        if builtin == names.SHAPE:
            operator.builtinOptionsType = schema.BuiltinOptions.ShapeOptions
            operator.builtinOptions = schema.ShapeOptionsT()
            operator.builtinOptions.outType = schema.TensorType.INT32
        elif builtin == names.ADD:
            operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
            operator.builtinOptions = schema.AddOptionsT()
        graph.operators.append(operator)
    graph.outputs = [y]


def _float_ends(graph, model):
    """Put QUANTIZE before the input of the graph and DEQUANTIZE after its output."""
    inner = graph.inputs[0], graph.outputs[0]
    outer = []
    for place in inner:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"f{place}", graph.tensors[place].shape, 0, 0
        outer.append(len(graph.tensors))
        graph.tensors.append(tensor)
    names = schema.BuiltinOperator
    ends = [(names.QUANTIZE, outer[0], inner[0], 0), (names.DEQUANTIZE, inner[1], outer[1], len(graph.operators) + 1)]
    for builtin, source, target, at in ends:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 2
        model.operatorCodes.append(code)
        operator.inputs, operator.outputs, operator.opcodeIndex = [source], [target], len(model.operatorCodes) - 1
        graph.operators.insert(at, operator)
    graph.inputs, graph.outputs = [outer[0]], [outer[1]]
