"""The engine that runs tasks on the nodes of a Ray cluster; a measurement gets a node of its own."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.cluster import remote
from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE, Node, alive_nodes
from kdbench.workflows.sweeping.execution.cluster.outcomes import outcome
from kdbench.workflows.sweeping.execution.engine import Engine, Event, Message
from kdbench.workflows.sweeping.execution.on_nodes import VISIBLE_S, are_visible, invisible_files
from kdbench.workflows.sweeping.execution.schedule import Fault, Task

PERFORM = "kdbench.workflows.sweeping.tasks:perform"
_POLL_S = 2.0  # how often the list of alive nodes is read
_MAIL_S = 1.0
_PROBE_S = 120.0  # a node's first process loads its libraries
_MAX_LOSSES = 10  # of nodes that run one task
_RETURN_S = 600.0  # how long a task waits until a suitable node comes back
_ID = "ray.io/node-id"


@dataclass(frozen=True)
class _RunningTask:
    """A task that was sent to Ray; one that measures has its `node` to itself."""

    task: Task
    message: Message
    node: Node | None


class Cluster(Engine):
    """Runs tasks on the nodes that `ray`, the connected library, lists; those with `label` measure.

    `perform` is the function that does a task, as "module:name".
    """

    def __init__(self, ray: Any, tasks: Sequence[Task], label: str | None, perform: str | None = None) -> None:
        self._ray, self._label, self._perform = ray, label, perform or PERFORM
        self._nodes: list[Node] = []
        self._looked_s = self._mailed_s = -_POLL_S
        self._sent: dict[Any, _RunningTask] = {}
        self._held: list[tuple[Task, Message]] = []
        self._gone_s: dict[tuple[str, int, int], float] = {}  # since when no node has room for such a task
        self._node_of: dict[str, str] = {}  # the node that a task runs on
        self._dead: set[str] = set()  # nodes, which may be listed for a while
        self._has_waiting_training = False
        self._arriving: list[tuple[_RunningTask, Mapping[str, int], float]] = []
        self._losses: Counter[str] = Counter()
        self._events: list[Event] = []
        self._expected: remote.Expected | None = None
        self._do: Any = ray.remote(max_retries=0)(remote.do)
        self._mailbox: Any = None
        trainings = [task for task in tasks if task.kind == "train"]
        self.slots = max(1, min((self._at_once(task) for task in trainings), default=1))

    @property
    def meters(self) -> bool:
        """False: a node's meter counts what else runs there."""
        return False

    @property
    def queued(self) -> Collection[str]:
        """The tasks that wait for a node, here or in Ray's queue."""
        waiting = {sent.task.id for sent in self._sent.values()} - self._node_of.keys()
        return waiting | {task.id for task, _ in self._held}

    def prepare(self, folder: Path) -> None:
        """Check that every node sees the folder and has this version of kdbench; raises InputError if one does not."""
        self._expected = remote.Expected.of(folder)
        here = self._ray.get_runtime_context().get_node_id()
        not_measuring = [node.id for node in self._alive() if not node.measuring]
        place = here if here in not_measuring or not not_measuring else not_measuring[0]
        mailbox = self._ray.remote(num_cpus=0, max_restarts=-1)(remote.Mailbox)
        self._mailbox = mailbox.options(scheduling_strategy=self._at(place, soft=True)).remote()
        probe = self._ray.remote(num_cpus=0, max_retries=3)(remote.probe)
        used = [node for node in self._alive() if node.cpus or node.measures(self._label)]
        probed = {probe.options(scheduling_strategy=self._at(node.id)).remote(self._expected): node for node in used}
        ready, silent = self._ray.wait(list(probed), num_returns=len(probed), timeout=_PROBE_S)
        for reference in ready:
            try:
                fault = self._ray.get(reference)
            except Exception as error:  # noqa: BLE001 - Ray raises many types of errors
                fault = None if (known := outcome(error)).node_is_gone else vars(known.fault)
            if fault is not None:
                raise InputError(fault["message"], fault["hint"])
        if silent:
            message = f"node {probed[silent[0]].host} did not answer within {_PROBE_S:.0f} s"
            raise InputError(message, "look at it with `ray status` and `ray list nodes`, or stop it")

    def accepts(self, task: Task) -> bool:
        """Return whether a node has room for a task; True also if nothing runs, so that a task can wait for a node."""
        if not self._sent and not self._held and not self._arriving:
            return True
        if task.kind == "measure":
            node = self._measuring_node()
            return node is not None and not (node.cpus and self._has_waiting_training)  # which may use its cores
        reserved = self._reserved()
        nodes = [node for node in self._alive() if node.id not in reserved]
        shared = [sent.task for sent in self._sent.values() if sent.node is None]
        shared = [other for other in shared if self._node_of.get(other.id) not in reserved]
        shared += [other for other, _ in self._held if other.kind != "measure"]
        cpus = sum(node.cpus for node in nodes) - sum(other.cpus for other in shared)
        gpus = sum(node.gpus for node in nodes) - sum(other.gpus for other in shared)
        fits = cpus >= task.cpus and gpus >= task.gpus and any(node.fits(task) for node in nodes)
        self._has_waiting_training |= not fits
        return fits

    def start(self, task: Task, message: Message) -> None:
        """Send a task to a node, or hold it until there is one."""
        self._held.append((task, message))
        self._place()

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what happened; sleeps meanwhile."""
        deadline_s, self._has_waiting_training = time.monotonic() + timeout_s, False
        while True:
            left_s = 0.0 if self._events else max(0.0, min(deadline_s - time.monotonic(), _MAIL_S))
            self._collect(left_s)
            self._check_files()
            self._place()
            self._read_mail()
            if self._events or time.monotonic() >= deadline_s:
                events, self._events = self._events, []
                return sorted(events, key=lambda event: event.ended)  # messages of a task come before its end

    def close(self) -> None:
        """End all tasks."""
        for reference in self._sent:
            with suppress(Exception):
                self._ray.cancel(reference, force=True)
        if self._mailbox is not None:
            with suppress(Exception):
                self._ray.kill(self._mailbox)
        self._sent, self._held, self._arriving, self._mailbox = {}, [], [], None

    def _at_once(self, task: Task) -> int:
        nodes = self._alive()
        return int(sum(min(n.cpus // task.cpus, n.gpus // task.gpus if task.gpus else n.cpus) for n in nodes))

    def _alive(self) -> list[Node]:
        if time.monotonic() - self._looked_s >= _POLL_S:
            self._nodes, self._looked_s = alive_nodes(self._ray.nodes()), time.monotonic()
        return [node for node in self._nodes if node.id not in self._dead]

    def _at(self, node: str, *, soft: bool = False) -> Any:
        return self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=soft)

    def _measuring_node(self) -> Node | None:
        """Return an idle measuring node, preferably one without other tasks."""
        reserved = self._reserved()
        free = [node for node in self._alive() if node.measures(self._label) and node.id not in reserved]
        return min(free, key=lambda node: node.cpus, default=None)

    def _reserved(self) -> set[str]:
        """Return the nodes that measurements have for themselves."""
        return {sent.node.id for sent in self._sent.values() if sent.node is not None}

    def _place(self) -> None:
        """Send held tasks to nodes with room for them; give up tasks that have waited too long for a node."""
        held, self._held = self._held, []
        for task, message in held:
            measures, need = task.kind == "measure", (task.kind, task.cpus, task.gpus)
            if any(node.measures(self._label) if measures else node.fits(task) for node in self._alive()):
                self._gone_s.pop(need, None)
                own_node = self._measuring_node() if measures else None
                if measures and own_node is None:
                    self._held.append((task, message))
                else:
                    self._send(task, message, own_node)
            elif time.monotonic() - self._gone_s.setdefault(need, time.monotonic()) > _RETURN_S:
                ability = "measures" if measures else "has room for it"
                hint = "start a node like those that are gone, and resume the sweep"
                self._end(task, Fault(f"no node of the cluster {ability} any more", hint))
            else:
                self._held.append((task, message))

    def _send(self, task: Task, message: Message, node: Node | None) -> None:
        options: dict[str, Any] = {"num_cpus": task.cpus, "num_gpus": task.gpus}
        if node is not None:
            options = {"num_cpus": node.cpus, "num_gpus": node.gpus, "resources": {MEASURE: node.measuring}}
            options["scheduling_strategy"] = self._at(node.id)
        elif reserved := self._reserved():
            options["label_selector"] = {_ID: f"!in({','.join(sorted(reserved))})"}  # measurements need a free node
        if options["num_gpus"]:  # a separate process: one that has looked for GPUs does not see those assigned later
            options["runtime_env"] = {"env_vars": {"KDBENCH_GPUS": "1"}}
        hides = task.kind != "measure" and not task.gpus
        call = self._do.options(name=task.id, **options)
        reference = call.remote(self._perform, task.id, message, self._expected, self._mailbox, hides_gpus=hides)
        self._sent[reference] = _RunningTask(task, message, node)

    def _collect(self, timeout_s: float) -> None:
        """Note which tasks ended, after waiting for one."""
        if not self._sent:
            time.sleep(min(timeout_s, 0.2))
            return
        ready, waiting = self._ray.wait(list(self._sent), num_returns=1, timeout=timeout_s)
        if ready and waiting:
            ready += self._ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        for reference in ready:
            sent = self._sent.pop(reference)
            self._node_of.pop(sent.task.id, None)
            try:
                result = self._ray.get(reference)
            except Exception as error:  # noqa: BLE001 - Ray raises many types of errors
                self._handle_loss(sent, error)
                continue
            if result["fault"] is not None:
                self._end(sent.task, Fault(**result["fault"]))
            else:
                self._arriving.append((sent, result["left"], time.monotonic()))

    def _handle_loss(self, sent: _RunningTask, error: Exception) -> None:
        known = outcome(error)
        self._looked_s = -_POLL_S  # query the alive nodes again
        if not known.node_is_gone:
            self._end(sent.task, known.fault)
            return
        self._losses[sent.task.id] += 1
        if sent.node is not None:
            self._dead.add(sent.node.id)
        if self._losses[sent.task.id] > _MAX_LOSSES:
            hint = "look into the nodes' logs, and resume"
            self._end(sent.task, Fault(f"{_MAX_LOSSES} nodes failed while running it", hint))
            return
        self._events.append(Event(sent.task.id, note="its node failed; it starts again on another node"))
        self._held.append((sent.task, sent.message))

    def _check_files(self) -> None:
        """End the tasks whose files are visible here: files of another node may take a while to appear."""
        later = []
        for sent, left, since_s in self._arriving:
            if are_visible(left, sent.message):
                self._end(sent.task, None)
            elif time.monotonic() - since_s > VISIBLE_S:
                self._end(sent.task, invisible_files())
            else:
                later.append((sent, left, since_s))
        self._arriving = later

    def _end(self, task: Task, fault: Fault | None) -> None:
        self._events.append(Event(task.id, ended=True, fault=fault))

    def _read_mail(self) -> None:
        ends = {event.task for event in self._events if event.ended}
        if self._mailbox is None or time.monotonic() - self._mailed_s < _MAIL_S:
            return
        self._mailed_s = time.monotonic()
        with suppress(Exception):  # the mailbox moves if its node died: only the messages in it are lost
            messages = self._ray.get(self._mailbox.take.remote(), timeout=_MAIL_S)
            self._events += self._events_of(messages, ends | {sent.task.id for sent in self._sent.values()})

    def _events_of(self, messages: Sequence[tuple[str, Mapping[str, Any]]], known: Collection[str]) -> Iterator[Event]:
        """Yield the messages of the tasks `known`; the other tasks are finished."""
        for task, message in messages:
            match message:
                case _ if task not in known:
                    continue
                case {"node": node}:
                    self._node_of[task] = node
                case {"step": [done, total, detail]}:
                    self._node_of.setdefault(task, "")  # the message that names it was lost
                    yield Event(task, done=done, total=total, detail=detail)
                case {"note": text}:
                    yield Event(task, note=text)
