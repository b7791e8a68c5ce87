"""The graphs that If, Loop and Scan hold: what is known of their inputs, and how often they run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kdbench.macs.onnx_graph import Graph, Known, Operation, Shape
from kdbench.modelfile.weights import subgraphs


@dataclass(frozen=True)
class Body:
    """A graph that is run `times`, None where that cannot be told, with what is known of its own inputs.

    `carried` names the inputs and the outputs that one run hands to the next; `going`, an output that must be true
    for a next run.
    """

    graph: Graph
    times: int | None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    carried: tuple[tuple[str, str], ...] = ()
    going: str = ""

    def runs(self, inside: Known) -> int | None:
        """Return how often it runs, now that its tensors are known; None if a run may end it or differ from others."""
        steady = all(
            given in self.shapes and inside.shapes.get(made) == self.shapes[given] for given, made in self.carried
        )
        goes_on = not self.going or bool(inside.constants.get(self.going, False))
        return self.times if steady and goes_on else None


def bodies(operation: Operation) -> list[Body]:
    """Return what a node that holds graphs may run: of If, the branches that are not ruled out."""
    held = list(subgraphs(operation.node))
    plan = {"If": _branches, "Loop": _loop, "Scan": _scan}.get(operation.node.op_type)
    return plan(operation) if plan else [Body(graph, None) for graph in held]


def _branches(operation: Operation) -> list[Body]:
    condition = operation.constant(0)
    if condition is None:
        return [Body(operation.attribute(name, None), None) for name in ("then_branch", "else_branch")]
    return [Body(operation.attribute("then_branch" if condition.all() else "else_branch", None), 1)]


def _loop(operation: Operation) -> list[Body]:
    """Return the body, of inputs (trip number, condition, carried …) and outputs (condition, carried …, scans …)."""
    body = operation.attribute("body", None)
    trip, condition, *carried = (value.name for value in body.input)
    going, *made = (value.name for value in body.output)
    limit, first = operation.constant(0), operation.constant(1)
    entered = not operation.has(1) or (first is not None and bool(first.all()))
    return [
        Body(
            body,
            times=int(limit.reshape(-1)[0]) if limit is not None and entered else None,
            shapes={trip: (), **_given(operation, carried, operation.node.input[2:])},
            constants=_true(condition),
            carried=tuple(zip(carried, made[: len(carried)], strict=True)),
            going=going,
        )
    ]


def _scan(operation: Operation) -> list[Body]:
    """Return the body, of inputs (states …, a slice of each scanned tensor)."""
    body = operation.attribute("body", None)
    names = [value.name for value in body.input]
    states = len(names) - operation.attribute("num_scan_inputs", 0)
    if len(names) != len(operation.node.input):  # opset 8: with lengths, and a batch around it
        return [Body(body, None)]
    shapes = _given(operation, names[:states], operation.node.input[:states])
    scanned = _given(operation, names[states:], operation.node.input[states:])
    axes = dict(zip(names[states:], operation.attribute("scan_input_axes", [0] * len(names[states:])), strict=True))
    for name, shape in scanned.items():
        shapes[name] = (*shape[: axes[name] % len(shape)], *shape[axes[name] % len(shape) + 1 :])
    trips = {shape[axes[name]] for name, shape in scanned.items()}
    carried = tuple(zip(names[:states], (value.name for value in body.output), strict=False))  # what else: the scans
    return [Body(body, times=trips.pop() if len(trips) == 1 else None, shapes=shapes, carried=carried)]


def _given(operation: Operation, names: list[str], outside: Any) -> dict[str, Shape]:
    """Return the shapes of a body's inputs `names`, which are the tensors `outside`, where these are known."""
    shapes = operation.known.shapes
    return {name: shapes[tensor] for name, tensor in zip(names, outside, strict=True) if tensor in shapes}


def _true(name: str) -> dict[str, Any]:
    import numpy as np

    return {name: np.array(True)}
