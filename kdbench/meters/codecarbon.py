"""codecarbon: an estimate of the CPU's energy where nothing measures it, from CPU time and a power taken for granted.

No meter is read. The share of the machine's CPU time that this process and its children took is multiplied by the
thermal design power (TDP) of the CPU's model, or by a guess of 4 W a thread where codecarbon does not know the model.
"""

import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from kdbench.meters.meter import SOURCES, Available, Clock, CounterError, Part, Pause, Rank, Unavailable, advances
from kdbench.meters.with_codecarbon import J_PER_KWH, Log, hushed

if TYPE_CHECKING:
    from codecarbon.output_methods.base_output import BaseOutput
    from codecarbon.output_methods.emissions_data import EmissionsData

    from kdbench.results.cards import Evidence

_FRESH_S = 0.1  # within 50 ms of a measurement codecarbon takes no other, and says the same again


def compute(seconds: float) -> None:
    """Let so much CPU time of this thread pass: the estimate does not move by waiting."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@SOURCES.register("codecarbon")
class CodeCarbon:
    """CPU time of this process and its children × an assumed power. Clock and pause are for tests.

    Other processes' work is left out, since it is not the models'; so is the power of idle cores, which no CPU time
    tells of. A reading takes a millisecond or two, and serves for a tenth of a second.
    """

    name = "codecarbon"
    rank = Rank.ESTIMATE
    scope = "cpu.estimate"
    covers = frozenset({Part.CPU})
    stands_for = frozenset({Part.CPU})
    evidence: "Evidence" = "estimated"
    stepped = False
    lag_s = 0.0

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = compute) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()  # codecarbon has none around a measurement
        self._log = Log()
        self._tracker: Any = None
        self._last: tuple[int, float] | None = None

    def available(self) -> Available | Unavailable:
        """Say whether codecarbon is there and counts, and what it takes this CPU's power to be."""
        try:
            moves = advances(self, self._pause)
            with hushed():
                power = _power()
        except ImportError:
            return Unavailable("codecarbon: not installed", "pip install codecarbon")
        except CounterError as error:
            return Unavailable(str(error), "check .codecarbon.config, here and in the home folder")
        finally:
            self.close()
        if power is None:
            return Unavailable("codecarbon: the CPU's model is unknown", "the estimate rests on the model's power")
        if not moves:
            return Unavailable("codecarbon: the estimate stands still", "is CPU time counted on this machine?")
        return Available(f"{version('codecarbon')}, share of the machine's CPU time × {power}")

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns of the last measurement, joules since the tracker's start); the first takes a second.

        The thread that does the work has to call it: another one waits for the interpreter in mid-measurement.
        """
        with self._lock:
            if self._tracker is None:
                self._begin()
            if self._last is None or self._clock() - self._last[0] >= _FRESH_S * 1e9:
                return self._take()
            return self._last

    def close(self) -> None:
        """Stop the tracker."""
        with self._lock:
            if self._tracker is not None:
                with hushed():
                    self._tracker.stop()
            self._tracker, self._last, self._log = None, None, Log()

    def _begin(self) -> None:
        with hushed(self._log):
            from codecarbon import OfflineEmissionsTracker

            tracker = OfflineEmissionsTracker(**settings([_handler(self._keep)]))
            # The constructor swallows its errors, and then leaves an object without what it sets last.
            if not hasattr(tracker, "_emissions"):
                raise CounterError(self._log.reason("it could not be set up"))
            self._tracker = tracker
            tracker.start()
            # There is no task to stop: this ends the thread that samples the load once a second. That notes the time
            # before it reads the CPU times, for which it has to wait while the models' work holds the interpreter, and
            # the power comes out too high: 1.4 to 4 times as much was seen, with readings right to 1 % without it.
            tracker.stop_task()
        self._take()  # imports what a flush needs, and is late by that
        self._last = None
        self._pause(_FRESH_S)

    def _take(self) -> tuple[int, float]:
        before = self._last
        with hushed(self._log):
            self._tracker.flush()
        if self._last is None or self._last is before:
            raise CounterError(self._log.reason("no reading came"))
        return self._last

    def _keep(self, cpu_kwh: float) -> None:
        self._last = self._clock(), cpu_kwh * J_PER_KWH


def settings(handlers: "list[BaseOutput]") -> dict[str, Any]:
    """Return the arguments of codecarbon's tracker: it shall write nothing and ask nobody.

    All are given, since one that is not is taken from ~/.codecarbon.config, .codecarbon.config or the environment.
    The deprecated `save_to_*` and `co2_signal_api_token` are not: those that replace them keep them from being read.
    """
    return {
        "tracking_mode": "process",
        "force_mode_cpu_load": True,  # RAPL is a source of its own
        "force_cpu_power": None,
        "force_ram_power": 0.0,  # else each reading adds up the memory of all child processes
        "gpu_ids": [],  # it looks for GPUs all the same
        "rapl_include_dram": False,
        "rapl_prefer_psys": False,
        "pue": 1.0,
        "wue": 0.0,
        "measure_power_secs": 86_400.0,  # its own measurements, from a thread that would race with ours
        "allow_multiple_runs": True,  # False takes a lock file and the handlers of signals
        "force_carbon_intensity_g_co2e_kwh": 0.0,  # joules alone are read, and no intensity has to be found
        "country_iso_code": None,
        "country_2letter_iso_code": None,
        "region": None,
        "cloud_provider": None,
        "cloud_region": None,
        "electricitymaps_api_token": "",  # None lets the deprecated one in
        "output_methods": [],
        "output_handlers": handlers,
        "output_dir": ".",
        "output_file": "emissions.csv",
        "on_csv_write": "append",
        "emissions_endpoint": None,
        "prometheus_url": "",
        "api_endpoint": "",
        "api_key": "",
        "api_call_interval": -1,
        "experiment_id": "",
        "experiment_name": "",
        "project_name": "kdbench",
        "metadata": None,
        "logging_logger": None,
        "logger_preamble": "",
        "log_level": "warning",  # at which it tells of the errors that it swallows
    }


def _handler(keep: Callable[[float], None]) -> "BaseOutput":
    """Return an output that hands the CPU's energy so far, in kWh, to `keep` at each flush."""
    from codecarbon.output_methods.base_output import BaseOutput

    class Handler(BaseOutput):
        def out(self, total: "EmissionsData", delta: "EmissionsData") -> None:  # noqa: ARG002
            keep(total.cpu_energy)

    return Handler()


def _power() -> str | None:
    """Return in words what codecarbon takes the power of all cores at work to be, None where it has no idea."""
    from codecarbon.core.cpu import DEFAULT_POWER_PER_CORE, TDP
    from codecarbon.core.util import count_cpus, count_physical_cpus

    watts = TDP().tdp  # type: ignore[no-untyped-call]  # of one socket
    if not watts:
        return None
    # What it says of a model that is not in its table. One of the table that has just as much is called a guess, too.
    guessed = watts == count_cpus() * DEFAULT_POWER_PER_CORE
    total = watts * count_physical_cpus()  # type: ignore[no-untyped-call]
    return f"{total:.0f} W{', a guess for an unknown CPU' if guessed else ' TDP'}"
