"""The meaning of Ray's errors for a task: it failed itself, its process was lost, or its node is gone."""

from dataclasses import dataclass

from kdbench.errors import first_line
from kdbench.workflows.sweeping.execution.engine import last_lines
from kdbench.workflows.sweeping.execution.schedule import Fault

_NODE_LOST = frozenset({
    "NodeDiedError", "LocalRayletDiedError", "TaskUnschedulableError", "ObjectLostError", "OwnerDiedError",
})  # fmt: skip
_INSTALL = "install the same kdbench with its extras on all nodes: pip install 'kdbench[train,cluster]'"


@dataclass(frozen=True)
class Outcome:
    """Why a task has no result; if `node_is_gone`, the task itself did not fail."""

    fault: Fault
    node_is_gone: bool = False


def outcome(error: BaseException) -> Outcome:
    """Return the meaning of an error that Ray raised instead of a task's result."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _NODE_LOST:
        return Outcome(Fault("its node died", lost=True), node_is_gone=True)
    if "OutOfMemoryError" in kinds:
        hint = "use a smaller batch, or let fewer tasks run on a node: ray start --num-cpus=N"
        return Outcome(Fault("Ray ended it because its node ran out of memory", hint, lost=True))
    if "WorkerCrashedError" in kinds:
        return Outcome(Fault("its process was killed", "it may have run out of memory: use a smaller batch", lost=True))
    if "RuntimeEnvSetupError" in kinds:
        return Outcome(Fault(f"its node could not start a process: {first_line(error)}", "look into the node's logs"))
    if "ModuleNotFoundError" in str(error) or "failed to import" in str(error):
        return Outcome(Fault("its node cannot load kdbench", _INSTALL))
    return Outcome(Fault(f"{type(error).__name__}: {first_line(error)}", last_lines(str(error)), internal=True))
