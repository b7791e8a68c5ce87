"""Gross and net energies of accounts, and their ratio."""

import numpy as np
import pytest
from worker.known_power import S

from kdbench.measure.energy.account import Account, MeterProfile, accounts, gross, net, ratio
from kdbench.measure.energy.windows import QUICK_RESOLUTION


def test_accounts_of_two_meters_are_added():
    ones, idle = np.ones(5), np.ones(6)
    one = Account("gpu0.board", "nvml, gpu0.board", "measured", 3 * ones, ones, 0.3, 50 * idle, 1.0, 0.0)
    other = Account("cpu.package", "rapl, cpu.package", "measured", 1 * ones, ones, 0.4, 10 * idle, 0.5, 0.025)
    both = one + other
    assert both.scope == "gpu0.board + cpu.package"
    assert gross(both).joules == 4.0
    assert both.step_j == pytest.approx(0.5)
    assert both.idle_step_w == pytest.approx(1.25**0.5)
    assert both.idle_w.tolist() == [60.0] * 6
    assert both.resolution == 0.025
    guess = one + Account("cpu.estimate", "codecarbon", "estimated", ones, ones, 0.1, 0 * idle, 0.0)
    assert guess.evidence == "estimated"


def test_a_counter_beside_has_a_time_of_its_own():
    """The count between its own readings gives its power, for any time between the leading meter's edges."""
    windows = [{"calls": 10, "spans": [(100.0, S), (30.0, 2 * S)]}] * 5
    meters = [MeterProfile(name, name, "measured", 0.1, np.full(6, 5.0), 1.0) for name in ("leading", "beside")]
    leading, beside = accounts(windows, meters, resolution=0.0)
    assert gross(leading).joules == pytest.approx(10.0)
    assert gross(beside).joules == pytest.approx(15.0 * 0.1)
    assert beside.step_j == pytest.approx(15.0 * 0.1 / np.sqrt(3) / 10)


def test_windows_five_per_cent_apart_are_the_limit():
    def spread(share):
        values = 1 + share * np.array([-1.0, -1.0, 0.0, 1.0, 1.0])
        return gross(Account("s", "s", "measured", values, np.ones(5), 0.0, np.ones(6), 0.0)).unstable

    assert spread(0.049) is None
    assert spread(0.051) == "windows differ by 5.1 %"


def account(**changes):
    """Return five windows of 60 W, 1 ms a call: 60 mJ gross, of which 20 W idle are 20 mJ."""
    return Account(
        **{
            "scope": "cpu.package",
            "source": "rapl, cpu.package",
            "evidence": "measured",
            "gross_j": np.array([60.0, 60.1, 59.9, 60.2, 59.8]) / 1e3,
            "seconds": np.full(5, 1e-3),
            "step_j": 60 * 1e-3 / np.sqrt(3) / 1000,  # a millisecond's steps over a window of a thousand calls
            "idle_w": np.array([20.0, 20.05, 19.95, 20.1, 19.9, 20.0]),
            "idle_step_w": 0.0,
            **changes,
        }
    )


def test_gross_and_net():
    assert gross(account()).joules == pytest.approx(0.060)
    assert net(account()).joules == pytest.approx(0.040)
    assert 0 < gross(account()).half_width_j < net(account()).half_width_j < 0.001


def test_idle_power_that_drifts_makes_net_unstable_and_wider():
    drifting = account(idle_w=np.linspace(18.0, 22.0, 6))
    assert net(drifting).unstable == "idle power changed by 20.0 %"
    assert net(drifting).joules == pytest.approx(0.040)
    assert gross(drifting).unstable is None
    assert net(drifting).half_width_j > 2 * net(account()).half_width_j


def test_net_holds_the_steps_of_the_idle_windows_and_what_gross_holds():
    assert net(account(idle_step_w=1.0)).half_width_j >= 2e-3
    assert net(account(resolution=0.025)).half_width_j >= 0.05 * 0.060


def test_windows_that_differ_are_unstable():
    shaky = account(gross_j=np.array([60.0, 70.0, 50.0, 66.0, 54.0]) / 1e3)
    assert gross(shaky).unstable == net(shaky).unstable == "windows differ by 13.7 %"


def test_net_energy_within_its_uncertainty_of_idle():
    near_idle = account(idle_w=np.full(6, 59.9))
    assert not net(near_idle).resolved
    assert gross(near_idle).resolved


def test_what_has_a_number_has_an_interval_above_zero():
    """A net energy of which the interval held zero would be a number that says nothing."""
    for above in np.linspace(0.0, 1.0, 21):
        value = net(account(idle_w=60.0 - above + np.array([0.1, -0.1, 0.1, -0.1, 0.1, -0.1])))
        assert value.resolved == (value.joules - value.half_width_j > 0)


def test_nothing_is_never_a_number():
    assert not gross(account(gross_j=np.zeros(5), step_j=0.0)).resolved


def test_an_energy_below_the_counters_steps_is_not_resolved():
    assert not gross(account(step_j=0.04)).resolved


def test_coarse_steps_widen_the_interval():
    step_j = 60 * 0.1 / np.sqrt(3) / 1000  # of a counter that moves every 100 ms
    assert gross(account(step_j=step_j)).half_width_j >= 2 * step_j


def test_quick_windows_are_good_for_five_per_cent():
    value = gross(account(resolution=QUICK_RESOLUTION))
    assert value.half_width_j / value.joules == pytest.approx(0.05, rel=0.05)


def test_a_ratio_holds_the_steps_of_both():
    def wide(**changes):
        results = ratio(account(gross_j=np.full(5, 0.06), **changes), account(gross_j=np.full(5, 0.02)))
        assert results.value == pytest.approx(3)
        return np.log(results.high / results.low) / 2

    assert wide(step_j=0.0) < 0.01
    assert wide(step_j=0.06 * 0.05) == pytest.approx(0.1, rel=0.05)
