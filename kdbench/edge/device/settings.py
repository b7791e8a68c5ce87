"""The settings that can be changed on the device: time, threads, sustained load. The host determines all others."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from kdbench import units
from kdbench.edge.exchange.plan import Plan, Settings
from kdbench.errors import InputError
from kdbench.machine.cores import available_cores, siblings

_MAX_THREADS = 4096


@dataclass(frozen=True)
class Requested:
    """The options of `run.py`; None is the host's choice."""

    budget_s: float | None = None
    threads: tuple[int, ...] | None = None
    sustain_s: float = 0.0


def requested(budget: str | None = None, threads: str | None = None, sustain: str | None = None) -> Requested:
    """Read the options as typed; raises InputError."""
    counts = None
    if threads is not None:
        if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", threads):
            raise InputError(f"--threads: {threads!r} is not a list of counts", "for example --threads 1,4")
        counts = tuple(dict.fromkeys(map(int, threads.split(","))))
        if max(counts) > _MAX_THREADS:
            raise InputError(f"--threads: {max(counts)} threads are too many", f"{_MAX_THREADS} at most")
    budget_s = None if budget is None else _seconds("--budget", budget)
    return Requested(budget_s, counts, 0.0 if sustain is None else _seconds("--sustain", sustain))


def settings_for(plan: Plan, wanted: Requested) -> Settings:
    """Return the settings of a plan on this device, as far as the person has not chosen others."""
    settings = plan.settings if wanted.budget_s is None else replace(plan.settings, budget_s=wanted.budget_s)
    if wanted.threads is not None:
        return replace(settings, threads=wanted.threads)
    return settings.on(physical_cores())


def physical_cores() -> int:
    """Return on how many physical cores this process may run."""
    usable = available_cores()
    groups = {siblings(core) or frozenset([core]) for core in usable}
    return min(len(groups), len(usable))


def _seconds(option: str, text: str) -> float:
    try:
        seconds = units.parse(text, "s")
    except ValueError as error:
        raise InputError(f"{option}: {error}", f"for example {option} 90s") from None
    if not 0 < seconds < math.inf:
        raise InputError(f"{option}: {text!r} is not a duration above zero", f"for example {option} 90s")
    return seconds
