"""What the states of Slurm's jobs mean for a task."""

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
    """Return whether a job of this state does nothing any more."""
    return state not in _ALIVE


def is_running(state: str) -> bool:
    """Return whether a job of this state works on a node; others wait, for nodes or for being resumed."""
    return state in _RUNNING


def may_go_on(state: str) -> bool:
    """Return whether a job that ended so was not at fault, so that another one goes on at its checkpoint."""
    return state in _RESUMABLE


def fault_of_state(job: str, state: str, log: Path) -> Fault:
    """Return why the task of a job, which ended without an answer, is not done; `log` has what it printed."""
    if state == "OUT_OF_MEMORY":
        return Fault(f"job {job} was out of memory", "let jobs have more, --on slurm:mem=16GB, or use a smaller batch")
    if state == "CANCELLED":
        return Fault(f"job {job} was cancelled", "resume the sweep")
    return Fault(f"job {job} ended as {state} without a result", _log_tail(log), lost=True)


def _log_tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return f"do all nodes see {log.parent}?"
    return "\n".join(lines[-_LAST_LINES:]) or f"see {log.parent}"
