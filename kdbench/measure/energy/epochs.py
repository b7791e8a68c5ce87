"""Energy of trainings: long work in this process, metered at its own marks."""

import math
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from kdbench.cards import EnergyUse
from kdbench.measure.energy.choice import choose
from kdbench.measure.energy.source import Counter, CounterError, Unavailable
from kdbench.measure.energy.window import update_period_ns

_ALIVE_S = 10.0  # RAPL's counters turn over within minutes on a large machine, and a turn that no one saw is lost


class EpochMeter:
    """Reads every source that counts what runs on `provider` from entry to exit; never an obstacle to the work.

    Where there is no source, or one gives out, `read` returns nothing from then on, and `refusal` says why.
    """

    def __init__(self, provider: str, *, estimate: bool) -> None:
        self._provider = provider
        self._estimate = estimate
        self._counters: list[Counter] = []
        self._period_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="kdbench-energy", daemon=True)
        self.refusal: str | None = None

    def __enter__(self) -> Self:
        choice = choose(self._provider, estimate=self._estimate)
        if isinstance(choice.leading, Unavailable):
            self.refusal = choice.leading.reason
            return self
        self._counters = [each.counter for each in choice.used]
        try:
            self._period_s = {counter.scope: update_period_ns(counter) / 1e9 for counter in self._counters}
        except CounterError as error:
            self.refusal = str(error)
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
        """Return the joules of each scope since some fixed moment; empty where there are none."""
        return self._read(self._counters)

    def _read(self, counters: Sequence[Counter]) -> dict[str, float]:
        with self._lock:
            if self.refusal is not None:
                return {}
            try:
                return {counter.scope: counter.read()[1] for counter in counters}
            except CounterError as error:
                self.refusal = str(error)
                return {}

    def uses(self, joules: Mapping[str, float], seconds: float) -> tuple[EnergyUse, ...]:
        """Return what each scope used in epochs of `seconds` in all, the part that trained first.

        The uncertainty is that of the counter's steps: an epoch begins where the one before ended, or nearly so.
        """
        return tuple(
            EnergyUse(
                scope=counter.scope,
                source=counter.name,
                evidence=counter.evidence,
                energy_j=joules[counter.scope],
                half_width_j=2 * joules[counter.scope] / seconds * self._period_s[counter.scope] / math.sqrt(3),
            )
            for counter in self._counters
            if counter.scope in joules
        )

    def _keep_alive(self) -> None:
        turning = [counter for counter in self._counters if counter.stepped]
        while not self._ended.wait(_ALIVE_S):
            self._read(turning)
