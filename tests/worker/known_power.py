"""A machine of known power, with counters that move in steps or are polled."""

from bisect import bisect_right

from kdbench.meters.meter import PolledMeter

MS = 1_000_000
S = 1_000_000_000


class Machine:
    """A clock in ns, and a power in watts at every moment of it: `base_w` and what `drift` and the work add.

    The energy up to a moment is known exactly, as the integral of what was spent until then.
    """

    def __init__(self, base_w=20.0, drift=lambda t_s: 0.0):
        self.base_w, self.drift = base_w, drift
        self.now, self.spent_j, self.power_w, self.work_w = 0, 0.0, 0.0, 0.0
        self._since = [(0, 0.0, 0.0)]  # from which moment, with how many joules until then, at which power

    def clock(self):
        return self.now

    def spend(self, duration_ns, watts=None):
        """Let time pass, `watts` above the idle power; by default as many as before."""
        self.work_w = self.work_w if watts is None else watts
        power_w = self.base_w + self.drift(self.now / S) + self.work_w
        if power_w != self.power_w:
            self.power_w = power_w
            self._since.append((self.now, self.spent_j, power_w))
        self.now += duration_ns
        self.spent_j += power_w * duration_ns / S

    def joules(self, at_ns):
        begin_ns, joules, power_w = self._since[bisect_right(self._since, at_ns, key=lambda since: since[0]) - 1]
        return joules + power_w * (at_ns - begin_ns) / S

    def watts(self):
        return self.power_w

    def call(self, duration_ns, watts):
        return lambda: self.spend(duration_ns, watts)


class Stepped:
    """A counter that shows the energy as of its last update."""

    name, evidence, lag_s, stepped = "stepped", "measured", 0.0, True

    def __init__(self, machine, period_ns, read_ns=50_000, phase_ns=0):
        self.machine, self.period_ns, self.read_ns, self.phase_ns = machine, period_ns, read_ns, phase_ns

    def read(self):
        self.machine.spend(self.read_ns)
        now = self.machine.now
        updated = (now - self.phase_ns) // self.period_ns * self.period_ns + self.phase_ns
        return now, self.machine.joules(max(updated, 0))


class Sampled(PolledMeter):
    """A power that is read every so often."""

    name, evidence, lag_s = "sampled", "measured", 0.0

    def __init__(self, machine, poll_s):
        super().__init__(machine.clock, background=False)
        self.machine, self.poll_s, self.period_ns = machine, poll_s, poll_s * S

    def read(self):
        self.machine.spend(int(self.poll_s * S / 500))
        return super().read()

    def watts(self):
        return self.machine.watts()
