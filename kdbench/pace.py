"""How long the rest of a stage will take."""

from collections.abc import Callable

from kdbench import units

_ROUNDING = 1e-9  # of a share of the stage


class Pace:
    """The speed of a stage, from its first step in this process, which after a resume is not the first of all."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.started_s = clock_s()
        self._clock_s = clock_s
        self._first: tuple[float, float] | None = None  # when it came, and how much was done by then
        self._share = 0.0  # of the stage, by the last step
        self._paused_s: float | None = None  # when the stage was last known to wait

    def remaining(self, done: float, total: float) -> str:
        """Note a step and return how long the rest will take; empty while the pace is unknown.

        A stage may have parts, each of which counts from 0: a step back begins the next part, and its pace.
        """
        now_s, self._paused_s = self._clock_s(), None
        share = done / total if total else 0.0
        # The next part, as the training after the teacher's logits; but no error of rounding.
        if self._first is None or share < self._share - _ROUNDING:
            self._first = now_s, done
        self._share = share
        first_s, first_done = self._first
        if not first_done < done < total:
            return ""
        return f"{units.duration((now_s - first_s) / (done - first_done) * (total - done))} left"

    def pause(self) -> None:
        """Note that the stage waits: the time from one such call to the next, without a step between, is left out."""
        now_s = self._clock_s()
        if self._first is not None and self._paused_s is not None:
            first_s, first_done = self._first
            self._first = first_s + now_s - self._paused_s, first_done
        self._paused_s = now_s
