"""How the sessions of a run come about on this machine, as its intervals must know."""

from collections.abc import Sequence

from kdbench.machine.fingerprint import virtualization
from kdbench.statistics import Plan
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION


def session_plan(cores: Sequence[int] | None, first: int | None = None) -> Plan:
    """Return the plan of sessions that take turns on `cores`, of which `first` are taken in any case.

    A guest does not see the work of its neighbours, which slows a large model down more than a small one.
    """
    resolution = RESOLUTION if virtualization() is None else SHARED_RESOLUTION
    return Plan(first, len(cores or (None,)), resolution)
