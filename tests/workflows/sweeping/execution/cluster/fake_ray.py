"""Ray without processes, and the tasks that an engine sends it."""

from types import SimpleNamespace

from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE
from kdbench.workflows.sweeping.execution.schedule import Task

DONE = {"fault": None, "left": {}, "host": "a"}
MEASUREMENT = Task("m", "measure")
WORKER, MIXED, DEVICE = {"CPU": 2.0}, {"CPU": 2.0, MEASURE: 1.0}, {MEASURE: 1.0}


def training(name, cpus=1, gpus=0):
    return Task(name, "train", cpus=cpus, gpus=gpus)


class NodeDiedError(Exception):
    """As Ray calls it."""


class WorkerCrashedError(Exception):
    """As Ray calls it."""


class FakeRay:
    """Ray without processes: `answers` are what tasks end with, by their names; `sent` is what was asked of it."""

    def __init__(self, **nodes):
        self.offers = nodes
        self.answers, self.sent, self.mail, self.cancelled = {}, [], [], []
        affinity = lambda node, soft: ("at", node, soft)  # noqa: E731
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=affinity)
        self.util = SimpleNamespace(scheduling_strategies=strategies)
        self.probed = None

    def nodes(self):
        return [
            {"NodeID": id_, "Alive": offers is not None, "NodeManagerHostname": id_, "Resources": offers or {}}
            for id_, offers in self.offers.items()
        ]

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: next(iter(self.offers)))

    def remote(self, **_):
        return lambda function: _Remote(self, function.__name__, {})

    def wait(self, references, num_returns, timeout):
        ready = [one for one in references if one in self.answers or one.startswith("probe")][:num_returns]
        return ready, [one for one in references if one not in ready]

    def get(self, reference, timeout=None):
        if reference == "mail":
            messages, self.mail = self.mail, []
            return messages
        answer = self.probed if reference.startswith("probe") else self.answers.pop(reference)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self, reference, force):
        self.cancelled.append(reference)

    def kill(self, actor):
        self.cancelled.append(actor)


class _Remote:
    def __init__(self, ray, function, options):
        self._ray, self._function, self._options = ray, function, options
        self.take = SimpleNamespace(remote=lambda: "mail")

    def options(self, **options):
        return _Remote(self._ray, self._function, options)

    def remote(self, *_, **__):
        if self._function == "Mailbox":
            return self
        if self._function == "probe":
            return f"probe {self._options['scheduling_strategy'][1]}"
        self._ray.sent.append(self._options)
        return self._options["name"]


def started(engine, *tasks, **message):
    """Start the tasks that are accepted, in order, until one is not; return their names."""
    names = []
    for task in tasks:
        if not engine.accepts(task):
            break
        engine.start(task, message)
        names.append(task.id)
    return names


def heard(engine, clock, steps=1):
    events = []
    for _ in range(steps):
        clock.now += 5
        events += engine.wait(0)
    return events
