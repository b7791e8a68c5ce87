"""Whether the nodes of an ONNX graph have the inputs and outputs that their operators need.

Everything else may then take them by position. Operators that onnx does not define are not checked.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.characters import shortened
from kdbench.errors import InputError
from kdbench.modelfile.graphs.weights import nodes_within

if TYPE_CHECKING:
    import onnx

_SHOWN = 80  # characters of a name
# Inputs of operators of onnxruntime's own that are taken by position.
_OF_ONNXRUNTIME = {"MatMulNBits": 3, "MatMulBnb4": 3, "GatherBlockQuantized": 3}


def require_operands(model: "onnx.ModelProto", path: Path) -> None:
    """Raise InputError for a node of `model`, read from `path`, that lacks an input or output of its operator."""
    for node, opsets in _nodes(model):
        inputs, outputs = _least(node.op_type, node.domain, opsets)
        if len(node.input) < inputs or len(node.output) < outputs:
            name = shortened(node.name or ", ".join(node.output) or "without a name", _SHOWN)
            has = f"{len(node.input)} inputs and {len(node.output)} outputs"
            message = f"{path} is damaged: its {node.op_type} node {name!r} has {has}, and needs {inputs} and {outputs}"
            raise InputError(message, "copy the model again, or export it again")


_Opsets = frozenset[tuple[str, int]]


def _nodes(model: "onnx.ModelProto") -> "Iterator[tuple[onnx.NodeProto, _Opsets]]":
    for part, nodes in ((model, model.graph.node), *((function, function.node) for function in model.functions)):
        opsets = frozenset((_domain(one.domain), one.version) for one in part.opset_import)
        for node in nodes_within(nodes):
            yield node, opsets


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


@lru_cache(maxsize=4096)
def _least(operator: str, domain: str, opsets: _Opsets) -> tuple[int, int]:
    """Return how many inputs and outputs an operator has at least; zeros for an unknown one."""
    from onnx import defs

    version = next((version for name, version in opsets if name == _domain(domain)), None)
    if version is None or not 0 < version < 1 << 31:
        return _OF_ONNXRUNTIME.get(operator, 0), 0
    try:
        schema = defs.get_schema(operator, version, _domain(domain))
    except defs.SchemaError:
        return _OF_ONNXRUNTIME.get(operator, 0), 0
    return schema.min_input, schema.min_output
