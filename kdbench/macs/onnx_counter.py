"""Count the canonical multiply–accumulates of an ONNX file from its graph, including those in If, Loop and Scan."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.macs import LayerMacs, MacsReport
from kdbench.macs.onnx_formulas import BY_DOMAIN, FORMULAS
from kdbench.macs.onnx_graph import (
    DOMAINS,
    Graph,
    KnownValues,
    Model,
    Operation,
    Shape,
    computed,
    fixed_tensors,
    layer_name,
    load_graph,
    operator_name,
)
from kdbench.macs.onnx_shapes import infer, infer_body
from kdbench.macs.operators import ONNX
from kdbench.modelfile.graphs.weights import subgraphs

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators whose work is that of their subgraphs."""


@dataclass
class Tally:
    """The MACs of a graph by layer, for the batch of its shapes, and the operators that could not be counted."""

    layers: list[LayerMacs] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """The sum over the layers."""
        return sum(macs for *_, macs in self.layers)


def count_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> MacsReport:
    """Count the multiply–accumulates of one sample through the ONNX file at `path`, canonical convention.

    `input_shape`, without the batch axis, is needed only if the file leaves it open. A file with a fixed batch is
    counted at that batch, and the count is divided by it. Branches of If count if the condition is a constant or all
    have equal MACs, bodies of Loop and Scan if the number of iterations is known; otherwise their content is listed as
    uncounted. Nodes that depend on no input are not counted, because a runtime computes them once, when it loads the
    file. Raises InputError for a file that is not a model, or whose first axis is not the batch.
    """
    model = load_graph(path)
    known, batch = infer(model, input_shape)
    _require_batch_axis(model, known, batch, path)
    tally = count_graph(model, model.graph, known)
    layers = [(name, operator, macs // batch) for name, operator, macs in tally.layers if macs % batch == 0]
    uneven = [f"{operator} (not the same for every sample)" for _, operator, macs in tally.layers if macs % batch]
    return MacsReport.of("canonical", layers, [*tally.uncounted, *uneven])


def _require_batch_axis(model: Model, known: KnownValues, batch: int, path: Path) -> None:
    """Raise InputError for a fixed batch that no output has: the first axis has another meaning, such as time steps."""
    rows = [known.shapes[output.name][0] for output in model.graph.output if known.shapes.get(output.name)]
    if rows and batch > 1 and batch not in rows:
        message = f"{path} maps {batch} inputs to {rows[0]} outputs: its first axis is not the batch"
        raise InputError(message, "export it with a batch axis in front, such as 1x3x32x32")


def count_graph(model: Model, graph: Graph, known: KnownValues) -> Tally:
    """Count the nodes of `graph`, which is the main graph of `model` or a subgraph."""
    tally = Tally()
    known = replace(known, fixed=fixed_tensors(graph, known.fixed))
    for part in (count_node(model, Operation(node, known)) for node in computed(graph, known.fixed)):
        tally.layers += part.layers
        tally.uncounted += part.uncounted
    return tally


def count_node(model: Model, operation: Operation) -> Tally:
    """Count one node of `model` or of a subgraph, including the node's subgraphs."""
    if any(True for _ in subgraphs(operation.node)):
        return _count_subgraphs(model, operation)
    macs, reason = _count(operation)
    layer = (layer_name(operation.node), operation.node.op_type, macs)
    return Tally([layer] if macs else [], [reason] if reason else [])


def _count(operation: Operation) -> tuple[int, str]:
    """Return the MACs of a node, and the reason, if any, why they are unknown."""
    node = operation.node
    formula = BY_DOMAIN.get((node.domain, node.op_type))
    if formula is None and node.domain in DOMAINS:
        formula = FORMULAS.get(node.op_type)
    if formula is None:
        unknown = node.op_type not in ONNX.get(node.domain, ())
        return 0, operator_name(node) if unknown else ""
    try:
        macs = formula(operation)
    except KeyError as tensor:
        return 0, f"{node.op_type} (shape of {tensor.args[0]} unknown)"
    except (IndexError, ValueError):  # an operand is missing or has too few axes: no runtime would run the node
        return 0, f"{node.op_type} (operands of incompatible shapes)"
    return (0, f"{node.op_type} (in a form without a formula)") if macs is None else (macs, "")


def _count_subgraphs(model: Model, operation: Operation) -> Tally:
    """Count a node's subgraphs, multiplied by their number of runs. Branches with equal MACs count once."""
    node, tallies, times = operation.node, [], []
    for body in bodies(operation):
        inside = infer_body(model, body.graph, body.shapes, body.constants, operation.known)
        inside = replace(inside, fixed=operation.known.fixed)
        tallies.append(count_graph(model, body.graph, inside))
        times.append(body.runs(inside))
    first = tallies[0]
    equal = node.op_type == "If" and all(t.macs == first.macs and not t.uncounted for t in tallies)
    runs = 1 if equal else times[0] if len(times) == 1 else None
    uncounted = [f"{what} (inside {node.op_type})" for tally in tallies for what in tally.uncounted]
    if node.op_type not in _CONTROL_FLOW:  # such as FlexAttention, which multiplies matrices around its subgraphs
        uncounted.append(operator_name(node))
    if runs is not None:
        return Tally([(f"{layer_name(node)}/{name}", op, runs * macs) for name, op, macs in first.layers], uncounted)
    unknown = [f"{op} (inside {node.op_type})" for tally in tallies for _, op, _ in tally.layers]
    return Tally([], [*unknown, *uncounted])


@dataclass(frozen=True)
class Body:
    """A subgraph that runs `times` times (None if unknown), with the known facts about its inputs.

    carried: pairs of an input and the output that a run passes to the next run's input.
    condition: the output that must be true for another run.
    """

    graph: Graph
    times: int | None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    carried: tuple[tuple[str, str], ...] = ()
    condition: str = ""

    def runs(self, inside: KnownValues) -> int | None:
        """Return the number of runs, given the facts `inside` the subgraph; None if they may end early or differ."""
        steady = all(
            before in self.shapes and inside.shapes.get(after) == self.shapes[before] for before, after in self.carried
        )
        continues = not self.condition or bool(inside.constants.get(self.condition, False))
        return self.times if steady and continues else None


def bodies(operation: Operation) -> list[Body]:
    """Return the subgraphs that a node may run; for If, without a branch that a constant condition excludes."""
    plan = {"If": _branches, "Loop": _loop, "Scan": _scan}.get(operation.node.op_type)
    return plan(operation) if plan else [Body(graph, None) for graph in subgraphs(operation.node)]


def _branches(operation: Operation) -> list[Body]:
    condition = operation.constant(0)
    if condition is None:
        return [Body(operation.attribute(name, None), None) for name in ("then_branch", "else_branch")]
    return [Body(operation.attribute("then_branch" if condition.all() else "else_branch", None), 1)]


def _loop(operation: Operation) -> list[Body]:
    """Return the body, with inputs (trip number, condition, carried …) and outputs (condition, carried …, scans …)."""
    import numpy as np

    body = operation.attribute("body", None)
    trip, condition, *carried = (value.name for value in body.input)
    condition_out, *outputs = (value.name for value in body.output)
    limit, first = operation.constant(0), operation.constant(1)
    entered = not operation.has(1) or (first is not None and bool(first.all()))
    return [
        Body(
            body,
            times=int(limit.reshape(-1)[0]) if limit is not None and entered else None,
            shapes={trip: (), **_known_shapes(operation, carried, operation.node.input[2:])},
            constants={condition: np.array(True)},
            carried=tuple(zip(carried, outputs[: len(carried)], strict=True)),
            condition=condition_out,
        )
    ]


def _scan(operation: Operation) -> list[Body]:
    """Return the body, with inputs (states …, a slice of each scanned tensor)."""
    body = operation.attribute("body", None)
    names = [value.name for value in body.input]
    states = len(names) - operation.attribute("num_scan_inputs", 0)
    if len(names) != len(operation.node.input):  # opset 8: with lengths, and a batch around it
        return [Body(body, None)]
    shapes = _known_shapes(operation, names[:states], operation.node.input[:states])
    scanned = _known_shapes(operation, names[states:], operation.node.input[states:])
    axes = dict(zip(names[states:], operation.attribute("scan_input_axes", [0] * len(names[states:])), strict=True))
    for name, shape in scanned.items():
        axis = axes[name] % len(shape)
        shapes[name] = shape[:axis] + shape[axis + 1 :]
    trips = {shape[axes[name]] for name, shape in scanned.items()}
    # The other outputs are the scans.
    carried = tuple(zip(names[:states], (value.name for value in body.output), strict=False))
    return [Body(body, times=trips.pop() if len(trips) == 1 else None, shapes=shapes, carried=carried)]


def _known_shapes(operation: Operation, names: list[str], outside: Any) -> dict[str, Shape]:
    """Return the known shapes of a body's inputs `names`, which are the tensors `outside` the body."""
    shapes = operation.known.shapes
    return {name: shapes[tensor] for name, tensor in zip(names, outside, strict=True) if tensor in shapes}
