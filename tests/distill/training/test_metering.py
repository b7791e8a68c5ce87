"""A training told by a meter what its epochs used, over interruptions too."""

from itertools import count

import pytest
from distill.networks import batches, stripes, tiny
from distill.students import Stops

from kdbench.distill.objective import Objective
from kdbench.distill.training import fit
from kdbench.distill.training.metering import NO_METER, EpochEnergy
from kdbench.progress import Silent
from kdbench.recipe import Training
from kdbench.results.cards import EnergyUse


class Ticks:
    """A meter that counts one joule a reading; `silent_from` is the reading from which on it has given out."""

    def __init__(self, silent_from=10**9, sources=("cpu.package",)):
        self.refusal = None
        self._sources = sources
        self._readings, self._silent_from = count(), silent_from

    def read(self):
        number = next(self._readings)
        if number >= self._silent_from:
            self.refusal = "RAPL: unreadable"
            return {}
        return dict.fromkeys(self._sources, float(number))

    def uses(self, joules, seconds, epochs):
        return tuple(
            EnergyUse(scope=source, source="ticks", evidence="measured", energy_j=joules[source], half_width_j=seconds)
            for source in self._sources
            if source in joules
        )


def trained(folder, meter, progress=None):
    options = Training.model_validate({"epochs": 4, "batch": 16, "device": "cpu", "threads": 1})
    return fit.fit(
        tiny(),
        Objective(),
        batches(stripes(48), 16, train=True, seed=5),
        batches(stripes(24, seed=1)),
        options,
        seed=5,
        folder=folder,
        key="k",
        progress=progress or Silent(),
        meter=meter,
    )


def test_the_energy_of_the_epochs_is_in_the_summary(tmp_path):
    """Nothing between the epochs counts: of eight readings in a row, four differences."""
    summary = trained(tmp_path, Ticks())
    assert [(use.scope, use.energy_j) for use in summary.energy] == [("cpu.package", 4.0)]
    assert summary.energy[0].half_width_j == summary.seconds
    assert summary.unmetered is None
    assert fit.finished(tmp_path, "k") == summary


def test_energy_survives_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Ticks(), Stops(2))
    summary = trained(tmp_path, Ticks())
    assert len(summary.curve) == 4
    assert summary.energy[0].energy_j == 4.0  # one epoch before; the second was begun anew


def test_epochs_without_a_meter_leave_no_sum_of_the_others(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, NO_METER, Stops(2))
    summary = trained(tmp_path, Ticks())
    assert summary.energy == ()
    assert summary.unmetered == "3 of 4 epochs were metered"  # the second was begun anew


def test_a_meter_that_gives_out_does_not_stop_the_training(tmp_path):
    summary = trained(tmp_path, Ticks(silent_from=3))
    assert summary.epochs == 4
    assert (summary.energy, summary.unmetered) == ((), "RAPL: unreadable")


def test_without_a_meter_energy_was_not_requested(tmp_path):
    assert trained(tmp_path, NO_METER).unmetered == "energy is switched off"


def test_another_meter_after_an_interruption_is_not_added_to_the_first(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "led", Ticks(sources=("rapl",)), Stops(2))
    summary = trained(tmp_path / "led", Ticks(sources=("estimate",)))
    assert (summary.energy, summary.unmetered) == ((), "3 of 4 epochs were metered")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "beside", Ticks(sources=("board",)), Stops(2))
    summary = trained(tmp_path / "beside", Ticks(sources=("board", "package")))
    assert [use.scope for use in summary.energy] == ["board"]


def test_a_source_that_is_there_at_one_end_only_counts_for_nothing():
    meter = Ticks(silent_from=1)
    energy = EpochEnergy(meter)
    energy.begin()
    energy.end()
    assert (energy.joules, energy.epochs) == ({}, {})
