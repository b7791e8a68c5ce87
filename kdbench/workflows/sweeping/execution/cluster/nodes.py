"""The nodes of a cluster, their resources, and whether these suffice for a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.schedule import Task

MEASURE = "kdbench_measure"
"""The resource of nodes that measure; a measurement takes all of it, and all cores and GPUs of its node."""

_START = f"ray start --address=HEAD:PORT --num-cpus=0 --resources='{{\"{MEASURE}\": 1}}'"
_LISTED = 5


@dataclass(frozen=True)
class Node:
    """An alive node: its id, its host's name, and its resources for tasks."""

    id: str
    host: str
    cpus: float = 0.0
    gpus: float = 0.0
    measuring: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    def fits(self, task: Task) -> bool:
        """Return whether a task that does not measure could run here if nothing else did."""
        return self.cpus >= task.cpus and self.gpus >= task.gpus

    def measures(self, label: str | None) -> bool:
        """Return whether this node measures, and has the `label`: KEY=VALUE, or the value of any key."""
        key, sign, value = (label or "").partition("=")
        labelled = not key or (self.labels.get(key) == value if sign else key in self.labels.values())
        return self.measuring > 0 and labelled


def alive_nodes(listed: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Return the alive nodes of what `ray.nodes()` lists."""
    nodes = []
    for entry in listed:
        if entry.get("Alive"):
            offered, labels = entry.get("Resources", {}), dict(entry.get("Labels") or {})
            host = str(entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress") or "?")
            resources = offered.get("CPU", 0.0), offered.get("GPU", 0.0), offered.get(MEASURE, 0.0)
            nodes.append(Node(str(entry["NodeID"]), host, *resources, labels))
    return nodes


def require_capacity(tasks: Sequence[Task], nodes: Sequence[Node], label: str | None) -> None:
    """Raise InputError for a task that no node could ever run: Ray would wait for such a node forever."""
    by_need = {(task.cpus, task.gpus): task for task in reversed(tasks) if task.kind != "measure"}
    for task in reversed(by_need.values()):
        if not any(node.fits(task) for node in nodes):
            raise InputError(f"{task.id} takes {_amounts(task.cpus, task.gpus)}: {_largest(nodes)}", _smaller(nodes))
    if any(task.kind == "measure" for task in tasks) and not any(node.measures(label) for node in nodes):
        raise _nowhere_to_measure(nodes, label)


def _nowhere_to_measure(nodes: Sequence[Node], label: str | None) -> InputError:
    measuring = [node for node in nodes if node.measuring > 0]
    if not measuring:
        hint = f"start one on the device to measure on: {_START}; or set measure.times = false"
        return InputError(f"no node of the cluster measures: none has the resource {MEASURE}", hint)
    labels = [f"{key}={value}" for node in measuring for key, value in node.labels.items() if "ray.io/" not in key]
    named = f"they have {', '.join(list(dict.fromkeys(labels))[:_LISTED])}" if labels else "they have none"
    hint = f"{named}; a node gets one with ray start --labels=KEY=VALUE"
    return InputError(f"no node that measures has the label {label}", hint)


def _amounts(cpus: float, gpus: float) -> str:
    parts = [f"{cpus:g} {'CPU' if cpus == 1 else 'CPUs'}"]
    return " and ".join(parts + ([f"{gpus:g} {'GPU' if gpus == 1 else 'GPUs'}"] if gpus else []))


def _largest(nodes: Sequence[Node]) -> str:
    """Return what the largest kinds of nodes offer."""
    kinds = sorted({(node.cpus, node.gpus) for node in nodes if node.cpus}, reverse=True)
    if not kinds:
        return "no node of the cluster trains, because none has CPUs"
    return f"no node has that much; the largest have {', or '.join(_amounts(*kind) for kind in kinds[:2])}"


def _smaller(nodes: Sequence[Node]) -> str:
    most = int(max((node.cpus for node in nodes), default=0))
    add = "start larger nodes first: ray start --address=HEAD:PORT --num-cpus=N"
    return f"set training.threads = {most} if threads are the reason, or {add}" if most else add
