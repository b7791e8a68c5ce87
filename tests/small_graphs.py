"""Hand-built ONNX graphs for tests of compression, and their answers from onnxruntime."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def model_of(nodes, weights, inputs, outputs=("y",), *, opset=17):
    """Build a model: `nodes` are (operator, inputs, outputs, attributes), `inputs` shapes by name, float32."""
    made = [
        helper.make_node(op, list(read), list(written), name=f"{op}_{position}", **attributes)
        for position, (op, read, written, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 19 else 9)


def session_of(model):
    """Load a model or a file in onnxruntime, without its warnings."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(model, **inputs):
    """Return the first output of a model on inputs by name."""
    return session_of(model).run(None, inputs)[0]


def stored(model, name):
    """Return the stored values called `name`."""
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


def optimised(model, folder):
    """Return the graph that onnxruntime runs for a model on this machine."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)
