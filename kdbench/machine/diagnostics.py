"""Diagnostics of conditions that make the machine's numbers unreliable, before measuring and during sessions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdbench.machine.cores import available_cores, rotate_cores, siblings
from kdbench.machine.system_files import ROOT, quota_cores
from kdbench.machine.system_monitor import Conditions
from kdbench.results.records import Diagnostic, Environment

_IDLE = "measure when the machine is otherwise idle"
_BUSY_CORES = 0.5  # cores that other work keeps busy: from here on latencies are unreliable
_SHARED = 0.05  # of the pinned cores' time, or their siblings': as large as the differences of interest
_STOLEN = 0.01  # of the cores' time: it shifts a mean by 1 %
_SWAPPED_PAGES = 256  # 1 MB of 4 KiB pages: more than a starting process fetches by chance


def environment_diagnostics(environment: Environment) -> Iterator[Diagnostic]:
    """Yield a diagnostic, with its remedy, for each condition that makes latencies on this machine unreliable."""
    host = environment.host
    busy, governor, share = (host.get(name) for name in ("cores_busy", "governor", "clock_limit_share"))
    is_virtual = host.get("virtualization") is not None
    if isinstance(busy, float) and busy >= _BUSY_CORES:
        message = f"other work kept {busy:.1f} of {host.get('cores_logical')} cores busy just before measuring"
        yield Diagnostic(code="load", message=message, remedy=_IDLE)
    if governor is None and not is_virtual:  # the governor is not visible to a guest
        message = "the CPU frequency governor cannot be read, so the clock may have varied"
        remedy = "trust speed-ups, which are measured side by side, more than single latencies; repeat on bare metal"
        yield Diagnostic(code="governor_unknown", message=message, remedy=remedy)
    if governor not in {None, "performance"}:
        message = f"the CPU frequency governor is {governor!r}: the clock varies with the load"
        yield Diagnostic(code="governor", message=message, remedy="sudo cpupower frequency-set --governor performance")
    if isinstance(share, float) and share < 1:
        message = f"the clock is limited to {100 * share:.0f} % of the processor's highest"
        full = "sudo cpupower frequency-set --max $(cat /sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq)"
        remedy = f"a limited clock is steady and good for comparisons; for full speed: {full}"
        yield Diagnostic(code="clock_limit", message=message, remedy=remedy)
    if is_virtual:
        message = "this is a virtual machine: the load of other guests affects latencies"
        remedy = "measure on the target device before relying on an absolute latency"
        yield Diagnostic(code="virtual_machine", message=message, remedy=remedy)


def session_diagnostics(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    """Yield one diagnostic for each kind of disturbance during the sessions."""
    yield from _throttling(conditions)
    yield from _load_in_sessions(conditions)
    share = _average(conditions, "stolen_share")
    if share is not None and share >= _STOLEN:
        message = f"other guests got {100 * share:.1f} % of the time in which cores would have run"
        remedy = "measure on a dedicated machine, or on an instance with dedicated cores"
        yield Diagnostic(code="stolen_time", message=message, remedy=remedy)
    busy = [c.siblings_cores for c in conditions if c.siblings_cores is not None and c.siblings_cores >= _SHARED]
    if busy:
        message = "other work ran on sibling hardware threads of the models' cores"
        message = f"{_in(len(busy), conditions)} {message}: up to {max(busy):.2f} of them busy"
        remedy = f"{_IDLE}, or switch SMT off: echo off | sudo tee /sys/devices/system/cpu/smt/control"
        yield Diagnostic(code="busy_siblings", message=message, remedy=remedy)
    pages = sum(c.swapped_in_pages or 0 for c in conditions)
    if pages >= _SWAPPED_PAGES:
        message = f"{pages} pages of memory were fetched from disk during the sessions"
        remedy = "end programs that hold memory, or measure smaller batches"
        yield Diagnostic(code="swapping", message=message, remedy=remedy)


def condition_averages(conditions: Sequence[Conditions]) -> dict[str, Any]:
    """Return the known conditions, averaged over the sessions' time, in the form of a record's `protocol`."""
    names = ("others_cores", "others_chosen_cores", "siblings_cores", "stolen_share")
    averages = {name: average for name in names if (average := _average(conditions, name)) is not None}
    return {"meanwhile": {name: round(value, 4) for name, value in averages.items()}} if averages else {}


def thread_diagnostics(threads: int, cores: Sequence[int] | None, root: Path = ROOT) -> Iterator[Diagnostic]:
    """Yield the problems of this many threads on this machine, in processes that take turns on `cores`."""
    yield from oversubscription(threads, len(available_cores()), quota_cores(root))
    yield from shared_core_diagnostics(cores, threads, root)


def oversubscription(threads: int, usable: int, quota: float | None) -> Iterator[Diagnostic]:
    """Yield a diagnostic if there are more threads than usable cores, or than the quota's cores."""
    if threads > usable:
        cores = f"{usable} cores" if usable > 1 else "one core"
        message = f"{threads} threads share the {cores} that this process may use"
        remedy = "use at most as many threads as cores: a thread that waits for a core stalls the others"
        yield Diagnostic(code="oversubscribed", message=message, remedy=remedy)
    if quota is not None and threads > quota:
        message = f"the container may use {quota:g} cores: {threads} threads are paused again and again"
        remedy = "raise the container's CPU limit, or measure with fewer threads"
        yield Diagnostic(code="oversubscribed", message=message, remedy=remedy)


def shared_core_diagnostics(cores: Sequence[int] | None, threads: int, root: Path = ROOT) -> Iterator[Diagnostic]:
    """Yield a diagnostic if a process is pinned to hardware threads of the same physical core."""
    for turn in range(len(cores or ())):
        pinned = sorted(set(rotate_cores(cores, threads, turn) or ()))  # with more threads than cores, some occur twice
        for number, core in enumerate(pinned):
            shared = (siblings(core, root) or frozenset()).intersection(pinned[number + 1 :])
            if shared:
                message = f"cores {core} and {min(shared)} are one physical core: its threads slow each other down"
                yield Diagnostic(code="shared_core", message=message, remedy="name one core of each pair with --cores")
                return


def _throttling(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    for remedy in dict.fromkeys(event.remedy for c in conditions for event in c.throttling):
        events = [[event.message for event in c.throttling if event.remedy == remedy] for c in conditions]
        messages = [" and ".join(session) for session in events if session]
        yield Diagnostic(code="throttled", message=f"{_in(len(messages), conditions)} {messages[0]}", remedy=remedy)


def _load_in_sessions(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    busy = [c for c in conditions if c.others_cores is not None and c.others_cores >= _BUSY_CORES]
    near = [c for c in conditions if c.others_chosen_cores is not None and c.others_chosen_cores >= _SHARED]
    if not busy and not near:
        return
    most = max(c.others_cores or 0.0 for c in conditions)
    where = f", {max(c.others_chosen_cores or 0.0 for c in near):.1f} of it on the cores of the models" if near else ""
    sessions = _in(sum(c in busy or c in near for c in conditions), conditions)
    cores = max(c.cores or 0 for c in conditions)
    message = f"{sessions} other work kept up to {most:.1f} of {cores} cores busy{where}"
    yield Diagnostic(code="load", message=message, remedy=_IDLE)


def _in(count: int, conditions: Sequence[Conditions]) -> str:
    return f"in {count} of {len(conditions)} sessions" if len(conditions) > 1 else "in the only session"


def _average(conditions: Sequence[Conditions], name: str) -> float | None:
    """Return the average of one condition over the sessions that report it, weighted by their duration."""
    known = [(value, c.seconds) for c in conditions if (value := getattr(c, name)) is not None]
    return sum(value * seconds for value, seconds in known) / sum(s for _, s in known) if known else None
