"""codecarbon: an estimate of the CPU's energy from CPU time and an assumed power, for machines without a meter.

The share of the machine's CPU time that this process and its children used is multiplied by the thermal design power
(TDP) of the CPU's model, or by a guess of 4 W per thread if codecarbon's table does not have the model.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from kdbench.extras import install
from kdbench.meters.meter import METERS, Available, Clock, Meter, MeterError, Part, Pause, Rank, Unavailable, advances
from kdbench.processes.children import safe_path

if TYPE_CHECKING:
    from codecarbon.output_methods.base_output import BaseOutput
    from codecarbon.output_methods.emissions_data import EmissionsData

J_PER_KWH = 3.6e6
_FRESH_S = 0.1  # within 50 ms of a measurement codecarbon returns the same value again


class Log(logging.Filter):
    """Suppresses codecarbon's log, and stores the last error that codecarbon caught and logged."""

    swallowed: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False: suppress the record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.swallowed = record.exc_info[1]
        return False

    def reason(self, otherwise: str) -> str:
        """Return the stored error in a few words, or `otherwise`."""
        words = f"{type(self.swallowed).__name__}: {self.swallowed}" if self.swallowed else otherwise
        return f"codecarbon: {words}".partition("\n")[0]


@contextmanager
def silenced(log: Log | None = None) -> Iterator[None]:
    """Suppress codecarbon's output to the terminal, and keep the current folder off the path of processes it starts.

    Its import already writes output, before a log level can be set, and its first query for the CPU starts processes.
    """
    log = log or Log()
    logger = logging.getLogger("codecarbon")
    logger.addFilter(log)
    try:
        with safe_path():
            yield
    finally:
        logger.removeFilter(log)


def compute(seconds: float) -> None:
    """Use this much CPU time of this thread, because the estimate does not advance while the thread waits."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@METERS.register("codecarbon")
class CodeCarbon(Meter):
    """CPU time of this process and its children × an assumed power. Clock and pause are for tests.

    It includes neither other processes' work nor the power of idle cores. A reading takes a millisecond or two, and is
    reused for a tenth of a second.
    """

    name = "codecarbon"
    rank = Rank.ESTIMATE
    scope = "cpu.estimate"
    covers = frozenset({Part.CPU})
    stands_for = frozenset({Part.CPU})
    evidence = "estimated"
    stepped = False

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = compute) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()  # codecarbon has none around a measurement
        self._log = Log()
        self._tracker: Any = None
        self._last: tuple[int, float] | None = None

    def available(self) -> Available | Unavailable:
        """Return whether codecarbon is installed and advances, with the power that it assumes for this CPU."""
        try:
            moves = advances(self, self._pause)
            with silenced():
                power = _power()
        except ImportError:
            return Unavailable("codecarbon: not installed", install("estimate"))
        except MeterError as error:
            return Unavailable(str(error), "check .codecarbon.config, here and in the home folder")
        finally:
            self.close()
        if power is None:
            return Unavailable("codecarbon: the CPU's model is unknown", "the estimate needs the model's power")
        if not moves:
            return Unavailable("codecarbon: does not advance", "check that this machine counts CPU time")
        return Available(f"{version('codecarbon')}, share of the machine's CPU time × {power}")

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns of the last measurement, joules since the tracker's start); the first takes a second.

        Call it on the thread that does the work: another thread waits for the interpreter during the measurement.
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
                with silenced():
                    self._tracker.stop()
            self._tracker, self._last, self._log = None, None, Log()

    def _begin(self) -> None:
        with silenced(self._log):
            from codecarbon import OfflineEmissionsTracker

            tracker = OfflineEmissionsTracker(**settings([_handler(self._keep)]))
            # The constructor catches its own errors; the object then lacks its last attribute.
            if not hasattr(tracker, "_emissions"):
                raise MeterError(self._log.reason("it could not be set up"))
            self._tracker = tracker
            tracker.start()
            # There is no task to stop, but this ends the thread that samples the load once a second. That thread reads
            # the clock before the CPU times, and may wait for the interpreter in between, so that the power is 1.4 to 4
            # times too high. Without it readings are accurate to 1 %.
            tracker.stop_task()
        self._take()  # the first flush is slow, because it imports modules
        self._last = None
        self._pause(_FRESH_S)

    def _take(self) -> tuple[int, float]:
        before = self._last
        with silenced(self._log):
            self._tracker.flush()
        if self._last is None or self._last is before:
            raise MeterError(self._log.reason("it returned no reading"))
        return self._last

    def _keep(self, cpu_kwh: float) -> None:
        self._last = self._clock(), cpu_kwh * J_PER_KWH


def settings(handlers: list[BaseOutput]) -> dict[str, Any]:
    """Return the arguments of codecarbon's tracker, with which it writes no files and contacts no service.

    All are set, because codecarbon reads missing ones from ~/.codecarbon.config, .codecarbon.config or the environment.
    The deprecated `save_to_*` and `co2_signal_api_token` are not needed: the arguments that replace them are set.
    """
    none = "force_cpu_power cloud_provider cloud_region region emissions_endpoint metadata logging_logger"
    empty = "prometheus_url api_endpoint api_key experiment_id experiment_name logger_preamble"
    return {
        **dict.fromkeys([*none.split(), "country_iso_code", "country_2letter_iso_code"]),
        **dict.fromkeys(empty.split(), ""),
        "tracking_mode": "process",
        "force_mode_cpu_load": True,  # RAPL is a separate meter
        "force_ram_power": 0.0,  # otherwise each reading sums the memory of all child processes
        "gpu_ids": [],  # it still searches for GPUs
        "rapl_include_dram": False,
        "rapl_prefer_psys": False,
        "pue": 1.0,
        "wue": 0.0,
        "measure_power_secs": 86_400.0,  # its own measurements, from a thread that would race with ours
        "allow_multiple_runs": True,  # False uses a lock file and signal handlers
        "force_carbon_intensity_g_co2e_kwh": 0.0,  # only joules are read, so no intensity is looked up
        "electricitymaps_api_token": "",  # with None the deprecated one is read
        "output_methods": [],
        "output_handlers": handlers,
        "output_dir": ".",
        "output_file": "emissions.csv",
        "on_csv_write": "append",
        "api_call_interval": -1,
        "project_name": "kdbench",
        "log_level": "warning",  # the level at which it logs the errors that it catches
    }


def _handler(keep: Callable[[float], None]) -> BaseOutput:
    """Return an output handler that calls `keep` with the CPU's energy so far, in kWh, at each flush."""
    from codecarbon.output_methods.base_output import BaseOutput

    class Handler(BaseOutput):
        def out(self, total: EmissionsData, delta: EmissionsData) -> None:  # noqa: ARG002
            keep(total.cpu_energy)

    return Handler()


def _power() -> str | None:
    """Return the power that codecarbon assumes for all active cores, as text; None if unknown."""
    from codecarbon.core.cpu import DEFAULT_POWER_PER_CORE, TDP
    from codecarbon.core.util import count_cpus, count_physical_cpus

    watts = TDP().tdp  # type: ignore[no-untyped-call]  # of one socket
    if not watts:
        return None
    # The value for models that are not in its table. A listed model with exactly this value is labelled a guess, too.
    guessed = watts == count_cpus() * DEFAULT_POWER_PER_CORE
    total = watts * count_physical_cpus()  # type: ignore[no-untyped-call]
    return f"{total:.0f} W{', a guess for an unknown CPU' if guessed else ' TDP'}"
