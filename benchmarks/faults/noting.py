"""A sweep whose processes note when they begin and end each task, and that they live in between.

`NOTING` runs kdbench with such processes; they write to the file that the variable `LOG` of the environment names.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.faults.overlapping import overlaps

LOG = "KDBENCH_FAULTS_LOG"
_MAIN = """
import sys
from benchmarks.faults.noting import note_tasks
from kdbench.cli.main import main
note_tasks()
sys.exit(main())
"""
NOTING = (sys.executable, "-P", "-c", _MAIN)
_EVERY_S = 0.02
_BEGAN, _LIVED = attrgetter("began_s"), attrgetter("lived_s")


@dataclass(frozen=True)
class Work:
    """A task that a process did: from when to when it is known to have run, and when it ended, if it did."""

    pid: int
    task: str
    kind: str
    began_s: float
    lived_s: float
    ended_s: float | None
    node: str = ""


def note_tasks() -> None:
    """Let the sweeps of this process run their tasks in processes that note them."""
    from kdbench.processes import children
    from kdbench.workflows.sweeping.execution.processes import Processes

    Processes.__init__.__defaults__ = (children.python(__name__),)  # type: ignore[misc]


def perform(message: Mapping[str, Any], progress: Any) -> None:
    """Do a task as a sweep's worker does, and note it in the file that the environment names."""
    from kdbench.workflows.sweeping import tasks

    name = message.get("job") or message["part"]
    facts = {"pid": os.getpid(), "task": name, "kind": message["task"], "node": _node(), "began": time.time()}
    ended = Event()
    _note({**facts, "at": time.time()})
    living = Thread(target=_live, args=(facts, ended), daemon=True)
    living.start()
    try:
        tasks.perform(message, progress)
    finally:
        ended.set()
        living.join()  # or it may note a sign of life after the end
        _note({**facts, "at": time.time(), "ended": True})


def _node() -> str:
    """Return the id of the Ray node that this process is on; empty where there is none."""
    ray = sys.modules.get("ray")
    return str(ray.get_runtime_context().get_node_id()) if ray is not None and ray.is_initialized() else ""


def _live(facts: Mapping[str, Any], ended: Event) -> None:
    while not ended.wait(_EVERY_S):
        _note({**facts, "at": time.time()})


def _note(facts: Mapping[str, Any]) -> None:
    descriptor = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(facts) + "\n").encode())
    os.close(descriptor)


def works(log: Path) -> list[Work]:
    """Return what the processes noted, in the order in which it began."""
    noted: dict[tuple[int, float], Work] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        one = json.loads(line)
        ended_s = one["at"] if one.get("ended") else None
        times = one["began"], one["at"], ended_s
        noted[one["pid"], one["began"]] = Work(one["pid"], one["task"], one["kind"], *times, one.get("node", ""))
    return sorted(noted.values(), key=lambda work: work.began_s)


def measured_together(done: Sequence[Work]) -> list[str]:
    """Return which tasks ran on a node while a measurement did; one that was killed ran until its last sign of life."""
    return [
        f"both measured: {earlier.task} and {later.task} overlap by {earlier.lived_s - later.began_s:.3f} s"
        for node in dict.fromkeys(work.node for work in done)
        for earlier, later in overlaps([work for work in done if work.node == node], _BEGAN, _LIVED)
        if "measure" in {earlier.kind, later.kind}
    ]


if __name__ == "__main__":
    from kdbench.processes.parent import end_with_parent
    from kdbench.workflows.workers.sweep import main

    end_with_parent(reads_input=True)
    messages = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(iter(sys.stdin.readline, ""), messages, perform)
