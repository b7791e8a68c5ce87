"""The shapes of pools that round their number of windows up (`ceil_mode`).

A window that would begin behind the input and its padding in front is left out, by runtimes and by torch. onnx's
inference counts it before opset 22.
"""

from typing import Any

from kdbench.macs.onnx_graph import Graph, Node, Shape, Shapes

_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})


def correct_pool(graph: Graph, shapes: Shapes) -> bool:
    """Rewrite the first pool of `graph` whose output in `shapes` has windows behind its input; return whether one had.

    What follows the pool then has other shapes, so the caller infers them again.
    """
    return any(_corrected(node, shapes) for node in graph.node if node.op_type in _POOLS)


def _corrected(node: Node, shapes: Shapes) -> bool:
    """Let a pool round down, with as much padding as its windows need, if its shape is wrong; return whether it was."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    size, pooled = shapes.get(node.input[0]), shapes.get(node.output[0])
    rounds_up = "ceil_mode" in attributes and attributes["ceil_mode"].i
    same = "auto_pad" in attributes and attributes["auto_pad"].s.startswith(b"SAME")
    if not rounds_up or same or size is None or pooled is None or "kernel_shape" not in attributes:
        return False
    windows, pads = _windows(attributes, size[2:])
    if windows == pooled[2:]:
        return False
    from onnx import helper

    kept = [attribute for name, attribute in attributes.items() if name not in {"ceil_mode", "auto_pad", "pads"}]
    padded = helper.make_attribute("pads", pads)
    del node.attribute[:]
    node.attribute.extend([*kept, padded])
    return True


def _windows(attributes: dict[str, Any], size: Shape) -> tuple[Shape, list[int]]:
    """Return the number of windows along each axis of `size`, and the pads with which as many remain rounded down."""
    axes = len(size)
    kernel = attributes["kernel_shape"].ints
    strides, dilations = (
        attributes[name].ints if name in attributes else [1] * axes for name in ("strides", "dilations")
    )
    valid = "auto_pad" in attributes and attributes["auto_pad"].s == b"VALID"
    pads = list(attributes["pads"].ints) if "pads" in attributes and not valid else [0] * 2 * axes
    windows = []
    for axis, length in enumerate(size):
        reach, before, after = dilations[axis] * (kernel[axis] - 1) + 1, pads[axis], pads[axis + axes]
        count = -(-(length + before + after - reach) // strides[axis]) + 1
        if (count - 1) * strides[axis] >= length + before:
            count -= 1
        windows.append(count)
        pads[axis + axes] = max(after, (count - 1) * strides[axis] + reach - length - before)
    return tuple(windows), pads
