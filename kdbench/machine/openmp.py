"""How the threads of a training wait for each other: settings of OpenMP, which it reads when torch is loaded.

torch splits its work over one thread per core, and all threads wait for the slowest one at the end of each part.
libgomp, which is in torch's Linux wheels, spins for some milliseconds before it sleeps. That is longer than another
program's time slice, so a thread may spin on the core that the thread it waits for needs. Threads that sleep at once
free the core, but need some microseconds to wake up: a fifth of the speed on an idle machine
(`python -m benchmarks.training.waiting`).

None of these settings changes results. The number of threads does, because it determines how sums are split; so it
never depends on the load.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from kdbench.machine.cores import available_cores, idle_ticks
from kdbench.machine.system_files import quota_cores

_SET_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # kept if the user has set one of them
_SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
# 0.1 to 0.4 ms, as long as the wait for a running thread, instead of libgomp's 300,000, because another program may
# start during a long training. Other OpenMP libraries do not read it.
_SPIN_BRIEFLY = {"GOMP_SPINCOUNT": "10000"}
_SCARCE_CORES = 0.5  # from this many cores busy with other work on, threads sleep
_POLL_S = 0.1


@dataclass(frozen=True)
class OpenMPSettings:
    """The environment `variables` for OpenMP, and a `note` for the user if other programs slow the training down."""

    variables: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@cache
def configure_openmp() -> OpenMPSettings:
    """Check the machine's load once, set OpenMP's variables in the environment accordingly, and return them.

    They have no effect in a process that has loaded torch, but in those that it starts. Nothing is set if the user has
    set one of the variables, or a limit of one thread.
    """
    cores = available_cores()
    if any(name in os.environ for name in _SET_BY_USER) or os.environ.get("OMP_NUM_THREADS") == "1" or len(cores) == 1:
        return OpenMPSettings()
    loaded = "torch" in sys.modules
    settings = choose_openmp_settings(_busy_cores(cores), len(cores), quota_cores(), loaded=loaded)
    os.environ.update(settings.variables)
    return settings


def choose_openmp_settings(others_cores: float, cores: int, quota: float | None, *, loaded: bool) -> OpenMPSettings:
    """Return the settings for threads on `cores` cores, of which other programs keep `others_cores` busy.

    `quota` is the limit of a control group in cores, None without one: spinning would use it up. `loaded` is whether
    torch is loaded, so that this process's threads spin in any case.
    """
    if others_cores < _SCARCE_CORES:
        return OpenMPSettings(_SLEEP if quota is not None and quota < cores else _SPIN_BRIEFLY)
    busy = f"other programs keep {others_cores:.1f} of {cores} cores busy"
    if loaded:
        advice = "start Python with OMP_WAIT_POLICY=passive"
        return OpenMPSettings(
            _SLEEP, f"{busy}; training threads spin, because torch was loaded before kdbench.run: {advice}"
        )
    return OpenMPSettings(_SLEEP, f"{busy}: training takes longer; its result stays the same")


def _busy_cores(cores: tuple[int, ...]) -> float:
    """Return how many of `cores` are busy while this process sleeps; other guests of the host count as well."""
    import psutil

    percentages = psutil.cpu_percent(_POLL_S, percpu=True)
    online = idle_ticks() or range(len(percentages))  # psutil leaves out the same cores: every second one without SMT
    busy_percent = dict(zip(online, percentages, strict=False))
    return float(sum(busy_percent.get(core, 0.0) for core in cores)) / 100
