"""Count the canonical multiply–accumulates of an ONNX file from its graph."""

from dataclasses import dataclass, field
from pathlib import Path

from kdbench.macs import LayerMacs, MacsReport
from kdbench.macs.onnx_control import bodies
from kdbench.macs.onnx_formulas import BY_DOMAIN, FORMULAS
from kdbench.macs.onnx_graph import DOMAINS, Graph, Known, Model, Operation, computed, layer_name, load_graph
from kdbench.macs.onnx_shapes import infer, infer_body
from kdbench.macs.weightless import ONNX
from kdbench.modelfile.weights import subgraphs


@dataclass
class Tally:
    """What a graph holds: MACs by layer, of the batch that its shapes are for, and what could not be counted."""

    layers: list[LayerMacs] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """The sum over the layers."""
        return sum(macs for *_, macs in self.layers)


def count_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> MacsReport:
    """Count the multiply–accumulates of one sample through the ONNX file at `path`, canonical convention.

    `input_shape`, without the batch axis, is needed only where the file leaves it open. A file made for a fixed
    batch is counted at that batch and divided by it. The branches of If count where the condition is a constant or
    they cost the same, the bodies of Loop and Scan where their number of trips is known; otherwise what is in them
    is listed as uncounted. What depends on no input is not counted: a runtime computes it once, when it loads the
    file. Raises InputError for a file that is no model.
    """
    model = load_graph(path)
    known, batch = infer(model, input_shape)
    tally = count_graph(model, model.graph, known)
    layers = [(name, operator, macs // batch) for name, operator, macs in tally.layers if macs % batch == 0]
    uneven = [f"{operator} (not the same for every sample)" for _, operator, macs in tally.layers if macs % batch]
    return MacsReport.of("canonical", layers, [*tally.uncounted, *uneven])


def count_graph(model: Model, graph: Graph, known: Known) -> Tally:
    """Count the nodes of `graph`, which is `model`'s own or held by one of its nodes."""
    tally = Tally()
    for node in computed(graph):
        found = count_node(model, Operation(node, known))
        tally.layers += found.layers
        tally.uncounted += found.uncounted
    return tally


def count_node(model: Model, operation: Operation) -> Tally:
    """Count one node of `model`, or of a graph that it holds, and all that the node holds."""
    if any(True for _ in subgraphs(operation.node)):
        return _held(model, operation)
    macs, reason = _count(operation)
    layer = (layer_name(operation.node), operation.node.op_type, macs)
    return Tally([layer] if macs else [], [reason] if reason else [])


def _count(operation: Operation) -> tuple[int, str]:
    """Return the MACs of a node, and the reason, if any, why they cannot be told."""
    node = operation.node
    formula = BY_DOMAIN.get((node.domain, node.op_type), FORMULAS.get(node.op_type))
    if node.domain in DOMAINS and formula is None and node.op_type in ONNX:
        return 0, ""
    if node.domain not in DOMAINS or formula is None:
        return 0, f"{node.domain}::{node.op_type}".removeprefix("::")
    try:
        macs = formula(operation)
    except KeyError as unknown:
        return 0, f"{node.op_type} (shape of {unknown.args[0]} unknown)"
    except (IndexError, ValueError):  # it lacks an operand, or one has too few axes: no runtime would take it
        return 0, f"{node.op_type} (operands that do not fit)"
    return (0, f"{node.op_type} (of a form without a formula)") if macs is None else (macs, "")


def _held(model: Model, operation: Operation) -> Tally:
    """Count what a node's graphs hold, as often as they run. Branches that cost the same count as one of them."""
    node, tallies, times = operation.node, [], []
    for body in bodies(operation):
        inside = infer_body(model, body.graph, body.shapes, body.constants, operation.known)
        tallies.append(count_graph(model, body.graph, inside))
        times.append(body.runs(inside))
    first = tallies[0]
    alike = node.op_type == "If" and all(t.macs == first.macs and not t.uncounted for t in tallies)
    runs = 1 if alike else times[0] if len(times) == 1 else None
    uncounted = [f"{what} (inside {node.op_type})" for tally in tallies for what in tally.uncounted]
    if runs is not None:
        return Tally([(f"{layer_name(node)}/{name}", op, runs * macs) for name, op, macs in first.layers], uncounted)
    unknown = [f"{op} (inside {node.op_type})" for tally in tallies for _, op, _ in tally.layers]
    return Tally([], [*unknown, *uncounted])
