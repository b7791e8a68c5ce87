"""A hand-built .tflite file: one fully connected layer on images with channels last."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {np.dtype("float32"): schema.TensorType.FLOAT32, np.dtype("int8"): schema.TensorType.INT8,
          np.dtype("int32"): schema.TensorType.INT32}  # fmt: skip


def tflite_of(weights, shape, *, batch=1, scales=None):
    """Return the bytes of a model that maps (batch, *shape) to (batch, classes) by `weights` (classes, pixels).

    `scales` (input, weights, output) make it one of INT8 with zero point 0; `weights` are then integers.
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
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1 if scales is None else 4
    layer.inputs, layer.outputs, layer.opcodeIndex = [0, 1, -1], [2], 0
    layer.builtinOptionsType, layer.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
    graph.inputs, graph.outputs, graph.operators = [0], [2], [layer]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
