"""Hand-built graphs whose values carry their types and shapes."""

from onnx import TensorProto, helper

IMAGES = (2, 3, 4)


def graph_of(inputs, outputs, nodes=None, stored=(), opset=17):
    nodes = nodes or [helper.make_node("Identity", [inputs[0].name], [value.name]) for value in outputs]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(stored))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)
