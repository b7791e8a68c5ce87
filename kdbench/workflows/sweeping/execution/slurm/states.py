"""The meaning of the states of Slurm's jobs for a task."""

from pathlib import Path

from kdbench.workflows.sweeping.execution.schedule import Fault

_ALIVE = frozenset({
    "PENDING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SUSPENDED", "STOPPED", "SIGNALING",
    "CONFIGURING", "COMPLETING", "SPECIAL_EXIT", "STAGE_OUT", "RESV_DEL_HOLD", "UNKNOWN",
})  # fmt: skip
_RUNNING = frozenset({"RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"})
_RESUMABLE = frozenset({"TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED"})
_LAST_LINES = 8


def has_ended(state: str) -> bool:
    """Return whether a job in this state has ended."""
    return state not in _ALIVE


def is_running(state: str) -> bool:
    """Return whether a job in this state runs on a node; others wait."""
    return state in _RUNNING


def is_resumable(state: str) -> bool:
    """Return whether another job can continue from the checkpoint of a job that ended in this state."""
    return state in _RESUMABLE


def fault_of_state(job: str, state: str, log: Path) -> Fault:
    """Return the fault of a job that ended without a result; `log` is the file of its output."""
    if state == "OUT_OF_MEMORY":
        hint = "request more memory, such as --on slurm:mem=16GB, or use a smaller batch"
        return Fault(f"job {job} ran out of memory", hint)
    if state == "CANCELLED":
        return Fault(f"job {job} was cancelled", "resume the sweep")
    return Fault(f"job {job} ended as {state} without a result", _log_tail(log), lost=True)


def _log_tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return f"check that {log.parent} is shared by all nodes"
    return "\n".join(lines[-_LAST_LINES:]) or f"see {log.parent}"
