"""Energy of trainings: long work in this process, metered at its own marks."""

import math
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from kdbench.meters.choice import choose
from kdbench.meters.meter import Meter, MeterError, Unavailable, record_name
from kdbench.results.cards import EnergyUse
from kdbench.worker.energy_window import update_period_ns

_ALIVE_S = 10.0  # RAPL's counters turn over within minutes on a large machine, and a turn that no one saw is lost


class EpochMeter:
    """Reads every source that counts what runs on `provider` from entry to exit; never an obstacle to the work.

    Where nothing counts the part that computes, or that source gives out, `read` returns nothing from then on, and
    `refusal` says why. Another one that gives out is left out.
    """

    def __init__(self, provider: str, *, estimate: bool) -> None:
        self._provider = provider
        self._estimate = estimate
        self._counters: list[Meter] = []
        self._period_s: dict[str, float] = {}
        self._gone: set[str] = set()  # the names of those that gave out
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="kdbench-energy", daemon=True)
        self.refusal: str | None = None

    def __enter__(self) -> Self:
        choice = choose(self._provider, estimate=self._estimate)
        if isinstance(choice.leading, Unavailable):
            self.refusal = choice.leading.reason
            return self
        self._counters = [each.meter for each in choice.used]
        for counter in self._counters:
            try:
                self._period_s[counter.name] = update_period_ns(counter) / 1e9
            except MeterError as error:
                self._give_up(counter, str(error))
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for counter in self._counters:
            counter.close()

    def read(self) -> dict[str, float]:
        """Return the joules of each source since some fixed moment, the part that trains first; empty without it."""
        return self._read(self._counters)

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return what each source of `joules` counted in so many epochs, of `seconds` in all.

        The uncertainty is that of the counter's steps at both ends of every epoch.
        """
        return tuple(
            EnergyUse(
                scope=counter.scope,
                source=counter.name,
                evidence=counter.evidence,
                energy_j=used_j,
                half_width_j=2 * self._step_j(counter, used_j / seconds) * math.sqrt(epochs) if seconds > 0 else used_j,
            )
            for counter in self._counters
            if (used_j := joules.get(_key(counter))) is not None
        )

    def _step_j(self, counter: Meter, power_w: float) -> float:
        return power_w * self._period_s.get(counter.name, 0.0) / math.sqrt(3)

    def _read(self, counters: Sequence[Meter]) -> dict[str, float]:
        """Return the readings of `counters`; one that gives out is left out from then on."""
        with self._lock:
            found = {}
            for counter in (each for each in counters if each.name not in self._gone):
                try:
                    found[_key(counter)] = counter.read()[1]
                except MeterError as error:
                    self._give_up(counter, str(error))
            return found if self.refusal is None else {}

    def _give_up(self, counter: Meter, reason: str) -> None:
        self._gone.add(counter.name)
        if counter is self._counters[0]:
            self.refusal = reason

    def _keep_alive(self) -> None:
        turning = [counter for counter in self._counters if counter.stepped]
        while not self._ended.wait(_ALIVE_S):
            self._read(turning)


def _key(counter: Meter) -> str:
    """Return what tells a source's joules from another's, in this process and in one that goes on with its work."""
    return record_name(counter.name, counter.scope)
