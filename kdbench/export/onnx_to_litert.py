"""Conversion of an ONNX file to .tflite through torch: `PYTHON onnx_to_litert.py SOURCE TARGET OUTPUT SHAPE LAYOUT`.

A script for a separate environment, because `litert-torch` needs other versions of torch and related packages than
kdbench. It imports nothing of kdbench and does not use the network. If it fails, the last line of its error output is
the reason. The caller checks that the new file returns the same outputs (`kdbench.measure.admission`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional as F  # noqa: N812 - its customary name

Attributes = Mapping[str, Any]


class UnknownOperatorError(Exception):
    """Raised for an operator, or an attribute of it, that this file does not translate."""


def _padding(attributes: Attributes, x: torch.Tensor, kernel: Sequence[int], value: float) -> torch.Tensor:
    """Return `x` (N, C, *sides) padded as a convolution or pooling with these attributes requires."""
    dims = len(kernel)
    strides, dilations = (attributes.get(name, [1] * dims) for name in ("strides", "dilations"))
    pads = list(attributes.get("pads", [0] * 2 * dims))
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        for axis, (side, size, stride, dilation) in enumerate(
            zip(x.shape[2:], kernel, strides, dilations, strict=True)
        ):
            total = max((-(-side // stride) - 1) * stride + dilation * (size - 1) + 1 - side, 0)
            small, large = total // 2, total - total // 2
            pads[axis], pads[axis + dims] = (small, large) if automatic == "SAME_UPPER" else (large, small)
    if not any(pads):
        return x
    return F.pad(x, [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)], value=value)


def _conv(a: Attributes, x: Any, w: Any, b: Any = None) -> Any:
    dims = w.ndim - 2
    run = {1: F.conv1d, 2: F.conv2d}[dims]
    x = _padding(a, x, w.shape[2:], 0.0)
    return run(x, w, b, a.get("strides", [1] * dims), 0, a.get("dilations", [1] * dims), a.get("group", 1))


def _max_pool(a: Attributes, x: Any) -> Any:
    if a.get("ceil_mode"):
        raise UnknownOperatorError("MaxPool with ceil_mode")
    return F.max_pool2d(_padding(a, x, a["kernel_shape"], -torch.inf), a["kernel_shape"], a.get("strides", 1))


def _average_pool(a: Attributes, x: Any) -> Any:
    padded = _padding(a, x, a["kernel_shape"], 0.0)
    if a.get("ceil_mode") or (padded is not x and not a.get("count_include_pad")):
        raise UnknownOperatorError("AveragePool whose padding does not count")
    return F.avg_pool2d(padded, a["kernel_shape"], a.get("strides", 1))


def _gemm(a: Attributes, x: Any, w: Any, b: Any = None) -> Any:
    product = a.get("alpha", 1.0) * ((x.T if a.get("transA") else x) @ (w.T if a.get("transB") else w))
    return product if b is None else product + a.get("beta", 1.0) * b


def _slice(_: Attributes, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    axes = range(len(starts)) if axes is None else axes
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, [1] * len(starts) if steps is None else steps, strict=True):
        index[int(axis)] = slice(int(start), int(end) if abs(int(end)) < 1 << 30 else None, int(step))
    return x[tuple(index)]


def _pad(a: Attributes, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    if a.get("mode", "constant") != "constant" or axes is not None:
        raise UnknownOperatorError("Pad with another mode, or axes")
    both = [int(pads[axis + end * x.ndim]) for axis in reversed(range(x.ndim)) for end in (0, 1)]
    return F.pad(x, both, value=0.0 if value is None else float(value))


def _reshape(_: Attributes, x: Any, shape: Any) -> Any:
    return x.reshape([x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(shape)])


def _reduce_mean(a: Attributes, x: Any, axes: Any = None) -> Any:
    chosen = a.get("axes", axes)
    return x.mean([*range(x.ndim)] if chosen is None else [int(axis) for axis in chosen], bool(a.get("keepdims", 1)))


def _normalization(a: Attributes, x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
    return F.batch_norm(x, mean, variance, scale, shift, eps=a.get("epsilon", 1e-5))


def _axes(a: Attributes, axes: Any) -> list[int]:
    return [int(axis) for axis in (a["axes"] if axes is None else axes)]


def _squeeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    return x.squeeze(_axes(a, axes))


def _unsqueeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    for axis in sorted(_axes(a, axes)):
        x = x.unsqueeze(axis)
    return x


def _clip(a: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    least, most = a.get("min", low), a.get("max", high)
    return x.clamp(None if least is None else float(least), None if most is None else float(most))


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Add": lambda _, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _normalization,
    "Clip": _clip,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": lambda _, x, y: x / y,
    "Dropout": lambda _, x, *__: x,
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean([*range(2, x.ndim)], keepdim=True),
    "HardSigmoid": lambda a, x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda _, x: F.hardswish(x),
    "Identity": lambda _, x: x,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MatMul": lambda _, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda _, x, y: x * y,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, x: x.relu(),
    "Reshape": _reshape,
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Squeeze": _squeeze,
    "Sub": lambda _, x, y: x - y,
    "Tanh": lambda _, x: x.tanh(),
    "Transpose": lambda a, x: x.permute(a.get("perm", [*range(x.ndim)][::-1])),
    "Unsqueeze": _unsqueeze,
}
"""The function of each operator, of its attributes and inputs: tensors, or numpy arrays of constant integers."""


class Graph(torch.nn.Module):
    """An ONNX graph with one input and one output, as a torch module; constant integers stay numpy arrays."""

    def __init__(self, model: onnx.ModelProto, output: str) -> None:
        super().__init__()
        self._nodes = [(node, _attributes(node)) for node in model.graph.node]
        self._output = output
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        stored |= {node.output[0]: numpy_helper.to_array(a["value"]) for node, a in self._nodes if "value" in a}
        self._input = next(value.name for value in model.graph.input if value.name not in stored)
        self._numbers = {name: array for name, array in stored.items() if array.dtype.kind in "iub"}
        self._weights = {}
        for place, (name, array) in enumerate(stored.items()):
            if name not in self._numbers:
                self._weights[name] = f"weight_{place}"
                self.register_buffer(self._weights[name], torch.from_numpy(np.array(array)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output for `x` (N, *shape). Raises UnknownOperatorError."""
        values: dict[str, Any] = {self._input: x, "": None, **self._numbers}
        values |= {name: getattr(self, buffer) for name, buffer in self._weights.items()}
        for node, attributes in self._nodes:
            if node.op_type != "Constant":
                values[node.output[0]] = _computed(node, attributes, [values[name] for name in node.input])
        output: torch.Tensor = values[self._output]
        return output


def _computed(node: onnx.NodeProto, attributes: Attributes, inputs: Sequence[Any]) -> Any:
    """Return the first output of a node: a tensor, or a numpy array if all its inputs are constant integers."""
    if node.op_type == "Shape":
        return np.array(inputs[0].shape)[attributes.get("start", 0) : attributes.get("end")]
    present = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    if present and all(isinstance(value, np.ndarray) for value in present.values()):
        return ReferenceEvaluator(node).run(None, present)[0]
    if node.op_type not in OPERATORS:
        raise UnknownOperatorError(f"{node.op_type} is not translated")
    return OPERATORS[node.op_type](attributes, *inputs)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def main(source: str, target: str, output: str, shape: str, layout: str) -> None:
    """Convert the model `source` to `target`, for inputs of `shape`, batch first; layout NCHW becomes channels-last."""
    import litert_torch

    graph: torch.nn.Module = Graph(onnx.load(source), output).eval()
    sizes = [int(size) for size in shape.split(",")]
    sample = torch.zeros(sizes)
    if layout == "NCHW":
        graph, sample = litert_torch.to_channel_last_io(graph, args=[0]), torch.zeros([sizes[0], *sizes[2:], sizes[1]])
    litert_torch.convert(graph, (sample,)).export(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
